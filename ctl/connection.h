// The way to the coordinator.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/control.grpc.pb.h"
#include "ctl/context.h"

namespace ballast {

// gRPC's status, with what to do when its text alone would not say: connections that are refused, or that end
// in the TLS handshake.
absl::Status FromCoordinator(const grpc::Status& status, const std::string& address);

// One channel. Requests are made one after the other, each with a deadline.
class ControlClient {
 public:
  // InvalidArgument for certificate files that are missing or do not fit; whether a coordinator is there
  // shows in the first request.
  static absl::StatusOr<ControlClient> Connect(const GlobalOptions& options);

  // client.Call(&v1::Control::Stub::GetJob, request)
  template <class Request, class Response>
  absl::StatusOr<Response> Call(grpc::Status (v1::Control::Stub::*method)(grpc::ClientContext*,
                                                                          const Request&, Response*),
                                const Request& request) const {
    grpc::ClientContext context;
    context.set_deadline(RequestDeadline());
    Response response;
    grpc::Status status = (stub_.get()->*method)(&context, request, &response);
    if (!status.ok()) return FromCoordinator(status, options_.coordinator);
    return response;
  }

  v1::Control::Stub& stub() const { return *stub_; }
  const GlobalOptions& options() const { return options_; }

 private:
  explicit ControlClient(GlobalOptions options) : options_(std::move(options)) {}
  std::chrono::system_clock::time_point RequestDeadline() const;

  GlobalOptions options_;
  std::unique_ptr<v1::Control::Stub> stub_;
};

// The job that is meant when none is named: the only one that has not ended, else the only one there is.
// InvalidArgument lists the choices, NotFound says that there are none.
absl::StatusOr<std::string> JobOrOnlyOne(const ControlClient& client, const std::string& name);

// Calls `poll` a few times a second until it says something, fails, or --timeout has passed. A coordinator
// that cannot be reached for a while is waited for: it may be restarting.
class Waiter {
 public:
  explicit Waiter(const GlobalOptions& options);
  // Whether to go on after `status` of a request; sleeps a little when so. Otherwise `status`, or
  // DeadlineExceeded, is in result().
  bool Again(const absl::Status& status, const std::string& what);
  const absl::Status& result() const { return result_; }

 private:
  using Clock = std::chrono::steady_clock;
  std::chrono::steady_clock::time_point deadline_;
  std::chrono::steady_clock::time_point unreachable_since_ = Clock::time_point::max();
  absl::Status result_;
};

}  // namespace ballast

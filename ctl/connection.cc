#include "ctl/connection.h"

#include <algorithm>
#include <initializer_list>
#include <thread>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "ctl/exit_code.h"
#include "ctl/job_text.h"
#include "net/certificates.h"
#include "net/limits.h"

namespace ballast {
namespace {

constexpr double kRequestSeconds = 10;
constexpr std::chrono::milliseconds kPollPeriod{200};
constexpr std::chrono::seconds kUnreachableMax{60};

// Whether `text` holds one of the words, in any case.
bool Mentions(const std::string& text, std::initializer_list<const char*> words) {
  std::string lower = absl::AsciiStrToLower(text);
  return std::any_of(words.begin(), words.end(),
                     [&](const char* word) { return absl::StrContains(lower, word); });
}

}  // namespace

absl::Status FromCoordinator(const grpc::Status& status, const std::string& address) {
  if (status.ok()) return absl::OkStatus();
  auto code = static_cast<absl::StatusCode>(status.error_code());
  const std::string& text = status.error_message();
  if (code == absl::StatusCode::kDeadlineExceeded) {
    return absl::DeadlineExceededError(
        absl::StrCat("no answer from the coordinator at ", address, " in time; --timeout allows more"));
  }
  if (code != absl::StatusCode::kUnavailable) return absl::Status(code, text);
  if (Mentions(text, {"handshaker shutdown", "handshake read failed"})) {
    return absl::UnavailableError(
        absl::StrCat("the coordinator at ", address,
                     " accepts connections, but did not end the TLS handshake: it is "
                     "overloaded or stopping, or no coordinator listens there (",
                     text, ")"));
  }
  if (Mentions(text, {"handshake", "certificate", "peer name"})) {
    return absl::PermissionDeniedError(absl::StrCat(
        "the coordinator at ", address,
        " and this client do not accept each other's certificates: --ca must be "
        "the authority of both, and the coordinator's certificate must name the host in --coordinator (",
        text, ")"));
  }
  if (Mentions(text, {"socket closed", "connection reset", "endpoint", "transport"})) {
    return absl::UnavailableError(
        absl::StrCat("the coordinator at ", address,
                     " closed the connection: it has stopped, or it did not accept the "
                     "certificate in --cert, or only one of the two runs with --insecure (",
                     text, ")"));
  }
  if (Mentions(text, {"failed to connect", "connection refused", "all backends", "dns"})) {
    return absl::UnavailableError(absl::StrCat("no coordinator answers at ", address,
                                               ": start one, or name another with --coordinator (", text,
                                               ")"));
  }
  return absl::UnavailableError(text);
}

absl::StatusOr<ControlClient> ControlClient::Connect(const GlobalOptions& options) {
  CertificateFiles files{options.ca, options.cert, options.key, options.insecure};
  auto credentials = MakeChannelCredentials(files);
  if (!credentials.ok()) return BadInput(credentials.status());
  grpc::ChannelArguments arguments;
  ApplyLimits(arguments);
  ControlClient client(options);
  client.stub_ =
      v1::Control::NewStub(grpc::CreateCustomChannel(options.coordinator, *credentials, arguments));
  return client;
}

std::chrono::system_clock::time_point ControlClient::RequestDeadline() const {
  return std::chrono::system_clock::now() +
         std::chrono::milliseconds(static_cast<int64_t>(1e3 * options_.timeout_s.value_or(kRequestSeconds)));
}

absl::StatusOr<std::string> JobOrOnlyOne(const ControlClient& client, const std::string& name) {
  if (!name.empty()) return name;
  BALLAST_ASSIGN_OR_RETURN(v1::ListJobsResponse response,
                           client.Call(&v1::Control::Stub::ListJobs, v1::ListJobsRequest()));
  std::vector<std::string> all, unfinished;
  for (const v1::JobStatus& job : response.jobs()) {
    all.push_back(job.name());
    if (!IsFinal(job.state())) unfinished.push_back(job.name());
  }
  if (unfinished.size() == 1) return unfinished[0];
  if (all.size() == 1) return all[0];
  if (all.empty()) return absl::NotFoundError("there is no job");
  return absl::InvalidArgumentError(
      absl::StrCat("name a job; there are: ", absl::StrJoin(unfinished.empty() ? all : unfinished, ", ")));
}

Waiter::Waiter(const GlobalOptions& options)
    : deadline_(options.timeout_s.has_value()
                    ? Clock::now() + std::chrono::milliseconds(static_cast<int64_t>(1e3 * *options.timeout_s))
                    : Clock::time_point::max()) {}

bool Waiter::Again(const absl::Status& status, const std::string& what) {
  Clock::time_point now = Clock::now();
  if (absl::IsUnavailable(status)) {
    if (unreachable_since_ == Clock::time_point::max()) unreachable_since_ = now;
  } else {
    unreachable_since_ = Clock::time_point::max();
  }
  bool waits = status.ok() || (absl::IsUnavailable(status) && now - unreachable_since_ < kUnreachableMax);
  if (!waits) {
    result_ = status;
    return false;
  }
  if (now >= deadline_) {
    result_ = absl::DeadlineExceededError(absl::StrCat("timed out waiting for ", what));
    return false;
  }
  std::this_thread::sleep_for(std::min<Clock::duration>(kPollPeriod, deadline_ - now));
  return true;
}

}  // namespace ballast

// The Control service: what operators ask, between gRPC and the driver.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ballast/v1/control.grpc.pb.h"
#include "coordinator/driver.h"
#include "net/identity.h"

namespace ballast {

// Thread-safe; no handler blocks: answers come on the driver's thread. `driver` must outlive the server.
class ControlService final : public v1::Control::CallbackService {
 public:
  struct Options {
    bool insecure = false;
    std::vector<std::string> planners;      // strategies that a submitted job may name
    v1::ListStrategiesResponse strategies;  // the same with their descriptions
  };
  ControlService(Driver* driver, Options options) : driver_(driver), options_(std::move(options)) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* SubmitJob(Context*, const v1::SubmitJobRequest*, v1::SubmitJobResponse*) override;
  Reactor* ListJobs(Context*, const v1::ListJobsRequest*, v1::ListJobsResponse*) override;
  Reactor* GetJob(Context*, const v1::GetJobRequest*, v1::GetJobResponse*) override;
  grpc::ServerWriteReactor<v1::JobEvent>* WatchJob(Context*, const v1::WatchJobRequest*) override;
  Reactor* CheckpointJob(Context*, const v1::CheckpointJobRequest*, v1::CheckpointJobResponse*) override;
  Reactor* ListCheckpoints(Context*, const v1::ListCheckpointsRequest*,
                           v1::ListCheckpointsResponse*) override;
  Reactor* StopJob(Context*, const v1::StopJobRequest*, v1::StopJobResponse*) override;
  Reactor* ListEvents(Context*, const v1::ListEventsRequest*, v1::ListEventsResponse*) override;
  Reactor* ListPlans(Context*, const v1::ListPlansRequest*, v1::ListPlansResponse*) override;
  Reactor* GetPlan(Context*, const v1::GetPlanRequest*, v1::GetPlanResponse*) override;
  Reactor* ExplainPlan(Context*, const v1::ExplainPlanRequest*, v1::ExplainPlanResponse*) override;
  Reactor* PushPlan(Context*, const v1::PushPlanRequest*, v1::PushPlanResponse*) override;
  Reactor* RollbackPlan(Context*, const v1::RollbackPlanRequest*, v1::PushPlanResponse*) override;
  Reactor* GetTelemetry(Context*, const v1::GetTelemetryRequest*, v1::GetTelemetryResponse*) override;
  Reactor* GetLoad(Context*, const v1::GetLoadRequest*, v1::GetLoadResponse*) override;
  Reactor* GetTokens(Context*, const v1::GetTokensRequest*, v1::GetTokensResponse*) override;
  Reactor* ListWorkers(Context*, const v1::ListWorkersRequest*, v1::ListWorkersResponse*) override;
  Reactor* DrainWorker(Context*, const v1::DrainWorkerRequest*, v1::DrainWorkerResponse*) override;
  Reactor* CordonWorker(Context*, const v1::CordonWorkerRequest*, v1::CordonWorkerResponse*) override;
  Reactor* Adopt(Context*, const v1::AdoptRequest*, v1::AdoptResponse*) override;
  Reactor* ListStrategies(Context*, const v1::ListStrategiesRequest*, v1::ListStrategiesResponse*) override;
  Reactor* GetVersion(Context*, const v1::GetVersionRequest*, v1::GetVersionResponse*) override;

 private:
  // Runs `read` on the driver's thread and finishes with its status.
  Reactor* Read(Context* context, const char* method, std::function<absl::Status(const Core&)> read);
  // Puts the event of `make_event(token, who)` to the core and finishes with its reply's status; `fill` runs
  // for OK.
  Reactor* Ask(Context* context, const char* method,
               std::function<Event(ReplyToken token, const std::string& who)> make_event,
               std::function<absl::Status(const Reply&, const Core&)> fill);

  Driver* const driver_;
  const Options options_;
};

}  // namespace ballast

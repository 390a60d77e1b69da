#include "tests/e2e/reference_run.h"

#include <atomic>
#include <memory>
#include <thread>

#include "base/check.h"
#include "plan/contiguous.h"
#include "plan/layout.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/comm/thread_communicator.h"
#include "worker/trainer/dataset_batches.h"
#include "worker/trainer/trainer.h"

namespace ballast {
namespace {

// No plans, and the losses of rank 0; asks for a stop when `steps` of them are there.
class Recorder final : public StepCoordination {
 public:
  explicit Recorder(int64_t steps) : steps_(steps) {}
  HeaderCells Cells() override {
    HeaderCells cells;
    if (enough_) {
      cells.request = RequestId(1);
      cells.request_kind = RequestKind::kStop;
    }
    return cells;
  }
  void OnDecided(Rank, PlanVersion, Step) override {}
  void OnActive(Rank, PlanVersion, Step) override {}
  bool OnApplying(Rank, Step, PlanVersion) override { return true; }
  void OnStepDone(Rank, Step) override {}
  void OnRankStep(Rank, const RankStep&, const std::vector<int64_t>&) override {}
  void OnReport(StepReport report) override {
    losses.push_back(report.loss);
    if (steps_ > 0 && static_cast<int64_t>(losses.size()) >= steps_) enough_ = true;
  }
  void OnEvaluation(EvaluationReport) override {}
  void OnTokens(TokenReport) override {}
  void OnCheckpointWritten(Rank, WrittenCheckpoint) override {}
  void OnCheckpointFailed(Step, bool, const std::string&) override {}
  std::vector<double> losses;

 private:
  const int64_t steps_;
  std::atomic<bool> enough_{false};
};

void RunRank(const JobConfig& job, const ParameterLayout& layout, PlanPtr plan, Communicator& communicator,
             StepCoordination& coordination) {
  auto backend = MakeCpuBackend(DType::kFloat32).value();
  auto model = GptMoe::Make(job.model, layout, *backend).value();
  DatasetBatches batches = DatasetBatches::Open(job).value();
  SteadyClock clock;
  TrainerOptions options;
  options.job = std::make_shared<JobConfig>(job);
  options.plan = std::move(plan);
  options.topology = Topology::OneNode(job.placement.ranks);
  options.exchange_timeout = Seconds(60);
  auto trainer = Trainer::Make(options, {.layout = layout,
                                         .backend = *backend,
                                         .communicator = communicator,
                                         .model = *model,
                                         .batches = batches,
                                         .coordination = coordination,
                                         .clock = clock,
                                         .fill_state = InitialWeights(job, layout, *backend)});
  BALLAST_CHECK_OK(trainer.status());
  BALLAST_CHECK_OK((*trainer)->Run().status);
}

}  // namespace

std::vector<double> ReferenceLosses(const JobConfig& job, int64_t steps) {
  int ranks = job.placement.ranks;
  ParameterLayout layout = ParameterLayout::Make(job.model, job.placement.block_elements).value();
  auto plan = std::make_shared<Plan>();
  plan->stamp = {.job = job.name,
                 .generation = Generation(1),
                 .version = PlanVersion(1),
                 .base_version = {},
                 .not_before_step = Step(1)};
  plan->body = ContiguousPlan(job, layout, ranks).value();
  ThreadCommunicatorGroup group(ranks);
  Recorder recorder(steps);  // rank 0 alone reports
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      auto communicator = group.Take(Rank(r));
      RunRank(job, layout, plan, *communicator, recorder);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return recorder.losses;
}

}  // namespace ballast

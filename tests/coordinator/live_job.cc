#include "tests/coordinator/live_job.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "base/check.h"
#include "coordinator/planner/layer/layer_task.h"
#include "coordinator/planner/layer/objective.h"
#include "plan/balance.h"
#include "plan/load.h"
#include "protocol/version.h"

namespace ballast {
namespace {

constexpr Generation kGeneration(1);
constexpr Incarnation kIncarnation(1);

WorkerId Worker(int rank) { return WorkerId("w" + std::to_string(rank)); }

}  // namespace

LiveJob::LiveJob(std::shared_ptr<const JobConfig> job, int ranks_per_node)
    : job_(std::move(job)), core_(CoreOptions{}) {
  term_ = *store_.Acquire(Term());
  Feed(LeadershipWon{term_, *store_.Load()});
  const int ranks = job_->placement.ranks;
  for (int r = 0; r < ranks; ++r) {
    Hello hello;
    hello.protocol_version = kProtocolVersion;
    hello.worker = Worker(r);
    hello.incarnation = kIncarnation;
    hello.node = ranks_per_node > 0 ? "node" + std::to_string(r / ranks_per_node) : "node";
    hello.device = "cpu";
    hello.ranks = 1;
    Feed(WorkerAttached{StreamId(r + 1), hello});
  }
  Feed(SubmitJob{ReplyToken(1), job_});
  for (int r = 0; r < ranks; ++r) {
    Feed(WorkerSaid{StreamId(r + 1), Started{{term_, job_->name, kGeneration}, kIncarnation}});
  }
  active_ = core_.PlanOf(job_->name, PlanVersion())->plan;
}

void LiveJob::Run(const std::vector<std::vector<int64_t>>& loads) {
  ++step_;
  if (switch_step_ && step_ >= *switch_step_) {
    active_ = std::exchange(staged_, nullptr);
    switch_step_.reset();
    told_ = false;
  }
  const int ranks = job_->placement.ranks;
  StepReport report;
  report.job = job_->name;
  report.generation = kGeneration;
  report.step = Step(step_);
  report.plan = active_->stamp.version;
  report.step_seconds = 1;
  report.tokens = int64_t{job_->training.global_batch_sequences} * job_->data.sequence_length;
  report.load = {Step(step_), loads};
  double imbalance = 0;
  for (size_t l = 0; l < loads.size(); ++l) {
    const int experts = static_cast<int>(loads[l].size());
    const LayerPlan& layer = active_->body.layers[l];
    const auto hosts = layer.Hosts(experts);
    report.rank_tokens.push_back(
        RankTokens(BalanceExactly(loads[l], hosts, active_->body.speeds), hosts, ranks));
    imbalance +=
        MaxOverMean(report.rank_tokens.back(), active_->body.speeds) / static_cast<double>(loads.size());
    sync_slots_ += SyncSlots(TableOf(layer), experts);
  }
  imbalance_.push_back(imbalance);
  milliseconds_ += 1000;
  if (expert_seconds) ReportTimes(report);
  for (int r = 0; choices && r < ranks; ++r) {
    if (!SampledTurn(sampling_, Step(step_), Rank(r), ranks)) continue;
    Feed(WorkerSaid{StreamId(r + 1), TokenReport{job_->name, kGeneration, Rank(r), Step(step_),
                                                 sampling_.tokens, choices(step_, r, sampling_.tokens)}});
  }
  Feed(WorkerSaid{StreamId(1), report});
  FinishLook();
  if (told_) return;
  told_ = true;
  for (int r = 0; r < ranks; ++r) {
    Feed(WorkerSaid{
        StreamId(r + 1),
        Active{{term_, job_->name, kGeneration}, kIncarnation, active_->stamp.version, Step(step_)}});
  }
}

void LiveJob::ReportTimes(StepReport& report) {
  const int ranks = job_->placement.ranks;
  std::vector<int64_t> rows(static_cast<size_t>(ranks), 0);
  for (const std::vector<int64_t>& layer : report.rank_tokens) {
    for (size_t r = 0; r < rows.size(); ++r) rows[r] += layer[r];
  }
  std::vector<double> seconds;
  for (int r = 0; r < ranks; ++r) seconds.push_back(expert_seconds(r, rows[static_cast<size_t>(r)]));
  report.step_seconds = rest_seconds;
  for (const std::vector<int64_t>& layer : report.rank_tokens) {
    double busiest = 0;
    for (size_t r = 0; r < rows.size(); ++r) {
      if (rows[r] > 0)
        busiest =
            std::max(busiest, seconds[r] * static_cast<double>(layer[r]) / static_cast<double>(rows[r]));
    }
    report.step_seconds += busiest;
  }
  for (int r = 0; r < ranks; ++r) {
    RankStep step;
    step.step = report.step;
    step.seconds = report.step_seconds;
    step.assignments = rows[static_cast<size_t>(r)];
    step.phase_seconds[static_cast<size_t>(Phase::kExperts)] = seconds[static_cast<size_t>(r)] / 3;
    step.phase_seconds[static_cast<size_t>(Phase::kExpertsBackward)] =
        seconds[static_cast<size_t>(r)] * 2 / 3;
    step.phase_seconds[static_cast<size_t>(Phase::kOther)] = step.seconds - seconds[static_cast<size_t>(r)];
    if (links) step.links = links(r);
    Feed(WorkerSaid{StreamId(r + 1), RankReport{job_->name, kGeneration, Rank(r), {step}, 0}});
  }
}

std::unique_ptr<Core> LiveJob::NextLeader(std::vector<StepReport> loads) {
  auto next = std::make_unique<Core>(CoreOptions{});
  const Term term = *store_.Acquire(Term());
  next->Step(Now{}, LeadershipWon{term, *store_.Load(), std::move(loads)});
  return next;
}

void LiveJob::RunAll(const LoadTrace& trace) {
  for (int row = 0; row < trace.steps(); ++row) {
    std::vector<std::vector<int64_t>> loads;
    for (int l = 0; l < trace.layers(); ++l) loads.push_back(trace.Sample(row, l));
    Run(loads);
  }
}

void LiveJob::Feed(Event event) {
  const Now now{Time() + Seconds(static_cast<double>(milliseconds_) / 1000), milliseconds_};
  bool stage = false;
  for (Action& action : core_.Step(now, std::move(event))) {
    if (auto* write = std::get_if<StoreWrite>(&action)) BALLAST_CHECK_OK(store_.Commit(write->transaction));
    if (auto* make = std::get_if<MakePlan>(&action)) {
      BALLAST_CHECK(planning_ == nullptr) << "one look at a time";
      planning_ = make->task;
      plan_done_ = step_ + plan_steps;
      ++looks_aside_;
    }
    if (auto* give_up = std::get_if<GiveUpPlan>(&action)) {
      BALLAST_CHECK(planning_ != nullptr && planning_->look() == give_up->look) << "a look that is being made";
      planning_ = nullptr;
      ++looks_given_up_;
    }
    auto* send = std::get_if<Send>(&action);
    if (send == nullptr) continue;
    if (auto* message = std::get_if<Assign>(&*send->message)) sampling_ = message->sampling;
    if (auto* message = std::get_if<Stage>(&*send->message)) {
      staged_ = message->plan;
      stage = true;
    } else if (std::holds_alternative<Commit>(*send->message)) {
      switch_step_ = step_ + 2;
    }
  }
  if (!stage) return;
  const PlanPtr staged = staged_;
  for (int r = 0; r < job_->placement.ranks; ++r) {
    Feed(WorkerSaid{
        StreamId(r + 1),
        Staged{{term_, job_->name, kGeneration}, kIncarnation, staged->stamp.version, Digest(*staged)}});
  }
}

void LiveJob::FinishLook() {
  if (planning_ == nullptr || step_ < plan_done_) return;
  const std::shared_ptr<const PlanTask> task = std::exchange(planning_, nullptr);
  Feed(PlanMade{task->look(), task->Run([] { return false; })});
}

void LiveJob::PushExchange() {
  const auto exchange = [](const PlanBody& base, const JobConfig&) -> absl::StatusOr<PlanBody> {
    PlanBody body = base;
    std::swap(body.layers[0].slots[0][0], body.layers[0].slots[1][0]);
    return body;
  };
  Feed(PushPlan{ReplyToken(2), job_->name, core_.Job(job_->name)->record.active, Step(), "exchange", exchange,
                false, "test"});
}

double LiveJob::MeanImbalance(size_t from_step) const {
  double sum = 0;
  for (size_t i = from_step - 1; i < imbalance_.size(); ++i) sum += imbalance_[i];
  return sum / static_cast<double>(imbalance_.size() - from_step + 1);
}

double LiveJob::PredictedTotal(double sync_cost, double write_cost) const {
  double total = sync_cost * sync_slots_ + write_cost * static_cast<double>(slot_writes());
  for (double imbalance : imbalance_) total += imbalance * static_cast<double>(job_->model.layers);
  return total;
}

int64_t LiveJob::slot_writes() const { return core_.Job(job_->name)->record.slot_writes; }

}  // namespace ballast

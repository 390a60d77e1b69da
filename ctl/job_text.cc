#include "ctl/job_text.h"

#include <cmath>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "ctl/output.h"
#include "wire/strict_reader.h"

namespace ballast {
namespace {

constexpr int kSummarySteps = 20;

std::string StateName(v1::JobState state) {
  const auto* value = v1::JobState_descriptor()->FindValueByNumber(state);
  return value == nullptr ? absl::StrCat("state ", static_cast<int>(state)) : EnumText(*value);
}

// JSON has neither NaN nor infinity.
std::string JsonNumber(double value, int digits) {
  return std::isfinite(value) ? absl::StrFormat("%.*g", digits, value) : "null";
}

// Seconds; 0 = there are none.
nlohmann::ordered_json OrNull(double seconds) {
  return seconds > 0 ? nlohmann::ordered_json(seconds) : nlohmann::ordered_json(nullptr);
}

}  // namespace

bool IsFinal(v1::JobState state) { return state == v1::JOB_STATE_SUCCEEDED || state == v1::JOB_STATE_FAILED; }

std::string StateText(const v1::JobStatus& job) {
  return job.reason().empty() ? StateName(job.state())
                              : absl::StrCat(StateName(job.state()), ": ", job.reason());
}

absl::Status EndOf(const v1::JobStatus& job) {
  if (job.state() == v1::JOB_STATE_SUCCEEDED) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("job ", job.name(), " ", StateText(job)));
}

void PrintJob(std::ostream& out, const v1::JobStatus& job) {
  out << "name         " << job.name() << "\n";
  out << "state        " << StateText(job) << "\n";
  out << "step         " << job.step() << " of " << job.steps() << "\n";
  out << "plan         " << job.plan_version();
  if (job.plan_in_flight() != 0) out << " (plan " << job.plan_in_flight() << " is on its way)";
  out << "; " << job.plans_committed() << " committed after the first, " << job.slot_writes()
      << " slot writes\n";
  out << "tokens/s     " << Fixed(job.tokens_per_s(), 0) << "\n";
  if (job.recent_steps_size() > 0) {
    const v1::StepStatus& last = *job.recent_steps().rbegin();
    out << "loss         " << Fixed(last.loss(), 4) << "\n";
    out << "imbalance    " << Fixed(last.imbalance(), 2)
        << " (contiguous: " << Fixed(last.contiguous_imbalance(), 2) << ")\n";
  }
  std::map<std::string, std::string> held_out;  // the newest of each source
  for (const v1::Evaluation& evaluation : job.evaluations()) {
    held_out[evaluation.source()] = absl::StrCat(evaluation.source(), " ", Fixed(evaluation.loss(), 4),
                                                 " after step ", evaluation.step());
  }
  if (!held_out.empty())
    out << "held-out     " << absl::StrJoin(held_out, ", ", [](std::string* text, const auto& entry) {
      absl::StrAppend(text, entry.second);
    }) << "\n";
  out << "ETA          " << DurationText(job.eta_s()) << "\n";
  if (job.checkpoint_step() > 0) out << "checkpoint   after step " << job.checkpoint_step() << "\n";
  if (job.checkpoints_skipped() > 0)
    out << "skipped      " << job.checkpoints_skipped()
        << " checkpoints, the one before being written still\n";
  out << "generation   " << job.generation() << "\n";
  out << "workers      " << absl::StrJoin(job.workers(), ", ") << "\n";
}

std::string ProgressLine(const v1::StepStatus& step, int64_t steps) {
  return absl::StrFormat("step %d/%d  loss %s  %s tokens/s  imbalance %s  plan %d  ETA %s", step.step(),
                         steps, Fixed(step.loss(), 4), Fixed(step.tokens_per_s(), 0),
                         Fixed(step.imbalance(), 2), step.plan_version(), DurationText(step.eta_s()));
}

std::string StepJsonLine(const v1::StepStatus& step) {
  return absl::StrCat("{\"step\":", step.step(), ",\"loss\":", JsonNumber(step.loss(), 17),
                      ",\"tokens_per_s\":", JsonNumber(step.tokens_per_s(), 6),
                      ",\"imbalance\":", JsonNumber(step.imbalance(), 6),
                      ",\"plan_version\":", step.plan_version(), ",\"eta_s\":", JsonNumber(step.eta_s(), 6),
                      "}");
}

absl::StatusOr<nlohmann::ordered_json> JobSummaryJson(const v1::JobStatus& job) {
  if (job.state() != v1::JOB_STATE_SUCCEEDED) {
    return absl::FailedPreconditionError(
        absl::StrCat("job ", job.name(), " is ", StateText(job), "; a summary is for jobs that SUCCEEDED"));
  }
  struct FirstAndLast {
    double first = 0;
    double last = 0;
  };
  std::vector<std::string> sources;  // in the order of the job
  std::map<std::string, FirstAndLast> losses;
  int64_t last_evaluated = 0;
  for (const v1::Evaluation& evaluation : job.evaluations()) {
    if (losses.count(evaluation.source()) == 0) {
      sources.push_back(evaluation.source());
      losses[evaluation.source()].first = evaluation.loss();
    }
    losses[evaluation.source()].last = evaluation.loss();
    last_evaluated = evaluation.step();
  }
  if (sources.empty() || job.evaluations(0).step() != 0 || last_evaluated != job.step()) {
    return absl::FailedPreconditionError(absl::StrCat("job ", job.name(), " has no held-out loss ",
                                                      sources.empty() || job.evaluations(0).step() != 0
                                                          ? "from before its first step"
                                                          : "from after its last step"));
  }
  int count = std::min({kSummarySteps, static_cast<int>(std::min<int64_t>(job.step(), kSummarySteps)),
                        job.recent_steps_size()});
  if (count == 0)
    return absl::FailedPreconditionError(absl::StrCat("job ", job.name(), " has no steps to sum up"));
  double before = 0, after = 0;
  for (int i = job.recent_steps_size() - count; i < job.recent_steps_size(); ++i) {
    before += job.recent_steps(i).contiguous_imbalance() / count;
    after += job.recent_steps(i).imbalance() / count;
  }
  double first = 0, last = 0;
  nlohmann::ordered_json by_source = nlohmann::ordered_json::object();
  for (const std::string& source : sources) {
    first += losses[source].first / static_cast<double>(sources.size());
    last += losses[source].last / static_cast<double>(sources.size());
    by_source[source] = {losses[source].first, losses[source].last};
  }
  return nlohmann::ordered_json{{"steps", job.step()},
                                {"loss_first", first},
                                {"loss_last", last},
                                {"loss_by_source", by_source},
                                {"plans_committed", job.plans_committed()},
                                {"slot_writes", job.slot_writes()},
                                {"imbalance_before", before},
                                {"imbalance_after", after},
                                {"tokens_per_s", job.tokens_per_s()},
                                {"step_s_predicted", OrNull(job.predicted_step_s())},
                                {"step_s_measured", OrNull(job.measured_step_s())}};
}

}  // namespace ballast

#include "coordinator/events.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace ballast {
namespace {

std::string Text(const RecordWrite& write) {
  if (const auto* job = std::get_if<JobRecord>(&write)) {
    std::string text = absl::StrCat("job ", job->config->name.value(), " ", ToString(job->state));
    if (!job->reason.empty()) absl::StrAppend(&text, " (", job->reason, ")");
    return text;
  }
  if (const auto* plan = std::get_if<PlanRecord>(&write)) {
    std::string text = absl::StrCat("plan v", plan->plan->stamp.version.value(), " ", ToString(plan->state));
    if (!plan->outcome.empty()) absl::StrAppend(&text, " (", plan->outcome, ")");
    return text;
  }
  if (const auto* checkpoint = std::get_if<CheckpointRecord>(&write)) {
    return absl::StrCat("checkpoint after step ", checkpoint->step.value(), " ", ToString(checkpoint->state));
  }
  if (const auto* event = std::get_if<JobEvent>(&write)) return absl::StrCat("event ", event->number);
  if (const auto* account = std::get_if<ExplanationRecord>(&write)) {
    return absl::StrCat(account->measured.complete ? "gain of v" : "why v", account->version.value());
  }
  if (const auto* worker = std::get_if<WorkerRecord>(&write)) {
    return absl::StrCat("worker ", worker->worker.value(), worker->cordoned ? " cordoned" : " uncordoned");
  }
  const auto& generation = std::get<GenerationRecord>(write);
  return absl::StrCat("generation ", generation.generation.value(), generation.ended ? " ended" : " begins");
}

std::string Text(const LookId& look) {
  return absl::StrCat(look.stamp.job.value(), " gen ", look.stamp.generation.value(), " step ",
                      look.step.value(), " on v", look.base.value());
}

struct EventPrinter {
  std::string operator()(const LeadershipWon& e) const {
    return absl::StrCat("LeadershipWon{term ", e.term.value(), ", ", e.contents.jobs.size(), " jobs}");
  }
  std::string operator()(const WorkerAttached& e) const {
    return absl::StrCat("stream ", e.stream.value(), ": ", ToString(WorkerMessage(e.hello)));
  }
  std::string operator()(const StreamClosed& e) const {
    return absl::StrCat("stream ", e.stream.value(), " closed");
  }
  std::string operator()(const WorkerSaid& e) const {
    return absl::StrCat("stream ", e.stream.value(), ": ", ToString(e.message));
  }
  std::string operator()(const StoreFailed& e) const {
    return absl::StrCat("StoreFailed{", e.status.ToString(), "}");
  }
  std::string operator()(const SubmitJob& e) const {
    return absl::StrCat("SubmitJob{#", e.reply.value(), " ", e.config->name.value(),
                        e.resume.has_value() ? absl::StrCat(" from ", e.resume->directory) : "", "}");
  }
  std::string operator()(const RequestCheckpoint& e) const {
    return absl::StrCat("RequestCheckpoint{#", e.reply.value(), " ", e.job.value(), "}");
  }
  std::string operator()(const StopJob& e) const {
    return absl::StrCat("StopJob{#", e.reply.value(), " ", e.job.value(), e.now ? " now}" : "}");
  }
  std::string operator()(const PushPlan& e) const {
    return absl::StrCat("PushPlan{#", e.reply.value(), " ", e.job.value(), " on v", e.base_version.value(),
                        " not before step ", e.not_before_step.value(), e.dry_run ? " dry run}" : "}");
  }
  std::string operator()(const RollbackPlan& e) const {
    return absl::StrCat("RollbackPlan{#", e.reply.value(), " ", e.job.value(), " to v", e.to.value(), "}");
  }
  std::string operator()(const DrainWorker& e) const {
    return absl::StrCat("DrainWorker{#", e.reply.value(), " ", e.worker.value(), "}");
  }
  std::string operator()(const CordonWorker& e) const {
    return absl::StrCat(e.cordon ? "CordonWorker{#" : "UncordonWorker{#", e.reply.value(), " ",
                        e.worker.value(), "}");
  }
  std::string operator()(const Adopt& e) const { return absl::StrCat("Adopt{#", e.reply.value(), "}"); }
  std::string operator()(const PlanMade& e) const {
    return absl::StrCat("PlanMade{", Text(e.look), ": ",
                        e.decision.ok() ? e.decision->why : e.decision.status().ToString(), "}");
  }
  std::string operator()(const PlanTimed& e) const {
    return absl::StrCat("PlanTimed{", e.job.value(), " ", e.evaluations, " placements in ", e.seconds, " s}");
  }
  std::string operator()(const Tick&) const { return "Tick"; }
};

struct WatchPrinter {
  std::string operator()(const JobEvent& e) const { return absl::StrCat(e.job.value(), ": ", e.text); }
  std::string operator()(const StepEvent& e) const {
    return absl::StrFormat("%s: step %d: loss %.4f, imbalance %.2f", e.job.value(), e.point.step.value(),
                           e.point.loss, e.point.imbalance);
  }
  std::string operator()(const EvaluationEvent& e) const {
    return absl::StrFormat("%s: held-out loss of %s after step %d: %.4f", e.job.value(), e.point.source,
                           e.point.step.value(), e.point.loss);
  }
};

struct ActionPrinter {
  std::string operator()(const StoreWrite& a) const {
    if (a.transaction.writes.empty()) return "store: nothing, but fails unless this term leads";
    return absl::StrCat(
        "store: ", absl::StrJoin(a.transaction.writes, "; ", [](std::string* out, const RecordWrite& write) {
          out->append(Text(write));
        }));
  }
  std::string operator()(const Send& a) const {
    return absl::StrCat("stream ", a.stream.value(), ": ", ToString(*a.message));
  }
  std::string operator()(const CloseStream& a) const {
    return absl::StrCat("close stream ", a.stream.value(), ": ", a.reason);
  }
  std::string operator()(const Reply& a) const {
    std::string text =
        absl::StrCat("reply #", a.token.value(), ": ", a.status.ok() ? "OK" : a.status.ToString());
    if (a.plan.plan != nullptr) absl::StrAppend(&text, " v", a.plan.plan->stamp.version.value());
    if (!a.text.empty()) absl::StrAppend(&text, " ", a.text);
    return text;
  }
  std::string operator()(const Publish& a) const {
    return absl::StrCat("tell ", std::visit(WatchPrinter(), a.event));
  }
  std::string operator()(const Note& a) const {
    return absl::StrCat(a.warning ? "warn: " : "note: ", a.text);
  }
  std::string operator()(const AcquireLeadership& a) const {
    return absl::StrCat("acquire leadership above term ", a.at_least.value());
  }
  std::string operator()(const MakePlan& a) const {
    return absl::StrCat("make plan of ", Text(a.task->look()));
  }
  std::string operator()(const GiveUpPlan& a) const {
    return absl::StrCat("give up plan of ", Text(a.look));
  }
  std::string operator()(const Exit& a) const { return absl::StrCat("exit: ", a.reason); }
};

}  // namespace

std::string ToString(const Event& event) { return std::visit(EventPrinter(), event); }
std::string ToString(const Action& action) { return std::visit(ActionPrinter(), action); }

}  // namespace ballast

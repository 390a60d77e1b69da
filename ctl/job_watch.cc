#include "ctl/job_watch.h"

#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ctl/connection.h"
#include "ctl/job_text.h"
#include "ctl/output.h"
#include "wire/message_json.h"

namespace ballast {
namespace {

// Far above what a coordinator keeps of a job, and a worker of its reports.
constexpr size_t kStepsShownMax = 16384;

// What has been shown, so that a stream that was opened again repeats nothing.
class Watcher {
 public:
  explicit Watcher(const Context& context) : context_(context) {}

  void Show(const v1::JobEvent& event) {
    attached_ = true;
    switch (event.event_case()) {
      case v1::JobEvent::kState:
        ShowState(event.state());
        break;
      case v1::JobEvent::kStep:
        ShowStep(event.step());
        break;
      case v1::JobEvent::kPlan:
        if (IsNews(event.plan())) Say(event.plan().text());
        break;
      case v1::JobEvent::kEvaluation:
        ShowEvaluation(event.evaluation());
        break;
      case v1::JobEvent::kLogged:
        // A stop request shows in the state that follows.
        if (event.logged().kind() != v1::EVENT_KIND_REQUEST) Say(event.logged().text());
        break;
      case v1::JobEvent::EVENT_NOT_SET:
        break;  // of a newer coordinator
    }
  }

  bool attached() const { return attached_; }  // the coordinator has said something
  const std::optional<v1::JobStatus>& end() const { return end_; }

 private:
  // Where a plan ends up is one line; the stations on its way are in `plan list`.
  static bool IsNews(const v1::PlanEvent& event) {
    return event.alarm() || !event.has_plan() ||
           (event.plan().state() != v1::PLAN_STATE_PROPOSED &&
            event.plan().state() != v1::PLAN_STATE_COMMITTED);
  }

  void ShowState(const v1::JobStatus& job) {
    steps_ = job.steps();
    for (const v1::StepStatus& step : job.recent_steps()) ShowStep(step);
    std::string state = StateText(job);
    if (state != state_) Say(absl::StrCat("job ", job.name(), ": ", state));
    state_ = state;
    if (IsFinal(job.state())) end_ = job;
  }

  // A step that was reported late stands behind newer ones.
  void ShowStep(const v1::StepStatus& step) {
    if (step.step() <= steps_forgotten_ || !steps_shown_.insert(step.step()).second) return;
    if (steps_shown_.size() > kStepsShownMax) {
      steps_forgotten_ = *steps_shown_.begin();
      steps_shown_.erase(steps_shown_.begin());
    }
    switch (context_.options.output) {
      case OutputFormat::kTable:
        context_.out << ProgressLine(step, steps_) << std::endl;
        break;
      case OutputFormat::kJson:
        context_.out << StepJsonLine(step) << std::endl;
        break;
      case OutputFormat::kYaml:
        context_.out << "---\n" << YamlText(nlohmann::ordered_json::parse(StepJsonLine(step))) << std::flush;
        break;
    }
  }

  void ShowEvaluation(const v1::Evaluation& evaluation) {
    Say(absl::StrCat("step ", evaluation.step(), ": held-out loss of ", evaluation.source(), " ",
                     Fixed(evaluation.loss(), 4)));
  }

  // For people: beside the steps in a table, else on stderr, so that stdout holds steps alone.
  void Say(const std::string& text) {
    std::ostream& out = context_.options.output == OutputFormat::kTable ? context_.out : context_.err;
    out << text << std::endl;
  }

  const Context& context_;
  bool attached_ = false;
  int64_t steps_ = 0;
  std::set<int64_t> steps_shown_;  // the highest ones; those up to steps_forgotten_ are not shown again
  int64_t steps_forgotten_ = 0;
  std::string state_;
  std::optional<v1::JobStatus> end_;
};

// One stream, until it ends or breaks.
absl::Status WatchOnce(const ControlClient& client, const std::string& name,
                       std::optional<std::chrono::system_clock::time_point> deadline, Watcher& watcher) {
  grpc::ClientContext stream_context;
  if (deadline.has_value()) stream_context.set_deadline(*deadline);
  v1::WatchJobRequest request;
  request.set_name(name);
  auto reader = client.stub().WatchJob(&stream_context, request);
  v1::JobEvent event;
  while (reader->Read(&event)) watcher.Show(event);
  return FromCoordinator(reader->Finish(), client.options().coordinator);
}

}  // namespace

absl::Status JobWatch(const Context& context, const std::string& name) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  BALLAST_ASSIGN_OR_RETURN(std::string job, JobOrOnlyOne(client, name));
  std::optional<std::chrono::system_clock::time_point> deadline;
  if (context.options.timeout_s.has_value()) {
    deadline = std::chrono::system_clock::now() +
               std::chrono::milliseconds(static_cast<int64_t>(1e3 * *context.options.timeout_s));
  }
  Watcher watcher(context);
  Waiter waiter(context.options);
  while (true) {
    absl::Status status = WatchOnce(client, job, deadline, watcher);
    if (watcher.end().has_value()) return EndOf(*watcher.end());
    // A coordinator that was never there is an error; one that went away is waited for.
    if (!watcher.attached() && !status.ok()) return status;
    if (absl::IsUnavailable(status))
      context.err << "waiting for the coordinator: " << status.message() << std::endl;
    if (!waiter.Again(status, absl::StrCat("job ", job))) return waiter.result();
  }
}

absl::Status JobSummary(const Context& context, const std::string& name) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  v1::GetJobRequest request;
  BALLAST_ASSIGN_OR_RETURN(*request.mutable_name(), JobOrOnlyOne(client, name));
  BALLAST_ASSIGN_OR_RETURN(v1::GetJobResponse response, client.Call(&v1::Control::Stub::GetJob, request));
  BALLAST_ASSIGN_OR_RETURN(nlohmann::ordered_json summary, JobSummaryJson(response.job()));
  if (context.options.output == OutputFormat::kYaml) {
    context.out << YamlText(summary);
  } else {
    context.out << summary.dump() << "\n";
  }
  return absl::OkStatus();
}

}  // namespace ballast

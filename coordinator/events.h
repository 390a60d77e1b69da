// What goes into the coordinator's core and what comes out of it, as values.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/ids.h"
#include "coordinator/plan_task.h"
#include "coordinator/records.h"
#include "coordinator/store.h"
#include "plan/job_config.h"
#include "plan/plan.h"
#include "protocol/messages.h"

namespace ballast {

using StreamId =
    Id<struct StreamTag, int64_t>;  // one attachment of one worker; never used twice in a process
using ReplyToken = Id<struct ReplyTag, int64_t>;  // one waiting request of an operator

// Both clocks, read by the driver.
struct Now {
  Time time;            // for deadlines
  int64_t unix_ms = 0;  // for people
};

// ---- events ----

// The store answered Acquire and Load. First event of a core; again after AcquireLeadership.
struct LeadershipWon {
  Term term;
  StoreContents contents;
  std::vector<StepReport> loads = {};  // kept from before, for people; by job, rising steps
};
// A stream opened and its first message was `hello`; its identity is checked. One worker name may have one
// stream only: the core closes the older one, or refuses the newer.
struct WorkerAttached {
  StreamId stream;
  Hello hello;
};
struct StreamClosed {
  StreamId stream;
};
// Any message of an attached stream but Hello.
struct WorkerSaid {
  StreamId stream;
  WorkerMessage message;
};
// The StoreWrite that the driver was carrying out failed, or its result is unknown. The driver has dropped
// the actions behind it. The answer is Exit.
struct StoreFailed {
  absl::Status status;
};
struct SubmitJob {
  ReplyToken reply;
  std::shared_ptr<const JobConfig> config;
  // A checkpoint that the job goes on from; nothing = from the beginning.
  std::optional<CheckpointRef> resume = {};
  Generation resume_generation = {};                 // the highest that its folder knows
  std::shared_ptr<const PlanBody> resume_plan = {};  // its plan, used where it fits; may be null
};
struct RequestCheckpoint {
  ReplyToken reply;
  JobId job;
  std::string who;
};
struct StopJob {
  ReplyToken reply;
  JobId job;
  std::string who;   // for the reason, as "operator/anna"
  bool now = false;  // do not wait for a step boundary: abort the ranks, the job is FAILED
};
// Makes a plan's content from the content it is based on. Pure; InvalidArgument names the field.
using PlanEdit = std::function<absl::StatusOr<PlanBody>(const PlanBody& base, const JobConfig& job)>;
struct PushPlan {
  ReplyToken reply;
  JobId job;
  PlanVersion base_version;  // must be the active plan
  Step not_before_step;      // 0 = as soon as every rank is ready
  std::string reason;        // empty = "pushed by <who>"
  PlanEdit edit;
  bool dry_run = false;  // validate and compare only
  std::string who;
};
struct RollbackPlan {
  ReplyToken reply;
  JobId job;
  PlanVersion to;  // 0 = the one that was active before the present one
  std::string who;
};
// Moves the job off this worker without losing a step, and gives it no more work.
struct DrainWorker {
  ReplyToken reply;
  WorkerId worker;
  std::string who;
};
struct CordonWorker {
  ReplyToken reply;
  WorkerId worker;
  bool cordon = true;  // false: it may get work again
  std::string who;
};
struct Adopt {
  ReplyToken reply;
  std::string who;
};
// What came of a MakePlan. May come late, or never when the process ends.
struct PlanMade {
  LookId look;
  absl::StatusOr<PlanDecision> decision;
  double seconds = 0;  // that it took; 0: not told
};
// Deadlines are looked at; a few times a second.
struct Tick {};

// A look of the planner (Core::TakeLook) that counted so many placements took so long by the driver's clock.
struct PlanTimed {
  JobId job;
  int64_t evaluations = 0;
  double seconds = 0;
};
using Event = std::variant<LeadershipWon, WorkerAttached, StreamClosed, WorkerSaid, StoreFailed, SubmitJob,
                           RequestCheckpoint, StopJob, PushPlan, RollbackPlan, DrainWorker, CordonWorker,
                           Adopt, PlanMade, PlanTimed, Tick>;

// What the planner counted in a step.
struct PlannerLook {
  JobId job;
  int64_t evaluations = 0;
};

// ---- actions ----

// Must be durable before any later action of the list is carried out. On any error the driver drops the rest
// of the list and hands StoreFailed to the core.
struct StoreWrite {
  Transaction transaction;
};
// Messages to one stream keep their order. One that cannot be queued breaks the stream; none is ever dropped
// alone. The stream is closed after a Refused.
struct Send {
  StreamId stream;
  std::shared_ptr<const CoordinatorMessage> message;  // shared by all whom it goes to; never null
};
struct CloseStream {
  StreamId stream;
  std::string reason;
};
// Answers one request. OK fills what applies: `job` (submit, stop), `plan` and `text` (push, rollback;
// version 0 and no digest after a dry run), `term` (adopt).
struct Reply {
  ReplyToken token;
  absl::Status status;
  JobId job;
  PlanRecord plan;
  std::string text;
  Term term;
};
// A JobEvent is for the process's log and for those who watch the job; it is in the store already, or on its
// way there (Env::Tell).
struct StepEvent {
  JobId job;
  StepPoint point;
};
struct EvaluationEvent {
  JobId job;
  EvaluationPoint point;
};
using WatchEvent = std::variant<JobEvent, StepEvent, EvaluationEvent>;
struct Publish {
  WatchEvent event;
};
// A line for the log alone.
struct Note {
  std::string text;
  bool warning = false;
};
// Call StateStore::Acquire(at_least) and Load, then hand LeadershipWon to the core (after adopt). The rest of
// the list goes on before.
struct AcquireLeadership {
  Term at_least;
};
// Run the task aside, while further events are fed, and hand PlanMade to the core. Nothing is durable: a new
// leader looks again.
struct MakePlan {
  std::shared_ptr<const PlanTask> task;
};
// A MakePlan that nobody waits for any more; its PlanMade may come all the same.
struct GiveUpPlan {
  LookId look;
};
// The process must end, and not lead again before it has read the store anew.
struct Exit {
  std::string reason;
};

using Action = std::variant<StoreWrite, Send, CloseStream, Reply, Publish, Note, AcquireLeadership, MakePlan,
                            GiveUpPlan, Exit>;
using Actions = std::vector<Action>;

// One line each, for logs and transcripts.
std::string ToString(const Event& event);
std::string ToString(const Action& action);

}  // namespace ballast

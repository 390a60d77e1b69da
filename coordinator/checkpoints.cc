#include "coordinator/checkpoints.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/checkpoint.h"

namespace ballast {
namespace {

// Steps whose checkpoint failed at some member, kept so that the other members' parts are not waited for.
constexpr size_t kFailedMax = 64;

std::string After(Step step) { return absl::StrCat("checkpoint after step ", step.value()); }

CheckpointRecord* WrittenIn(JobEntry& job, Step step) {
  auto it = job.checkpoints.find({job.record.generation, step});
  return it != job.checkpoints.end() && it->second.state == CheckpointState::kWritten ? &it->second : nullptr;
}

// The worker of the lowest attached rank that is not lost; null when there is none.
const WorkerEntry* Publisher(const Env& env, const JobEntry& job) {
  for (const Member& member : job.generation.members) {
    if (job.loss.has_value() && job.loss->reported.count(member.worker) > 0) continue;
    if (env.workers.StreamOf(member.worker, member.incarnation).value() > 0)
      return env.workers.Find(member.worker);
  }
  return nullptr;
}

// Older checkpoints of this generation that are not complete will not be any more.
void DropUnfinished(JobEntry& job, Step before, std::vector<RecordWrite>& writes) {
  std::erase_if(job.collecting, [&](const auto& entry) { return entry.first < before; });
  for (auto& [key, record] : job.checkpoints) {
    if (record.state != CheckpointState::kWritten || key.first != job.record.generation ||
        key.second >= before)
      continue;
    record.state = CheckpointState::kDropped;
    record.manifest.clear();
    writes.push_back(record);
  }
}

// Forgets all but the newest keep_last published ones; returns the names of those that stay.
std::vector<std::string> KeepLast(JobEntry& job, std::vector<RecordWrite>& writes) {
  std::vector<std::string> keep;
  for (auto it = job.checkpoints.rbegin(); it != job.checkpoints.rend(); ++it) {
    CheckpointRecord& record = it->second;
    if (record.state != CheckpointState::kPublished) continue;
    if (static_cast<int>(keep.size()) < job.config().checkpoint.keep_last) {
      keep.push_back(CheckpointName(record.step, record.generation));
      continue;
    }
    record.state = CheckpointState::kDropped;
    writes.push_back(record);
  }
  return keep;
}

}  // namespace

void OnRequestCheckpoint(Env& env, JobEntry& job, const RequestCheckpoint& request) {
  Reply reply{
      .token = request.reply, .status = {}, .job = job.name(), .plan = {}, .text = {}, .term = env.term};
  if (job.config().checkpoint.path.empty()) {
    reply.status = absl::FailedPreconditionError(absl::StrCat(
        "job ", job.name().value(), " has no checkpoint.path in its file, so there is nowhere to write to"));
  } else if (job.record.state != JobState::kRunning) {
    reply.status = absl::FailedPreconditionError(
        absl::StrCat("job ", job.name().value(), " is ", ToString(job.record.state),
                     job.record.state == JobState::kStopping ? "; it is checkpointed when it stops"
                                                             : "; a RUNNING job can be checkpointed"));
  }
  if (reply.status.ok() && job.record.last_request_kind == RequestKind::kDrain) {
    // Ranks carry out the newest request alone.
    reply.status = absl::FailedPreconditionError(
        absl::StrCat("job ", job.name().value(), " is being drained, which checkpoints it"));
  }
  if (reply.status.ok()) {
    job.record.last_request = job.record.last_request.Next();
    job.record.last_request_kind = RequestKind::kCheckpoint;
    env.Store({job.record});
    env.Tell(job, JobEvent::Kind::kRequest, absl::StrCat(request.who, " asks for a checkpoint"),
             job.record.step);
    env.SendToMembers(job, StepRequest{env.StampOf(job), job.record.last_request, RequestKind::kCheckpoint});
  }
  env.actions.push_back(std::move(reply));
}

void OnCheckpointWritten(Env& env, JobEntry& job, const WorkerEntry& worker,
                         const CheckpointWritten& message) {
  if (message.incarnation != worker.hello.incarnation) return;
  if (job.checkpoints.count({job.record.generation, message.step}) > 0) return;  // said again
  if (job.checkpoint_failures.count(message.step) > 0) return;
  JobEntry::Collecting& parts = job.collecting[message.step];
  parts.files[worker.hello.worker] = message.files;
  if (parts.files.size() < job.processes.size()) return;

  CheckpointManifest manifest;
  manifest.job = job.name();
  manifest.step = message.step;
  manifest.generation = job.record.generation;
  manifest.plan = message.plan;
  CheckpointRecord record;
  record.job = job.name();
  record.step = message.step;
  record.generation = job.record.generation;
  record.plan = message.plan;
  record.directory = absl::StrCat(CheckpointFolder(job.config().checkpoint.path, job.name()), "/",
                                  CheckpointName(message.step, job.record.generation));
  record.unix_ms = env.now.unix_ms;
  record.request = message.request;
  for (auto& [name, files] : parts.files) {
    for (CheckpointFile& file : files) {
      record.bytes += file.bytes;
      manifest.files.push_back(std::move(file));
    }
  }
  record.manifest = ManifestText(manifest);
  job.collecting.erase(job.collecting.begin(), job.collecting.upper_bound(message.step));
  job.checkpoints[{record.generation, record.step}] = record;
  env.Store({record});
  if (const WorkerEntry* publisher = Publisher(env, job)) {
    env.Send(publisher->stream, PublishCheckpoint{env.StampOf(job), record.step, record.manifest});
  }
}

void OnCheckpointFailed(Env& env, JobEntry& job, const WorkerEntry& worker, const CheckpointFailed& message) {
  if (message.incarnation != worker.hello.incarnation) return;
  if (message.skipped) {
    ++job.record.checkpoints_skipped;
    env.Tell(job, JobEvent::Kind::kCheckpoint,
             absl::StrCat(After(message.step), " skipped: ", message.cause, "; ",
                          job.record.checkpoints_skipped, " skipped so far"),
             message.step);
    return;
  }
  job.collecting.erase(message.step);
  // One alarm a checkpoint: a full disk is full for every rank.
  const bool first = job.checkpoint_failures.insert(message.step).second;
  if (job.checkpoint_failures.size() > kFailedMax)
    job.checkpoint_failures.erase(job.checkpoint_failures.begin());
  if (CheckpointRecord* record = WrittenIn(job, message.step)) {
    record->state = CheckpointState::kDropped;
    record->manifest.clear();
    env.Store({*record});
  }
  if (!first) return;
  env.Tell(job, JobEvent::Kind::kAlarm,
           absl::StrCat(After(message.step), " failed: worker ", worker.hello.worker.value(), ": ",
                        message.cause, "; training goes on, and earlier checkpoints stay"),
           message.step);
}

void OnCheckpointPublished(Env& env, JobEntry& job, const WorkerEntry& worker,
                           const CheckpointPublished& message) {
  if (message.incarnation != worker.hello.incarnation) return;
  CheckpointRecord* record = WrittenIn(job, message.step);
  if (record == nullptr) return;  // said again
  record->state = CheckpointState::kPublished;
  record->manifest.clear();
  std::vector<RecordWrite> writes = {*record};
  DropUnfinished(job, message.step, writes);
  std::vector<std::string> keep = KeepLast(job, writes);
  if (record->request.value() > 0 && record->request == job.record.last_request) {
    // Done: a later generation must not carry it out once more.
    job.record.last_request_kind = RequestKind::kNone;
    writes.push_back(job.record);
  }
  env.Store(std::move(writes));
  env.Tell(job, JobEvent::Kind::kCheckpoint,
           absl::StrCat(After(record->step), " complete: ", record->bytes, " bytes in ", record->directory),
           record->step);
  env.Send(worker.stream,
           PruneCheckpoints{env.StampOf(job), job.record.resume_generation.Next(), std::move(keep)});
}

void ResendCheckpoints(Env& env, const JobEntry& job, const WorkerEntry& worker) {
  const WorkerEntry* publisher = Publisher(env, job);
  if (publisher == nullptr || publisher->hello.worker != worker.hello.worker) return;
  for (const auto& [key, record] : job.checkpoints) {
    if (record.state != CheckpointState::kWritten || key.first != job.record.generation) continue;
    env.Send(worker.stream, PublishCheckpoint{env.StampOf(job), record.step, record.manifest});
  }
}

void PublishElsewhere(Env& env, const JobEntry& job) {
  if (const WorkerEntry* publisher = Publisher(env, job)) ResendCheckpoints(env, job, *publisher);
}

bool MayComplete(const Env& env, const JobEntry& job, const std::set<WorkerId>& lost) {
  for (const auto& [key, record] : job.checkpoints) {
    if (record.state == CheckpointState::kWritten && key.first == job.record.generation) return true;
  }
  // A rank finishes behind its last checkpoint, when all do; what else it was writing goes with it.
  if (job.finished.empty() || job.collecting.empty()) return false;
  const auto& [step, parts] = *job.collecting.rbegin();
  return std::all_of(job.processes.begin(), job.processes.end(), [&, &parts = parts](const auto& process) {
    const auto& [name, incarnation] = process;
    if (parts.files.count(name) > 0) return true;
    return lost.count(name) == 0 && env.workers.StreamOf(name, incarnation).value() > 0;
  });
}

bool CheckpointUnderWay(const JobEntry& job) {
  if (!job.collecting.empty()) return true;
  for (const auto& [key, record] : job.checkpoints) {
    if (record.state == CheckpointState::kWritten && key.first == job.record.generation) return true;
  }
  return false;
}

std::vector<RecordWrite> EndCheckpoints(JobEntry& job) {
  std::vector<RecordWrite> writes;
  for (auto& [key, record] : job.checkpoints) {
    if (record.state != CheckpointState::kWritten) continue;
    record.state = CheckpointState::kDropped;
    record.manifest.clear();
    writes.push_back(record);
  }
  job.collecting.clear();
  job.checkpoint_failures.clear();
  return writes;
}

}  // namespace ballast

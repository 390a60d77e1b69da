#include "coordinator/memory_store.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace ballast {

absl::StatusOr<Term> MemoryStore::Acquire(Term at_least) {
  term_ = std::max(term_, at_least).Next();
  return term_;
}

absl::StatusOr<StoreContents> MemoryStore::Load() {
  StoreContents contents;
  for (const auto& [key, record] : jobs_) contents.jobs.push_back(record);
  std::sort(contents.jobs.begin(), contents.jobs.end(),
            [](const JobRecord& a, const JobRecord& b) { return a.order < b.order; });
  for (const auto& [key, record] : plans_) contents.plans.push_back(record);
  for (const auto& [key, record] : generations_) contents.generations.push_back(record);
  for (const auto& [key, record] : checkpoints_) contents.checkpoints.push_back(record);
  for (const auto& [job, events] : events_) {
    contents.events.insert(contents.events.end(), events.begin(), events.end());
  }
  for (const auto& [job, explanations] : explanations_) {
    for (const auto& [version, record] : explanations) contents.explanations.push_back(record);
  }
  for (const auto& [key, record] : workers_) contents.workers.push_back(record);
  return contents;
}

absl::Status MemoryStore::Commit(const Transaction& transaction) {
  if (transaction.term != term_) {
    return absl::FailedPreconditionError(
        absl::StrCat("term ", transaction.term.value(), " is over, term ", term_.value(), " leads"));
  }
  for (const RecordWrite& write : transaction.writes) {
    if (const auto* job = std::get_if<JobRecord>(&write)) {
      jobs_[job->config->name] = *job;
    } else if (const auto* plan = std::get_if<PlanRecord>(&write)) {
      plans_[{plan->plan->stamp.job, plan->plan->stamp.version}] = *plan;
    } else if (const auto* generation = std::get_if<GenerationRecord>(&write)) {
      generations_[{generation->job, generation->generation}] = *generation;
    } else if (const auto* checkpoint = std::get_if<CheckpointRecord>(&write)) {
      checkpoints_[{checkpoint->job, checkpoint->generation, checkpoint->step}] = *checkpoint;
    } else if (const auto* event = std::get_if<JobEvent>(&write)) {
      std::deque<JobEvent>& events = events_[event->job];
      events.push_back(*event);  // numbers rise
      if (events.size() > static_cast<size_t>(kEventsMax)) events.pop_front();
    } else if (const auto* explanation = std::get_if<ExplanationRecord>(&write)) {
      std::map<PlanVersion, ExplanationRecord>& explanations = explanations_[explanation->job];
      explanations[explanation->version] = *explanation;
      if (explanations.size() > kExplanationsMax) explanations.erase(explanations.begin());
    } else {
      const auto& worker = std::get<WorkerRecord>(write);
      workers_[worker.worker] = worker;
    }
  }
  return absl::OkStatus();
}

const JobRecord* MemoryStore::Job(const JobId& job) const {
  auto it = jobs_.find(job);
  return it == jobs_.end() ? nullptr : &it->second;
}

const PlanRecord* MemoryStore::Plan(const JobId& job, PlanVersion version) const {
  auto it = plans_.find({job, version});
  return it == plans_.end() ? nullptr : &it->second;
}

}  // namespace ballast

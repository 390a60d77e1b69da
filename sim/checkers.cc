#include "sim/checkers.h"

#include "absl/strings/str_cat.h"

namespace ballast::sim {
namespace {

template <class T>
void NotDown(const WorkerId& worker, const char* what, T before, T after) {
  if (after >= before) return;
  throw Violation(
      "I2", absl::StrCat(what, " of ", worker.value(), " went from ", before.value(), " to ", after.value()));
}

}  // namespace

Checkers::Checkers(const JobConfig& job, const MemoryStore& store, PlantedBugs bugs)
    : job_(job.name),
      store_(store),
      bugs_(bugs),
      layout_(*ParameterLayout::Make(job.model, job.placement.block_elements)),
      limits_(LimitsFor(job, layout_, job.placement.ranks)) {}

// Also passes I3, once per plan.
PlanDigest Checkers::DigestOf(const PlanPtr& plan) {
  auto [it, added] = digests_.try_emplace(plan);
  if (!added) return it->second;
  Plan content = *plan;
  // With that bug not_before is no part of the plan: what counts is whether the ranks switch together.
  if (Planted(bugs_, PlantedBug::kNotBeforeInCommit)) content.stamp.not_before_step = Step();
  it->second = Digest(content);
  const absl::Status valid = ValidatePlan(plan->body, layout_, limits_);
  if (!valid.ok()) {
    throw Violation("I3",
                    absl::StrCat("plan ", plan->stamp.version.value(), ": ", std::string(valid.message())));
  }
  return it->second;
}

void Checkers::OnStep(Rank rank, Step step, const PlanPtr& plan) {
  const Seen seen{plan->stamp.version, DigestOf(plan), rank};
  auto [it, first] = steps_.try_emplace(step, seen);
  if (!first && (it->second.version != seen.version || it->second.digest != seen.digest)) {
    throw Violation("I1", absl::StrCat("step ", step.value(), ": rank ", it->second.rank.value(),
                                       " runs plan ", it->second.version.value(), ", rank ", rank.value(),
                                       " runs plan ", seen.version.value(),
                                       it->second.version == seen.version ? " with another digest" : ""));
  }
  const PlanRecord* record = store_.Plan(job_, seen.version);
  if (record == nullptr || (record->state != PlanState::kCommitted && record->state != PlanState::kActive &&
                            record->state != PlanState::kSuperseded)) {
    throw Violation("I6", absl::StrCat("step ", step.value(), ": rank ", rank.value(), " runs plan ",
                                       seen.version.value(), ", which is ",
                                       record == nullptr ? "unknown" : ToString(record->state)));
  }
}

void Checkers::OnSession(const WorkerId& worker, const Session& session) {
  Cells& before = cells_[worker];
  Cells after;
  after.term = session.highest_term();
  NotDown(worker, "term", before.term, after.term);
  after.generation = session.run().job == job_ ? session.run().generation : before.generation;
  NotDown(worker, "generation", before.generation, after.generation);
  after.active = session.active() != nullptr ? session.active()->stamp.version : before.active;
  NotDown(worker, "active version", before.active, after.active);
  after.committed = session.active() != nullptr ? session.Cells().committed : before.committed;
  NotDown(worker, "committed version", before.committed, after.committed);
  before = after;
}

void Checkers::OnStored(const Transaction& transaction) {
  for (const RecordWrite& write : transaction.writes) {
    const auto* record = std::get_if<PlanRecord>(&write);
    if (record == nullptr) continue;
    const PlanVersion version = record->plan->stamp.version;
    if (record->state == PlanState::kAborted) aborted_.insert(version);
    if ((record->state == PlanState::kCommitted || record->state == PlanState::kActive) &&
        aborted_.count(version) > 0) {
      throw Violation(
          "I6", absl::StrCat("plan ", version.value(), " was ABORTED and is ", ToString(record->state)));
    }
    if (record->state == PlanState::kCommitted && record->origin != PlanOrigin::kFirst) OnCommitted(*record);
  }
}

// A promise is released by a Withdraw alone, and a plan that may be withdrawn is never committed (F1, F8): so
// every worker holds the plan at this moment, or runs it already.
void Checkers::OnCommitted(const PlanRecord& record) const {
  const PlanVersion version = record.plan->stamp.version;
  for (const auto& [worker, session] : sessions_) {
    if (session->Held(version, record.digest) != nullptr) continue;
    if (session->active() != nullptr && session->active()->stamp.version >= version) continue;
    throw Violation("held", absl::StrCat("plan ", version.value(), " is COMMITTED and worker ",
                                         worker.value(), " has not promised it"));
  }
}

void Checkers::OnDecided(Rank rank, PlanVersion version, PlanDigest digest, const PlanPtr& plan) {
  if (plan != nullptr) return;
  throw Violation("held", absl::StrCat("plan ", version.value(), " with digest ", digest.value(),
                                       " is decided and rank ", rank.value(), " does not hold it"));
}

std::string Checkers::Unresolved() const {
  const JobRecord* job = store_.Job(job_);
  if (job == nullptr) return "the job was never submitted";
  if (job->state != JobState::kRunning && !IsFinal(job->state))
    return absl::StrCat("the job is ", ToString(job->state));
  for (const auto& [key, record] : store_.plans()) {
    if (record.state != PlanState::kProposed && record.state != PlanState::kCommitted) continue;
    return absl::StrCat("plan ", key.second.value(), " is still ", ToString(record.state));
  }
  return "";
}

}  // namespace ballast::sim

#include "sim/checkers.h"

#include <algorithm>

#include "absl/strings/match.h"
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
      config_(job) {}

// Also passes I3, once per plan.
PlanDigest Checkers::DigestOf(const PlanPtr& plan) {
  auto [it, added] = digests_.try_emplace(plan);
  if (!added) return it->second;
  Plan content = *plan;
  // With that bug not_before is no part of the plan: what counts is whether the ranks switch together.
  if (Planted(bugs_, PlantedBug::kNotBeforeInCommit)) content.stamp.not_before_step = Step();
  it->second = Digest(content);
  const absl::Status valid = ValidatePlan(
      plan->body, layout_, LimitsFor(config_, layout_, static_cast<int>(plan->body.speeds.size())));
  if (!valid.ok()) {
    throw Violation("I3",
                    absl::StrCat("plan ", plan->stamp.version.value(), ": ", std::string(valid.message())));
  }
  return it->second;
}

void Checkers::OnStep(const RunKey& run, Rank rank, Step step, const PlanPtr& plan) {
  const auto [known, first_run] = runs_.try_emplace(run.first, run);
  if (!first_run && known->second != run && !set_back_) {
    throw Violation("I1", absl::StrCat("generation ", run.first.value(), " runs on two sets of processes"));
  }
  const Seen seen{plan->stamp.version, DigestOf(plan), rank};
  auto [it, first] = steps_.try_emplace({run, step}, seen);
  if (!first && (it->second.version != seen.version || it->second.digest != seen.digest)) {
    throw Violation("I1", absl::StrCat("step ", step.value(), ": rank ", it->second.rank.value(),
                                       " runs plan ", it->second.version.value(), ", rank ", rank.value(),
                                       " runs plan ", seen.version.value(),
                                       it->second.version == seen.version ? " with another digest" : ""));
  }
  if (set_back_) return;
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
  if (after.generation > before.generation) before.committed = PlanVersion();
  after.active = session.active() != nullptr ? session.active()->stamp.version : before.active;
  NotDown(worker, "active version", before.active, after.active);
  after.committed = session.active() != nullptr ? session.Cells().committed : before.committed;
  NotDown(worker, "committed version", before.committed, after.committed);
  before = after;
}

void Checkers::Watch(const WorkerId& worker, const Session* session) {
  auto known = sessions_.find(worker);
  if (known != sessions_.end()) {
    dead_.insert(known->second->MakeHello().incarnation);
    dead_names_.insert(worker);
  }
  sessions_.erase(worker);
  cells_.erase(worker);
  if (session != nullptr) sessions_[worker] = session;
}

void Checkers::OnApplied(Generation generation, Step step) {
  Step& highest = applied_[generation];
  highest = std::max(highest, step);
}

void Checkers::OnAssigned(const Assign& assign, const Session& session, bool quiet) {
  const HeaderCells cells = session.Cells();
  if (session.active() != assign.plan || cells.staged != nullptr || cells.committed.value() != 0) {
    throw Violation("cells",
                    absl::StrCat("generation ", assign.stamp.generation.value(), " begins with plan ",
                                 session.active()->stamp.version.value(), " staged ",
                                 cells.staged != nullptr ? cells.staged->stamp.version.value() : 0,
                                 " committed ", cells.committed.value(), " where Assign says plan ",
                                 assign.plan->stamp.version.value()));
  }
  const Step completed = assign.start_step.Plus(-1);
  const auto before = applied_.find(Generation(assign.stamp.generation.value() - 1));
  if (quiet && before != applied_.end() && before->second > completed) {
    throw Violation("lost", absl::StrCat("generation ", assign.stamp.generation.value(), " begins with step ",
                                         assign.start_step.value(), " where step ", before->second.value(),
                                         " was applied"));
  }
  OnApplied(assign.stamp.generation, completed);
  // What ranks had themselves is looked at block by block.
  if (assign.retained.value() > 0) return;
  const Step loaded = assign.checkpoint.has_value() ? assign.checkpoint->step : Step(0);
  if (loaded < resumed_) {
    throw Violation(
        "load", absl::StrCat("generation ", assign.stamp.generation.value(), " loads step ", loaded.value(),
                             " of a job that resumed from step ", resumed_.value()));
  }
  // With that bug the updates themselves must tell.
  if (assign.start_step != loaded.Next() && !Planted(bugs_, PlantedBug::kResumedEarlier)) {
    throw Violation(
        "load", absl::StrCat("generation ", assign.stamp.generation.value(), " loads step ", loaded.value(),
                             " and begins with step ", assign.start_step.value()));
  }
}

void Checkers::OnUpdate(Rank rank, BlockId block, Step state, Step step) const {
  if (state.Next() == step) return;
  throw Violation("update", absl::StrCat("rank ", rank.value(), ": block ", block.value(), " has had update ",
                                         state.value(), " and gets update ", step.value()));
}

void Checkers::OnArrived(Rank rank, BlockId block, Step step, std::optional<Step> state) const {
  if (state.has_value() && state->Next() == step) return;
  throw Violation("I4", absl::StrCat("rank ", rank.value(), ": block ", block.value(),
                                     " is needed for update ", step.value(), " and ",
                                     state.has_value() ? absl::StrCat("arrived after update ", state->value())
                                                       : "has not arrived"));
}

void Checkers::OnPublished(Step step, const std::map<BlockId, Step>& blocks) const {
  for (size_t b = 0; b < layout_.blocks().size(); ++b) {
    auto it = blocks.find(BlockId(static_cast<int32_t>(b)));
    if (it != blocks.end() && it->second == step) continue;
    throw Violation(
        "load", absl::StrCat("the checkpoint after step ", step.value(), " is published without block ", b,
                             it == blocks.end() ? "" : " of that step"));
  }
}

void Checkers::OnStoreSetBack() {
  set_back_ = true;
  stored_.clear();
  aborted_.clear();
}

void Checkers::OnStored(const Transaction& transaction) {
  for (const RecordWrite& write : transaction.writes) {
    if (const auto* generation = std::get_if<GenerationRecord>(&write)) {
      if (generation->retained.value() > 0) {
        rolled_forward_.insert(generation->generation);
        if (generation->start_step.value() > config_.training.steps)
          behind_last_.insert(generation->generation);
      }
      const bool died = std::any_of(generation->members.begin(), generation->members.end(),
                                    [this](const Member& m) { return dead_.count(m.incarnation) > 0; });
      std::set<WorkerId>& members = members_[generation->generation];
      members.clear();
      for (const Member& m : generation->members) members.insert(m.worker);
      // The Hello of a dead process may come behind that of the next one, which then seems to be gone.
      const bool late = absl::EndsWith(generation->reason, "was restarted") &&
                        std::any_of(members.begin(), members.end(),
                                    [this](const WorkerId& name) { return dead_names_.count(name) > 0; });
      if (generation->ended && !died && !late && losses_.count(generation->generation) == 0) {
        throw Violation("loss", absl::StrCat("generation ", generation->generation.value(),
                                             " ends although nobody was lost: ", generation->reason));
      }
    }
    const auto* record = std::get_if<PlanRecord>(&write);
    if (record == nullptr) continue;
    const PlanVersion version = record->plan->stamp.version;
    const auto [known, first] = stored_.try_emplace(version, record->digest);
    if (!first && known->second != record->digest && !Planted(bugs_, PlantedBug::kDigestUnchecked)) {
      throw Violation("reused", absl::StrCat("plan version ", version.value(), " has a second content"));
    }
    if (record->state == PlanState::kAborted) aborted_.insert(version);
    if ((record->state == PlanState::kCommitted || record->state == PlanState::kActive) &&
        aborted_.count(version) > 0) {
      throw Violation(
          "I6", absl::StrCat("plan ", version.value(), " was ABORTED and is ", ToString(record->state)));
    }
    if (record->state == PlanState::kCommitted && record->origin != PlanOrigin::kFirst &&
        record->origin != PlanOrigin::kRecovery)
      OnCommitted(*record);
  }
}

// A promise is released by a Withdraw alone, and a plan that may be withdrawn is never committed (F1, F8): so
// every worker holds the plan at this moment, or runs it already.
void Checkers::OnCommitted(const PlanRecord& record) const {
  const PlanVersion version = record.plan->stamp.version;
  for (const auto& [worker, session] : sessions_) {
    // Who has left the generation, or never was in it, promises nothing.
    if (session->run() != RunId{job_, record.plan->stamp.generation}) continue;
    if (set_back_ && members_.at(record.plan->stamp.generation).count(worker) == 0) continue;
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

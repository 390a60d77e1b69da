#include "sim/scenario.h"

#include "absl/strings/str_format.h"
#include "base/rng.h"

namespace ballast::sim {
namespace {

// 0 in half of the scenarios, else up to `highest`, small values as likely as large ones.
double Rate(Rng& rng, double highest) {
  const double u = rng.Uniform();
  return rng.Chance(0.5) ? 0 : highest * u * u;
}

}  // namespace

Scenario ScenarioOf(uint64_t seed) {
  Rng rng(HashSeed({seed, 1}));
  Scenario s;
  s.workers = static_cast<int>(rng.Between(2, 3));
  s.ranks_per_worker = rng.Chance(0.7) ? 1 : 2;
  s.step_us_max = rng.Between(30'000, 120'000);
  s.apply_us_max = rng.Chance(0.5) ? rng.Between(0, 2 * s.step_us_max) : 0;
  s.latency_us_max = rng.Chance(0.5) ? rng.Between(500, 20'000) : rng.Between(20'000, 400'000);
  s.store_us_max = rng.Between(500, 30'000);
  s.in_order = rng.Chance(0.5);
  s.late = rng.Chance(0.5);
  s.duplicate = Rate(rng, 0.3);
  s.reset = Rate(rng, 0.1);
  s.crash = Rate(rng, 0.2);
  s.pause = Rate(rng, 0.2);
  s.pause_us_max = rng.Between(100'000, 3'000'000);
  s.unknown = Rate(rng, 0.1);
  s.refuse = Rate(rng, 0.4);
  s.staging_deadline_us = rng.Between(200'000, 1'500'000);
  s.restart_us_max = rng.Between(50'000, 1'000'000);
  s.push_us_max = rng.Between(100'000, 600'000);
  s.not_before = rng.Chance(0.5) ? 0.5 : 0;
  s.planner = rng.Chance(0.2);
  s.stop = rng.Chance(0.1);
  s.faults_us = rng.Between(3'000'000, 12'000'000);
  if (rng.Chance(0.3)) {
    // Leaders that follow each other quickly while answers to the one before are still on their way.
    s.late = true;
    s.latency_us_max = rng.Between(20'000, 300'000);
    s.apply_us_max = rng.Between(0, 4 * s.step_us_max);
    s.crash = 0.02 + 0.15 * rng.Uniform();
    s.refuse = 0.1 + 0.3 * rng.Uniform();
    s.staging_deadline_us = rng.Between(100'000, 500'000);
    s.restart_us_max = rng.Between(20'000, 200'000);
    s.push_us_max = rng.Between(30'000, 200'000);
  }
  // Other troubles of other seeds, so that what finds a bug of the switch is not hidden by recoveries.
  Rng members(HashSeed({seed, 3}));
  s.ranks_min = s.ranks() - s.ranks_per_worker * (members.Chance(0.7) ? 1 : 0);
  if (members.Chance(0.6)) {
    s.checkpoint_every = members.Between(2, 12);
    s.write_us_max = members.Between(1'000, 400'000);
  }
  if (members.Chance(0.5)) {
    s.lose_us = members.Between(400'000, 4'000'000);
    s.kill = members.Uniform();
    s.pause_worker = members.Chance(0.5) ? members.Uniform() : 0;
    s.cut_off = members.Chance(0.5) ? members.Uniform() : 0;
    s.partition = members.Chance(0.3) ? members.Uniform() : 0;
  }
  if (s.checkpoint_every > 0 && members.Chance(0.6)) s.drain_us = members.Between(500'000, 3'000'000);
  if (members.Chance(0.05)) s.older_store = 0.3;
  Rng hang_ups(HashSeed({seed, 4}));
  if (hang_ups.Chance(0.4)) s.hang_up_us = hang_ups.Between(300'000, 3'000'000);
  if (s.hang_up_us > 0 && s.checkpoint_every > 0 && hang_ups.Chance(0.5)) {
    s.quiet = true;
    s.latency_us_max = hang_ups.Between(500, 20'000);
    s.reset = s.crash = s.pause = s.unknown = s.older_store = 0;
    s.lose_us = 0;
    s.drain_us = hang_ups.Between(500'000, 2'000'000);
  }
  Rng resumes(HashSeed({seed, 6}));
  s.resume = s.checkpoint_every > 0 && resumes.Chance(0.25);
  s.stop = s.stop || s.resume;
  Rng ends(HashSeed({seed, 8}));
  if (!s.stop && ends.Chance(s.hang_up_us > 0 ? 0.3 : 0.1)) s.steps = ends.Between(15, 60);
  Rng plans(HashSeed({seed, 9}));
  if (s.planner && plans.Chance(0.5)) s.plan_us_max = plans.Between(1'000, 2'000'000);
  return s;
}

Scenario ResumedScenario(const Scenario& before, uint64_t seed) {
  Scenario s = ScenarioOf(seed);
  s.workers = 5 - before.workers;
  s.ranks_per_worker = before.ranks_per_worker;
  s.ranks_min = s.ranks() - s.ranks_per_worker;
  // Early troubles meet a job that has no checkpoint of its own yet.
  s.checkpoint_every = 12;
  s.faults_us = 3'000'000;
  s.older_store = 0;
  s.resume = false;
  s.steps = 0;
  return s;
}

std::shared_ptr<const JobConfig> JobOf(const Scenario& s) {
  auto job = std::make_shared<JobConfig>();
  job->name = JobId("job");
  job->model.vocabulary_size = 2;
  job->model.hidden_size = 2;
  job->model.layers = 1;
  job->model.attention_heads = 1;
  job->model.key_value_heads = 1;
  job->model.head_size = 2;
  job->model.moe.experts = 4;
  job->model.moe.top_k = 1;
  job->model.moe.intermediate_size = 2;
  job->data.sources = {DataSource{"text", "text"}};
  job->data.mixture = {MixturePhase{Step(1), {1.0}}};
  job->data.sequence_length = 8;
  job->training.steps = s.steps > 0 ? s.steps : 1'000'000;
  job->training.global_batch_sequences = s.ranks();
  job->training.microbatch_sequences = 1;
  job->placement.ranks = s.ranks();
  job->placement.ranks_min = s.ranks_min;
  job->placement.slots_per_rank = 4;
  job->recovery.max_recoveries = 100;  // what is tested here is that none goes wrong, however many there are
  if (s.checkpoint_every > 0) job->checkpoint.path = "/checkpoints";
  job->checkpoint.every_steps = s.checkpoint_every;
  job->placement.block_elements = 16;
  job->placement.home_elements_per_rank = 2000;
  job->placement.home_move_bytes_max = 1000;
  job->planner.plan_every_steps = s.planner ? 4 : 1'000'000'000;
  job->planner.warmup_steps = s.planner ? 2 : 1'000'000'000;
  job->planner.horizon_steps = 8;
  job->planner.strategy = "greedy";
  return job;
}

std::string Scenario::ToString() const {
  return absl::StrFormat(
      "%d workers of %d ranks, step %d us, apply %d us, latency %d us, store %d us, in order %d, late %d, "
      "duplicate %.3f, "
      "reset %.3f, crash %.3f, pause %.3f of %d us, unknown %.3f, refuse %.3f, staging %d us, restart %d us, "
      "push %d us, "
      "not before %.1f, planner %d (looks take %d us), stop %d, steps %d, ranks min %d, checkpoint every %d "
      "(write %d us), "
      "trouble of a "
      "worker "
      "every %d us (kill %.2f, pause %.2f, cut off %.2f, partition %.2f), hang up every %d us, quiet %d, "
      "drain every %d us, "
      "older store %.1f, resume %d, "
      "faults end at %d us",
      workers, ranks_per_worker, step_us_max, apply_us_max, latency_us_max, store_us_max, in_order, late,
      duplicate, reset, crash, pause, pause_us_max, unknown, refuse, staging_deadline_us, restart_us_max,
      push_us_max, not_before, planner, plan_us_max, stop, steps, ranks_min, checkpoint_every, write_us_max,
      lose_us, kill, pause_worker, cut_off, partition, hang_up_us, quiet, drain_us, older_store, resume,
      faults_us);
}

}  // namespace ballast::sim

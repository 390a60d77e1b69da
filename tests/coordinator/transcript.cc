#include "tests/coordinator/transcript.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "coordinator/core.h"
#include "coordinator/memory_store.h"
#include "protocol/version.h"
#include "tests/coordinator/small_job.h"
#include "tests/coordinator/transcript_command.h"

namespace ballast {
namespace {

class Runner {
 public:
  std::string Run(const std::string& line) {
    out_.clear();
    const Command c(line);
    const std::string& verb = c.word(0);
    if (verb == "lead") {
      core_ = std::make_unique<Core>(CoreOptions{});
      Lead(Term());
    } else if (verb == "store") {
      store_fails_ = c.word(1);
    } else if (verb == "crash-before") {
      crash_before_ = c.number(1);
    } else if (verb == "time") {
      seconds_ += c.number(1);
      Feed(Tick{});
    } else if (!core_) {
      out_ = "no core\n";
    } else if (verb == "jobs" || verb == "checkpoints" || verb == "plans" || verb == "events" ||
               verb == "explain" || verb == "workers" || verb == "telemetry" || verb == "leader") {
      Read(c);
    } else {
      Feed(MakeEvent(c));
    }
    return out_;
  }

 private:
  Now now() const { return {Time() + Seconds(static_cast<double>(seconds_)), 1000 * seconds_}; }

  void Lead(Term at_least) {
    const Term term = *store_.Acquire(at_least);
    Feed(LeadershipWon{term, *store_.Load()});
  }

  void Feed(Event event) {
    const Actions actions = core_->Step(now(), std::move(event));
    int64_t index = 0;
    std::optional<Term> acquire;
    std::optional<absl::Status> failed;
    for (const Action& action : actions) {
      if (crash_before_.has_value() && index++ >= *crash_before_) break;
      absl::StrAppend(&out_, "  ", ToString(action), "\n");
      if (const auto* write = std::get_if<StoreWrite>(&action)) failed = Carry(*write);
      if (failed.has_value()) break;
      if (const auto* again = std::get_if<AcquireLeadership>(&action)) acquire = again->at_least;
    }
    if (crash_before_.has_value()) {
      crash_before_.reset();
      core_.reset();
      absl::StrAppend(&out_, "  CRASH\n");
      return;
    }
    if (failed.has_value()) Feed(StoreFailed{*failed});
    if (acquire.has_value()) Lead(*acquire);
  }

  std::optional<absl::Status> Carry(const StoreWrite& write) {
    const std::string how = std::exchange(store_fails_, "");
    if (how == "fenced") return absl::FailedPreconditionError("term 9 leads");
    if (how == "full") return absl::ResourceExhaustedError("the disk is full");
    absl::Status status = store_.Commit(write.transaction);
    if (how == "unknown") return absl::UnknownError("the connection broke before the answer");
    if (!status.ok()) return status;
    return std::nullopt;
  }

  Stamp StampOf(const JobId& job, const Command& c) const {
    const JobRecord* record = store_.Job(job);
    const int64_t generation = record != nullptr ? record->generation.value() : 0;
    return {Term(c.option("term", store_.term().value())), job, Generation(c.option("gen", generation))};
  }
  Incarnation IncarnationOf(const Command& c) const {
    return Incarnation(static_cast<uint64_t>(c.option("incarnation", 1)));
  }
  PlanDigest DigestOf(const JobId& job, PlanVersion version, const Command& c) const {
    if (c.has("digest")) return PlanDigest(static_cast<uint64_t>(c.option("digest", 0)));
    const PlanRecord* record = store_.Plan(job, version);
    return record != nullptr ? record->digest : PlanDigest();
  }

  Event MakeEvent(const Command& c) {
    const std::string& verb = c.word(0);
    if (verb == "attach") return Attach(c);
    if (verb == "close") return StreamClosed{StreamId(c.number(1))};
    if (verb == "submit") return Submit(c);
    if (verb == "checkpoint")
      return RequestCheckpoint{ReplyToken(c.number(1)), JobId(c.word(2)), "operator/anna"};
    if (verb == "stop")
      return StopJob{ReplyToken(c.number(1)), JobId(c.word(2)), "operator/anna", c.has("now")};
    if (verb == "push") return Push(c);
    if (verb == "rollback") {
      return RollbackPlan{ReplyToken(c.number(1)), JobId(c.word(2)), PlanVersion(c.option("to", 0)),
                          "operator/anna"};
    }
    if (verb == "drain") return DrainWorker{ReplyToken(c.number(1)), WorkerId(c.word(2)), "operator/anna"};
    if (verb == "cordon" || verb == "uncordon") {
      return CordonWorker{ReplyToken(c.number(1)), WorkerId(c.word(2)), verb == "cordon", "operator/anna"};
    }
    if (verb == "adopt") return Adopt{ReplyToken(c.number(1)), "operator/anna"};
    return WorkerSaid{StreamId(c.number(1)), Message(c)};
  }

  WorkerMessage Message(const Command& c) {
    const std::string& verb = c.word(0);
    const JobId job(c.word(2));
    const Stamp stamp = StampOf(job, c);
    const auto version = [&] { return PlanVersion(c.number(3)); };
    if (verb == "staged") return Staged{stamp, IncarnationOf(c), version(), DigestOf(job, version(), c)};
    if (verb == "rejected") {
      return Rejected{stamp,     IncarnationOf(c),           version(), DigestOf(job, version(), c),
                      c.rest(4), c.option("lasting", 0) != 0};
    }
    if (verb == "active") return Active{stamp, IncarnationOf(c), version(), Step(c.number(4))};
    if (verb == "started") return Started{stamp, IncarnationOf(c)};
    if (verb == "finished") return Finished{stamp, Step(c.number(3)), false};
    if (verb == "stopped") return Finished{stamp, Step(c.number(3)), true};
    if (verb == "written") {
      return CheckpointWritten{stamp,
                               IncarnationOf(c),
                               Step(c.number(3)),
                               PlanVersion(c.option("plan", 1)),
                               RequestId(c.option("request", 0)),
                               {{"part-" + c.word(1), 100, std::string(64, 'a')}}};
    }
    if (verb == "unwritten")
      return CheckpointFailed{stamp, IncarnationOf(c), Step(c.number(3)), c.option("skipped", 0) != 0,
                              c.rest(4)};
    if (verb == "published") return CheckpointPublished{stamp, IncarnationOf(c), Step(c.number(3))};
    if (verb == "drained") return Finished{stamp, Step(c.number(3)), /*stopped=*/false, /*drained=*/true};
    if (verb == "leaving") return Leaving{IncarnationOf(c), c.rest(3)};
    if (verb == "put") return RendezvousPut{stamp, c.word(3), c.word(4)};
    if (verb == "lost") return LostPeer{stamp, Rank(static_cast<int>(c.number(3))), c.rest(4)};
    if (verb == "failure") return JobFailure{stamp, Step(c.number(3)), c.rest(4)};
    if (verb == "gives-up") return JobFailure{stamp, Step(c.number(3)), c.rest(4), /*retry=*/true};
    if (verb == "frozen") {
      Frozen frozen{.stamp = stamp,
                    .incarnation = IncarnationOf(c),
                    .step = Step(c.number(3)),
                    .plan = {},
                    .pending = {},
                    .switch_step = {},
                    .ranks = {}};
      if (c.has("rank")) {
        frozen.ranks.push_back({Rank(static_cast<int>(c.option("rank", 0))), frozen.step,
                                PlanVersion(c.option("plan", 1)), /*holds=*/true});
      }
      return frozen;
    }
    if (verb == "evaluation") {
      return EvaluationReport{job, stamp.generation, Step(c.number(3)), "text",
                              static_cast<double>(c.number(4))};
    }
    BALLAST_CHECK(verb == "report") << "unknown command " << verb;
    StepReport report;
    report.job = job;
    report.generation = stamp.generation;
    report.step = Step(c.number(3));
    report.plan = store_.Job(job)->active;
    report.loss = 2;
    report.step_seconds = 0.5;
    report.tokens = 100;
    report.load.step = report.step;
    report.load.tokens.emplace_back();
    for (size_t i = 4; i < c.words.size(); ++i) report.load.tokens[0].push_back(c.number(i));
    const int ranks = store_.Job(job)->config->placement.ranks;
    report.rank_tokens.emplace_back(ranks, 25);
    return report;
  }

  Event Attach(const Command& c) {
    Hello hello;
    hello.protocol_version = static_cast<int>(c.option("protocol", kProtocolVersion));
    hello.worker = WorkerId(c.word(2));
    hello.incarnation = IncarnationOf(c);
    hello.node = "node-" + c.word(2);
    hello.device = c.has("device") ? c.options.at("device") : "cpu";
    hello.ranks = static_cast<int>(c.option("ranks", 1));
    hello.highest_term = Term(c.option("highest_term", 0));
    if (c.has("job")) hello.job = JobId(c.options.at("job"));
    hello.generation = Generation(c.option("gen", 0));
    hello.active = PlanVersion(c.option("active", 0));
    hello.staged = PlanVersion(c.option("staged", 0));
    hello.staged_digest = DigestOf(hello.job, hello.staged, c);
    hello.step = Step(c.option("step", 0));
    return WorkerAttached{StreamId(c.number(1)), hello};
  }

  Event Submit(const Command& c) {
    auto job = SmallJob(c.word(2), static_cast<int>(c.option("ranks", 1)));
    job->placement.slots_per_rank = static_cast<int>(c.option("slots", 4));
    job->placement.home_move_bytes_max = c.option("move_bytes", 0);
    job->placement.ranks_min = static_cast<int>(c.option("ranks_min", 0));
    job->recovery.max_recoveries = static_cast<int>(c.option("recoveries", 5));
    job->training.steps = c.option("steps", job->training.steps);
    job->planner.plan_every_steps = c.option("plan_every", 1000);
    if (c.has("strategy")) job->planner.strategy = c.options.at("strategy");
    if (c.has("path")) job->checkpoint.path = c.options.at("path");
    job->checkpoint.keep_last = static_cast<int>(c.option("keep", job->checkpoint.keep_last));
    SubmitJob submit{ReplyToken(c.number(1)), job};
    if (c.has("resume")) {
      submit.resume = CheckpointRef{c.options.at("resume"), Step(c.option("from", 0))};
      submit.resume_generation = Generation(c.option("above", 0));
    }
    return submit;
  }

  // Options: move an expert's slot, leave an expert without one, move all homes.
  Event Push(const Command& c) {
    const auto edit = [c](const PlanBody& base, const JobConfig&) -> absl::StatusOr<PlanBody> {
      PlanBody body = base;
      const auto numbers = [&](const std::string& option) {
        std::vector<int64_t> values;
        for (const std::string& part : std::vector<std::string>(absl::StrSplit(c.options.at(option), ':')))
          values.push_back(Number(part));
        return values;
      };
      std::vector<std::vector<Slot>>& slots = body.layers[0].slots;
      if (c.has("move")) {
        const std::vector<int64_t> move = numbers("move");
        const ExpertId expert(static_cast<int>(move[0]));
        for (Slot& slot : slots[static_cast<size_t>(move[1])]) {
          if (slot == expert) slot.reset();
        }
        for (Slot& slot : slots[static_cast<size_t>(move[2])]) {
          if (slot.has_value()) continue;
          slot = expert;
          break;
        }
      }
      if (c.has("drop")) {
        for (std::vector<Slot>& rank : slots) {
          for (Slot& slot : rank) {
            if (slot == ExpertId(static_cast<int>(numbers("drop")[0]))) slot.reset();
          }
        }
      }
      if (c.has("slot")) {
        const std::vector<int64_t> slot = numbers("slot");
        std::vector<Slot>& rank = slots[static_cast<size_t>(slot[0])];
        rank.resize(std::max(rank.size(), static_cast<size_t>(slot[1]) + 1));
        rank[static_cast<size_t>(slot[1])] = ExpertId(static_cast<int>(slot[2]));
      }
      if (c.has("schedule")) body.layers[0].schedule.all_to_all = c.options.at("schedule");
      if (c.has("homes")) {
        for (Rank& home : body.homes) home = Rank(static_cast<int>(numbers("homes")[0]));
      }
      return body;
    };
    return PushPlan{.reply = ReplyToken(c.number(1)),
                    .job = JobId(c.word(2)),
                    .base_version = PlanVersion(c.option("base", 0)),
                    .not_before_step = Step(c.option("not_before", 0)),
                    .reason = "",
                    .edit = edit,
                    .dry_run = c.has("dry"),
                    .who = "operator/anna"};
  }

  void Read(const Command& c) {
    if (c.word(0) == "leader") {
      const LeaderStatus leader = core_->Leader();
      absl::StrAppend(&out_, "  term ", leader.term.value(),
                      leader.leading() ? " leads" : " refuses: ", leader.refusing, "\n");
    } else if (c.word(0) == "workers") {
      for (const WorkerStatus& w : core_->Workers()) {
        absl::StrAppend(&out_, "  ", w.name.value(), w.attached ? " attached" : " detached", " ranks ",
                        w.ranks, " job ", w.job.empty() ? "-" : w.job.value(), "\n");
      }
    } else if (c.word(0) == "explain") {
      const auto account = core_->Explain(JobId(c.word(1)), PlanVersion(c.option("version", 0)));
      BALLAST_CHECK_OK(account.status());
      absl::StrAppend(&out_, "  v", account->plan.plan->stamp.version.value(), ": ",
                      absl::StrFormat("imbalance %.2f -> %.2f, bound %.2f, %d slot bytes\n",
                                      account->plan.imbalance_before, account->plan.imbalance_after,
                                      account->plan.imbalance_bound, account->plan.slot_bytes));
      if (account->explanation) PrintLook("why", *account->explanation);
      const MeasuredGain& gain = account->measured;
      absl::StrAppendFormat(
          &out_, "  measured %d steps %d..%d%s: %.2f, without %.2f; %.2f s, before %.2f s\n", gain.steps,
          gain.from.value(), gain.to.value(), gain.complete ? "" : " so far", gain.imbalance,
          gain.imbalance_without, gain.step_seconds, gain.step_seconds_before);
      if (account->last_look) PrintLook("last look", *account->last_look);
    } else if (c.word(0) == "telemetry") {
      const auto telemetry = core_->Telemetry(JobId(c.word(1)));
      BALLAST_CHECK_OK(telemetry.status());
      absl::StrAppend(&out_, "  step ", telemetry->last.step.value(), ", ", telemetry->ranks.size(),
                      " ranks, ", telemetry->rejected, " reports rejected\n");
    } else if (c.word(0) == "events") {
      const auto events = core_->Events(JobId(c.word(1)));
      BALLAST_CHECK_OK(events.status());
      for (const JobEvent& e : *events) {
        absl::StrAppend(&out_, "  ", e.number, " at ", e.unix_ms, " ms, step ", e.step.value(), ", ",
                        ToString(e.kind), ", v", e.version.value(), ": ", e.text, "\n");
      }
    } else if (c.word(0) == "checkpoints") {
      const auto checkpoints = core_->Checkpoints(JobId(c.word(1)));
      BALLAST_CHECK_OK(checkpoints.status());
      for (const CheckpointRecord& r : *checkpoints) {
        absl::StrAppend(&out_, "  after step ", r.step.value(), " gen ", r.generation.value(), " v",
                        r.plan.value(), " ", ToString(r.state), " ", r.bytes, " bytes ", r.directory, "\n");
      }
    } else if (c.word(0) == "jobs") {
      for (const JobStatus& j : core_->Jobs()) {
        absl::StrAppend(&out_, "  ", j.record.config->name.value(), " ", ToString(j.record.state), " (",
                        j.record.reason, ") step ", j.record.step.value(), " active v",
                        j.record.active.value(), " in flight v", j.in_flight.value(), " committed ",
                        j.record.plans_committed, " slot writes ", j.record.slot_writes, " recent ",
                        j.recent_steps.size(), " evaluations ", j.record.evaluations.size(),
                        absl::StrFormat(" tokens/s %.0f eta %.0f", j.tokens_per_s, j.eta_s), "\n");
      }
    } else {
      const auto plans = core_->Plans(JobId(c.word(1)));
      BALLAST_CHECK_OK(plans.status());
      for (const PlanRecord& p : *plans) {
        absl::StrAppend(&out_, "  v", p.plan->stamp.version.value(), " on v",
                        p.plan->stamp.base_version.value(), " ", ToString(p.state), " ", ToString(p.origin),
                        " since step ", p.switch_step.value(), " (", p.plan->body.reason, ") ", p.outcome,
                        "\n");
      }
    }
  }

  void PrintLook(const std::string& title, const Explanation& look) {
    absl::StrAppend(&out_, "  ", title, ": ", look.strategy, " at step ", look.step.value(), " on steps ",
                    look.first_sample.value(), "..", look.last_sample.value(),
                    look.accepted ? ", accepted: " : ", not accepted: ", look.verdict, "\n");
    for (const LayerExplanation& layer : look.layers) {
      absl::StrAppendFormat(&out_, "    load %s, bound %.2f, %.2f -> %.2f %s\n",
                            absl::StrJoin(layer.load, " "), layer.bound, layer.imbalance_before,
                            layer.imbalance_after, layer.why);
      for (const LayerCandidate& candidate : layer.candidates) {
        absl::StrAppendFormat(&out_, "      %s%s: imbalance %.2f, J %.3f, %d slot writes\n",
                              candidate.chosen ? "* " : "", candidate.name, candidate.imbalance,
                              candidate.cost, candidate.slot_writes);
      }
    }
  }

  MemoryStore store_;
  std::unique_ptr<Core> core_;
  int64_t seconds_ = 0;
  std::string store_fails_;
  std::optional<int64_t> crash_before_;
  std::string out_;
};

}  // namespace

std::string RunTranscript(const std::string& transcript) {
  Runner runner;
  std::istringstream in(transcript);
  std::string out, line;
  while (std::getline(in, line)) {
    if (line.empty() || line[0] == '#') {
      absl::StrAppend(&out, line, "\n");
    } else if (line[0] == '>') {
      absl::StrAppend(&out, line, "\n", runner.Run(line.substr(1)));
    }
  }
  return out;
}

}  // namespace ballast

#include "protocol/messages.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace ballast {
namespace {

std::string Text(PlanDigest digest) { return absl::StrFormat("%016x", digest.value()); }
std::string Text(PlanVersion version, PlanDigest digest) {
  return absl::StrCat("v", version.value(), " ", Text(digest));
}
std::string Text(const Stamp& stamp) {
  return absl::StrCat("term ", stamp.term.value(), " job ", stamp.job.value(), " gen ",
                      stamp.generation.value());
}
// Values of a rendezvous are addresses and bytes: their size is enough.
std::string Text(const std::string& key, const std::string& value) {
  return absl::StrCat("\"", key, "\" ", value.size(), " bytes");
}
const char* Text(RequestKind kind) {
  switch (kind) {
    case RequestKind::kNone:
      return "none";
    case RequestKind::kStop:
      return "stop";
    case RequestKind::kCheckpoint:
      return "checkpoint";
    case RequestKind::kDrain:
      return "drain";
  }
  return "?";
}

struct Printer {
  std::string operator()(const Hello& m) const {
    std::string text =
        absl::StrCat("Hello{", m.worker.value(), " incarnation ", m.incarnation.value(), " ranks ", m.ranks,
                     " on ", m.node, " highest term ", m.highest_term.value());
    if (!m.job.empty()) {
      absl::StrAppend(&text, " job ", m.job.value(), " gen ", m.generation.value(), " active v",
                      m.active.value(), " step ", m.step.value());
      if (m.staged.value() > 0) absl::StrAppend(&text, " staged ", Text(m.staged, m.staged_digest));
      if (m.committed.value() > 0) absl::StrAppend(&text, " committed v", m.committed.value());
    }
    if (m.protocol_version != 0) absl::StrAppend(&text, " protocol ", m.protocol_version);
    return text + "}";
  }
  std::string operator()(const Staged& m) const {
    return absl::StrCat("Staged{", Text(m.stamp), " ", Text(m.version, m.digest), "}");
  }
  std::string operator()(const Rejected& m) const {
    return absl::StrCat("Rejected{", Text(m.stamp), " ", Text(m.version, m.digest),
                        m.lasting ? " for good: " : ": ", m.reason, "}");
  }
  std::string operator()(const Active& m) const {
    return absl::StrCat("Active{", Text(m.stamp), " v", m.version.value(), " since step ",
                        m.switch_step.value(), "}");
  }
  std::string operator()(const RendezvousPut& m) const {
    return absl::StrCat("RendezvousPut{", Text(m.stamp), " ", Text(m.key, m.value), "}");
  }
  std::string operator()(const Started& m) const { return absl::StrCat("Started{", Text(m.stamp), "}"); }
  std::string operator()(const StepReport& m) const {
    return absl::StrFormat("StepReport{job %s gen %d step %d plan v%d loss %.4f}", m.job.value(),
                           m.generation.value(), m.step.value(), m.plan.value(), m.loss);
  }
  std::string operator()(const EvaluationReport& m) const {
    return absl::StrFormat("EvaluationReport{job %s gen %d step %d %s loss %.4f}", m.job.value(),
                           m.generation.value(), m.step.value(), m.source, m.loss);
  }
  std::string operator()(const LostPeer& m) const {
    return absl::StrCat("LostPeer{", Text(m.stamp), " rank ", m.rank.value(), ": ", m.detail, "}");
  }
  std::string operator()(const JobFailure& m) const {
    return absl::StrCat("JobFailure{", Text(m.stamp), " step ", m.step.value(),
                        m.retry ? ", may be tried again: " : ": ", m.cause, "}");
  }
  std::string operator()(const Finished& m) const {
    return absl::StrCat("Finished{", Text(m.stamp), " step ", m.step.value(), m.stopped ? " stopped" : "",
                        m.drained ? " drained}" : "}");
  }
  std::string operator()(const Frozen& m) const {
    std::string text = absl::StrCat("Frozen{", Text(m.stamp), " step ", m.step.value(), " v", m.plan.value());
    if (m.pending.value() > 0) {
      absl::StrAppend(&text, " pending v", m.pending.value(), " for step ", m.switch_step.value());
    }
    for (const Frozen::RankProgress& rank : m.ranks) {
      absl::StrAppend(&text, " rank ", rank.rank.value(), " at ", rank.step.value(), " v", rank.plan.value(),
                      rank.holds ? "" : " not held");
    }
    return text + "}";
  }
  std::string operator()(const Leaving& m) const { return absl::StrCat("Leaving{", m.reason, "}"); }
  std::string operator()(const RankReport& m) const {
    return absl::StrCat("RankReport{job ", m.job.value(), " gen ", m.generation.value(), " rank ",
                        m.rank.value(), " steps ", m.steps.size(), "}");
  }
  std::string operator()(const LinkReport& m) const {
    return absl::StrCat("LinkReport{job ", m.job.value(), " gen ", m.generation.value(), " links ",
                        m.links.size(), "}");
  }
  std::string operator()(const TokenReport& m) const {
    return absl::StrCat("TokenReport{job ", m.job.value(), " gen ", m.generation.value(), " rank ",
                        m.rank.value(), " step ", m.step.value(), " tokens ", m.tokens, "}");
  }
  std::string operator()(const CheckpointWritten& m) const {
    return absl::StrCat("CheckpointWritten{", Text(m.stamp), " step ", m.step.value(), " v", m.plan.value(),
                        m.request.value() > 0 ? absl::StrCat(" request ", m.request.value()) : "", " ",
                        m.files.size(), " files}");
  }
  std::string operator()(const CheckpointFailed& m) const {
    return absl::StrCat("CheckpointFailed{", Text(m.stamp), " step ", m.step.value(),
                        m.skipped ? " skipped: " : ": ", m.cause, "}");
  }
  std::string operator()(const CheckpointPublished& m) const {
    return absl::StrCat("CheckpointPublished{", Text(m.stamp), " step ", m.step.value(), "}");
  }

  std::string operator()(const Welcome& m) const {
    return absl::StrCat("Welcome{term ", m.term.value(), "}");
  }
  std::string operator()(const Refused& m) const {
    return absl::StrCat("Refused{", m.retry ? "retry" : "for good", ": ", m.reason, "}");
  }
  std::string operator()(const Assign& m) const {
    std::string members = absl::StrJoin(m.members, " ", [](std::string* out, const Member& member) {
      absl::StrAppend(out, member.rank.value(), "=", member.worker.value(), "/", member.local_rank);
    });
    return absl::StrCat(
        "Assign{", Text(m.stamp), " v", m.plan ? m.plan->stamp.version.value() : 0, " from step ",
        m.start_step.value(), " ranks ", members,
        m.checkpoint.has_value() ? absl::StrCat(" checkpoint ", m.checkpoint->directory) : "",
        m.retained.value() > 0 ? absl::StrCat(" as gen ", m.retained.value(), " left it") : "",
        m.sampling.on() ? absl::StrCat(" sampling ", m.sampling.tokens, " tokens of ", m.sampling.sequences,
                                       " every ", m.sampling.every, " steps")
                        : "",
        "}");
  }
  std::string operator()(const Stage& m) const {
    if (m.plan == nullptr) return absl::StrCat("Stage{", Text(m.stamp), " no plan}");
    return absl::StrCat("Stage{", Text(m.stamp), " ", Text(m.plan->stamp.version, Digest(*m.plan)), "}");
  }
  std::string operator()(const Commit& m) const {
    return absl::StrCat("Commit{", Text(m.stamp), " ", Text(m.version, m.digest), "}");
  }
  std::string operator()(const Withdraw& m) const {
    return absl::StrCat("Withdraw{", Text(m.stamp), " ", Text(m.version, m.digest), "}");
  }
  std::string operator()(const RendezvousValue& m) const {
    return absl::StrCat("RendezvousValue{", Text(m.stamp), " ", Text(m.key, m.value), "}");
  }
  std::string operator()(const StepRequest& m) const {
    return absl::StrCat("StepRequest{", Text(m.stamp), " ", Text(m.kind), " id ", m.id.value(), "}");
  }
  std::string operator()(const Abort& m) const {
    return absl::StrCat("Abort{", Text(m.stamp),
                        m.retained.value() > 0
                            ? absl::StrCat(" v", m.plan.value(), " from step ", m.start_step.value(),
                                           " as gen ", m.retained.value(), " left it")
                            : "",
                        m.job_ended ? " and its job" : "", ": ", m.reason, "}");
  }
  std::string operator()(const PublishCheckpoint& m) const {
    return absl::StrCat("PublishCheckpoint{", Text(m.stamp), " step ", m.step.value(), "}");
  }
  std::string operator()(const PruneCheckpoints& m) const {
    return absl::StrCat("PruneCheckpoints{", Text(m.stamp), " from gen ", m.first_generation.value(), " but ",
                        absl::StrJoin(m.keep, " "), "}");
  }
};

}  // namespace

std::string ToString(const WorkerMessage& message) { return std::visit(Printer(), message); }
std::string ToString(const CoordinatorMessage& message) { return std::visit(Printer(), message); }

}  // namespace ballast

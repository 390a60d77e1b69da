// Worker -> coordinator; the other half of convert_session.h is convert_coordinator_message.cc.
#include <string>
#include <string_view>
#include <variant>

#include "base/status_macros.h"
#include "wire/convert_ids.h"
#include "wire/convert_plan.h"
#include "wire/convert_session.h"
#include "wire/convert_telemetry.h"

namespace ballast {
namespace {

void Fill(const Hello& hello, v1::Hello* out) {
  out->set_protocol_version(hello.protocol_version);
  out->set_worker(hello.worker.value());
  out->set_incarnation(hello.incarnation.value());
  out->set_node(hello.node);
  for (const auto& [key, value] : hello.labels) (*out->mutable_labels())[key] = value;
  out->set_device(hello.device);
  out->set_ranks(hello.ranks);
  out->set_data_address(hello.data_address);
  out->set_neighbour_address(hello.neighbour_address);
  out->set_host(hello.host);
  out->set_probe_address(hello.probe_address);
  out->set_highest_term(hello.highest_term.value());
  out->set_job(hello.job.value());
  out->set_generation(hello.generation.value());
  out->set_active(hello.active.value());
  out->set_staged(hello.staged.value());
  out->set_staged_digest(hello.staged_digest.value());
  out->set_committed(hello.committed.value());
  out->set_step(hello.step.value());
}

void Fill(const StepReport& report, v1::StepReport* out) {
  out->set_job(report.job.value());
  out->set_generation(report.generation.value());
  out->set_step(report.step.value());
  out->set_plan(report.plan.value());
  out->set_loss(report.loss);
  out->set_load_balance_loss(report.load_balance_loss);
  out->set_z_loss(report.z_loss);
  out->set_gradient_norm(report.gradient_norm);
  out->set_step_seconds(report.step_seconds);
  out->set_tokens(report.tokens);
  *out->mutable_load() = ToProto(report.load);
  for (const std::vector<int64_t>& layer : report.rank_tokens) {
    v1::LayerTokens* row = out->add_rank_tokens();
    for (int64_t tokens : layer) row->add_tokens(tokens);
  }
}

Hello ReadHello(const v1::Hello& hello, IdReader& ids) {
  Hello out;
  out.protocol_version = hello.protocol_version();
  out.worker = WorkerId(hello.worker());
  out.incarnation = Incarnation(hello.incarnation());
  out.node = hello.node();
  out.labels.insert(hello.labels().begin(), hello.labels().end());
  out.device = hello.device();
  if (hello.ranks() < 0)
    ids.Complain("ranks", "found " + std::to_string(hello.ranks()) + ", allowed at least 0");
  out.ranks = hello.ranks();
  out.data_address = hello.data_address();
  out.neighbour_address = hello.neighbour_address();
  out.host = hello.host();
  out.probe_address = hello.probe_address();
  out.highest_term = ids.Get<Term>("highest_term", hello.highest_term());
  out.job = JobId(hello.job());
  out.generation = ids.Get<Generation>("generation", hello.generation());
  out.active = ids.Get<PlanVersion>("active", hello.active());
  out.staged = ids.Get<PlanVersion>("staged", hello.staged());
  out.staged_digest = PlanDigest(hello.staged_digest());
  out.committed = ids.Get<PlanVersion>("committed", hello.committed());
  out.step = ids.Get<Step>("step", hello.step());
  return out;
}

StepReport ReadStepReport(const v1::StepReport& report, IdReader& ids) {
  StepReport out;
  out.job = JobId(report.job());
  out.generation = ids.Get<Generation>("generation", report.generation());
  out.step = ids.Get<Step>("step", report.step());
  out.plan = ids.Get<PlanVersion>("plan", report.plan());
  out.loss = report.loss();
  out.load_balance_loss = report.load_balance_loss();
  out.z_loss = report.z_loss();
  out.gradient_norm = report.gradient_norm();
  out.step_seconds = report.step_seconds();
  out.tokens = report.tokens();
  out.load = FromProto(report.load());
  for (const v1::LayerTokens& layer : report.rank_tokens()) {
    out.rank_tokens.emplace_back(layer.tokens().begin(), layer.tokens().end());
  }
  return out;
}

void Fill(const Frozen& frozen, v1::Frozen* out) {
  SetStamp(frozen.stamp, out->mutable_stamp());
  out->set_incarnation(frozen.incarnation.value());
  out->set_step(frozen.step.value());
  out->set_plan(frozen.plan.value());
  out->set_pending(frozen.pending.value());
  out->set_switch_step(frozen.switch_step.value());
  for (const Frozen::RankProgress& progress : frozen.ranks) {
    v1::Frozen::RankProgress* to = out->add_ranks();
    to->set_rank(progress.rank.value());
    to->set_step(progress.step.value());
    to->set_plan(progress.plan.value());
    to->set_holds(progress.holds);
  }
}

Frozen ReadFrozen(const v1::Frozen& in, IdReader& ids) {
  Frozen out;
  out.stamp = ids.GetStamp(in.stamp());
  out.incarnation = Incarnation(in.incarnation());
  out.step = ids.Get<Step>("step", in.step());
  out.plan = ids.Get<PlanVersion>("plan", in.plan());
  out.pending = ids.Get<PlanVersion>("pending", in.pending());
  out.switch_step = ids.Get<Step>("switch_step", in.switch_step());
  for (const v1::Frozen::RankProgress& progress : in.ranks()) {
    out.ranks.push_back({ids.Get<Rank>("ranks.rank", progress.rank()),
                         ids.Get<Step>("ranks.step", progress.step()),
                         ids.Get<PlanVersion>("ranks.plan", progress.plan()), progress.holds()});
  }
  return out;
}

// Names become paths and lines of a manifest: what could leave the directory or the line is refused here.
void CheckFile(const CheckpointFile& file, IdReader& ids) {
  const auto allowed = [](std::string_view text, std::string_view characters) {
    return !text.empty() && text.find_first_not_of(characters) == std::string_view::npos;
  };
  if (file.name.size() > 200 || file.name.starts_with('.') ||
      !allowed(file.name, "abcdefghijklmnopqrstuvwxyz0123456789-_.")) {
    ids.Complain("files.name",
                 "found what is not a file of a checkpoint, allowed are a-z, 0-9, '-', '_' and '.'");
  }
  if (file.bytes < 0)
    ids.Complain("files.bytes", "found " + std::to_string(file.bytes) + ", allowed at least 0");
  if (file.sha256.size() != 64 || !allowed(file.sha256, "0123456789abcdef"))
    ids.Complain("files.sha256", "found what is not 64 hexadecimal digits");
}

CheckpointWritten ReadWritten(const v1::CheckpointWritten& in, IdReader& ids) {
  CheckpointWritten out;
  out.stamp = ids.GetStamp(in.stamp());
  out.incarnation = Incarnation(in.incarnation());
  out.step = ids.Get<Step>("step", in.step());
  out.plan = ids.Get<PlanVersion>("plan", in.plan());
  out.request = ids.Get<RequestId>("request", in.request());
  for (const v1::CheckpointFile& file : in.files()) {
    out.files.push_back({file.name(), file.bytes(), file.sha256()});
    CheckFile(out.files.back(), ids);
  }
  return out;
}

absl::StatusOr<WorkerMessage> Read(const v1::WorkerMessage& message, IdReader& ids) {
  switch (message.message_case()) {
    case v1::WorkerMessage::kHello:
      return ReadHello(message.hello(), ids);
    case v1::WorkerMessage::kStaged: {
      const v1::Staged& in = message.staged();
      return Staged{ids.GetStamp(in.stamp()), Incarnation(in.incarnation()),
                    ids.Get<PlanVersion>("version", in.version()), PlanDigest(in.digest())};
    }
    case v1::WorkerMessage::kRejected: {
      const v1::Rejected& in = message.rejected();
      return Rejected{ids.GetStamp(in.stamp()),
                      Incarnation(in.incarnation()),
                      ids.Get<PlanVersion>("version", in.version()),
                      PlanDigest(in.digest()),
                      in.reason(),
                      in.lasting()};
    }
    case v1::WorkerMessage::kActive: {
      const v1::Active& in = message.active();
      return Active{ids.GetStamp(in.stamp()), Incarnation(in.incarnation()),
                    ids.Get<PlanVersion>("version", in.version()),
                    ids.Get<Step>("switch_step", in.switch_step())};
    }
    case v1::WorkerMessage::kRendezvousPut: {
      const v1::RendezvousPut& in = message.rendezvous_put();
      return RendezvousPut{ids.GetStamp(in.stamp()), in.key(), in.value()};
    }
    case v1::WorkerMessage::kStarted:
      return Started{ids.GetStamp(message.started().stamp()), Incarnation(message.started().incarnation())};
    case v1::WorkerMessage::kStepReport:
      return ReadStepReport(message.step_report(), ids);
    case v1::WorkerMessage::kEvaluationReport: {
      const v1::EvaluationReport& in = message.evaluation_report();
      return EvaluationReport{JobId(in.job()), ids.Get<Generation>("generation", in.generation()),
                              ids.Get<Step>("step", in.step()), in.source(), in.loss()};
    }
    case v1::WorkerMessage::kLostPeer: {
      const v1::LostPeer& in = message.lost_peer();
      return LostPeer{ids.GetStamp(in.stamp()), ids.Get<Rank>("rank", in.rank()), in.detail()};
    }
    case v1::WorkerMessage::kJobFailure: {
      const v1::JobFailure& in = message.job_failure();
      return JobFailure{ids.GetStamp(in.stamp()), ids.Get<Step>("step", in.step()), in.cause(), in.retry()};
    }
    case v1::WorkerMessage::kFinished: {
      const v1::Finished& in = message.finished();
      return Finished{ids.GetStamp(in.stamp()), ids.Get<Step>("step", in.step()), in.stopped(), in.drained()};
    }
    case v1::WorkerMessage::kFrozen:
      return ReadFrozen(message.frozen(), ids);
    case v1::WorkerMessage::kLeaving:
      return Leaving{Incarnation(message.leaving().incarnation()), message.leaving().reason()};
    case v1::WorkerMessage::kRankReport:
      return ReadRankReport(message.rank_report(), ids);
    case v1::WorkerMessage::kLinkReport:
      return ReadLinkReport(message.link_report(), ids);
    case v1::WorkerMessage::kTokenReport:
      return ReadTokenReport(message.token_report(), ids);
    case v1::WorkerMessage::kCheckpointWritten:
      return ReadWritten(message.checkpoint_written(), ids);
    case v1::WorkerMessage::kCheckpointFailed: {
      const v1::CheckpointFailed& in = message.checkpoint_failed();
      return CheckpointFailed{ids.GetStamp(in.stamp()), Incarnation(in.incarnation()),
                              ids.Get<Step>("step", in.step()), in.skipped(), in.cause()};
    }
    case v1::WorkerMessage::kCheckpointPublished: {
      const v1::CheckpointPublished& in = message.checkpoint_published();
      return CheckpointPublished{ids.GetStamp(in.stamp()), Incarnation(in.incarnation()),
                                 ids.Get<Step>("step", in.step())};
    }
    case v1::WorkerMessage::kHeartbeat:
      return absl::InvalidArgumentError("message: found a heartbeat, which says nothing");
    case v1::WorkerMessage::MESSAGE_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("message: found none that this protocol version knows");
}

}  // namespace

v1::WorkerMessage ToProto(const WorkerMessage& message) {
  v1::WorkerMessage out;
  std::visit(Overloaded{
                 [&](const Hello& m) { Fill(m, out.mutable_hello()); },
                 [&](const Staged& m) {
                   v1::Staged* to = out.mutable_staged();
                   SetStamp(m.stamp, to->mutable_stamp());
                   to->set_incarnation(m.incarnation.value());
                   to->set_version(m.version.value());
                   to->set_digest(m.digest.value());
                 },
                 [&](const Rejected& m) {
                   v1::Rejected* to = out.mutable_rejected();
                   SetStamp(m.stamp, to->mutable_stamp());
                   to->set_incarnation(m.incarnation.value());
                   to->set_version(m.version.value());
                   to->set_digest(m.digest.value());
                   to->set_reason(m.reason);
                   to->set_lasting(m.lasting);
                 },
                 [&](const Active& m) {
                   v1::Active* to = out.mutable_active();
                   SetStamp(m.stamp, to->mutable_stamp());
                   to->set_incarnation(m.incarnation.value());
                   to->set_version(m.version.value());
                   to->set_switch_step(m.switch_step.value());
                 },
                 [&](const RendezvousPut& m) {
                   v1::RendezvousPut* to = out.mutable_rendezvous_put();
                   SetStamp(m.stamp, to->mutable_stamp());
                   to->set_key(m.key);
                   to->set_value(m.value);
                 },
                 [&](const Started& m) {
                   SetStamp(m.stamp, out.mutable_started()->mutable_stamp());
                   out.mutable_started()->set_incarnation(m.incarnation.value());
                 },
                 [&](const StepReport& m) { Fill(m, out.mutable_step_report()); },
                 [&](const EvaluationReport& m) {
                   v1::EvaluationReport* to = out.mutable_evaluation_report();
                   to->set_job(m.job.value());
                   to->set_generation(m.generation.value());
                   to->set_step(m.step.value());
                   to->set_source(m.source);
                   to->set_loss(m.loss);
                 },
                 [&](const LostPeer& m) {
                   v1::LostPeer* to = out.mutable_lost_peer();
                   SetStamp(m.stamp, to->mutable_stamp());
                   to->set_rank(m.rank.value());
                   to->set_detail(m.detail);
                 },
                 [&](const JobFailure& m) {
                   v1::JobFailure* to = out.mutable_job_failure();
                   SetStamp(m.stamp, to->mutable_stamp());
                   to->set_step(m.step.value());
                   to->set_cause(m.cause);
                   to->set_retry(m.retry);
                 },
                 [&](const Finished& m) {
                   v1::Finished* to = out.mutable_finished();
                   SetStamp(m.stamp, to->mutable_stamp());
                   to->set_step(m.step.value());
                   to->set_stopped(m.stopped);
                   to->set_drained(m.drained);
                 },
                 [&](const Frozen& m) { Fill(m, out.mutable_frozen()); },
                 [&](const Leaving& m) {
                   out.mutable_leaving()->set_incarnation(m.incarnation.value());
                   out.mutable_leaving()->set_reason(m.reason);
                 },
                 [&](const RankReport& m) { Fill(m, out.mutable_rank_report()); },
                 [&](const LinkReport& m) { Fill(m, out.mutable_link_report()); },
                 [&](const TokenReport& m) { Fill(m, out.mutable_token_report()); },
                 [&](const CheckpointWritten& m) {
                   v1::CheckpointWritten* to = out.mutable_checkpoint_written();
                   SetStamp(m.stamp, to->mutable_stamp());
                   to->set_incarnation(m.incarnation.value());
                   to->set_step(m.step.value());
                   to->set_plan(m.plan.value());
                   to->set_request(m.request.value());
                   for (const CheckpointFile& file : m.files) {
                     v1::CheckpointFile* entry = to->add_files();
                     entry->set_name(file.name);
                     entry->set_bytes(file.bytes);
                     entry->set_sha256(file.sha256);
                   }
                 },
                 [&](const CheckpointFailed& m) {
                   v1::CheckpointFailed* to = out.mutable_checkpoint_failed();
                   SetStamp(m.stamp, to->mutable_stamp());
                   to->set_incarnation(m.incarnation.value());
                   to->set_step(m.step.value());
                   to->set_skipped(m.skipped);
                   to->set_cause(m.cause);
                 },
                 [&](const CheckpointPublished& m) {
                   v1::CheckpointPublished* to = out.mutable_checkpoint_published();
                   SetStamp(m.stamp, to->mutable_stamp());
                   to->set_incarnation(m.incarnation.value());
                   to->set_step(m.step.value());
                 },
             },
             message);
  return out;
}

absl::StatusOr<WorkerMessage> FromProto(const v1::WorkerMessage& message) {
  IdReader ids;
  absl::StatusOr<WorkerMessage> out = Read(message, ids);
  BALLAST_RETURN_IF_ERROR(ids.status());
  return out;
}

}  // namespace ballast

// Coordinator -> worker; the other half of convert_session.h is convert_worker_message.cc.
#include <optional>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "wire/convert_ids.h"
#include "wire/convert_plan.h"
#include "wire/convert_session.h"
#include "wire/job_reader.h"

namespace ballast {
namespace {

absl::Status Within(const std::string& field, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(field, ".", std::string(status.message())));
}

absl::StatusOr<PlanPtr> ReadPlan(const v1::Plan& plan) {
  auto value = FromProto(plan);
  if (!value.ok()) return Within("plan", value.status());
  return std::make_shared<const Plan>(*std::move(value));
}

absl::StatusOr<CoordinatorMessage> ReadAssign(const v1::Assign& in, IdReader& ids) {
  Assign out;
  out.stamp = ids.GetStamp(in.stamp());
  auto job = JobFromSpec(in.job());
  if (!job.ok()) return Within("job", job.status());
  out.job = std::make_shared<const JobConfig>(*std::move(job));
  for (int r = 0; r < in.members_size(); ++r) {
    auto member = FromProto(in.members(r));
    if (!member.ok()) return Within(absl::StrCat("members[", r, "]"), member.status());
    if (member->rank.value() != r) {
      return absl::InvalidArgumentError(
          absl::StrCat("members[", r, "].rank: found ", member->rank.value(), ", allowed ", r, " (by rank)"));
    }
    out.members.push_back(*std::move(member));
  }
  BALLAST_ASSIGN_OR_RETURN(out.plan, ReadPlan(in.plan()));
  out.start_step = ids.Get<Step>("start_step", in.start_step());
  if (in.has_checkpoint()) {
    out.checkpoint =
        CheckpointRef{in.checkpoint().directory(), ids.Get<Step>("checkpoint.step", in.checkpoint().step())};
  }
  out.retained = ids.Get<Generation>("retained", in.retained());
  out.sampling = {in.sampling().every(), in.sampling().sequences(), in.sampling().tokens()};
  BALLAST_RETURN_IF_ERROR(CheckSampling(out.sampling));
  return out;
}

absl::StatusOr<CoordinatorMessage> Read(const v1::CoordinatorMessage& message, IdReader& ids) {
  switch (message.message_case()) {
    case v1::CoordinatorMessage::kWelcome:
      return Welcome{ids.Get<Term>("term", message.welcome().term())};
    case v1::CoordinatorMessage::kRefused:
      return Refused{message.refused().reason(), message.refused().retry()};
    case v1::CoordinatorMessage::kAssign:
      return ReadAssign(message.assign(), ids);
    case v1::CoordinatorMessage::kStage: {
      Stage out;
      out.stamp = ids.GetStamp(message.stage().stamp());
      BALLAST_ASSIGN_OR_RETURN(out.plan, ReadPlan(message.stage().plan()));
      return out;
    }
    case v1::CoordinatorMessage::kCommit: {
      const v1::Commit& in = message.commit();
      Commit out;
      out.stamp = ids.GetStamp(in.stamp());
      out.version = ids.Get<PlanVersion>("version", in.version());
      out.digest = PlanDigest(in.digest());
      return out;
    }
    case v1::CoordinatorMessage::kWithdraw: {
      const v1::Withdraw& in = message.withdraw();
      return Withdraw{ids.GetStamp(in.stamp()), ids.Get<PlanVersion>("version", in.version()),
                      PlanDigest(in.digest())};
    }
    case v1::CoordinatorMessage::kRendezvousValue: {
      const v1::RendezvousValue& in = message.rendezvous_value();
      return RendezvousValue{ids.GetStamp(in.stamp()), in.key(), in.value()};
    }
    case v1::CoordinatorMessage::kStepRequest: {
      const v1::StepRequest& in = message.step_request();
      if (!v1::RequestKind_IsValid(in.kind())) {
        ids.Complain("kind", absl::StrCat("found ", static_cast<int>(in.kind()), ", allowed 0..3"));
      }
      return StepRequest{ids.GetStamp(in.stamp()), ids.Get<RequestId>("id", in.id()),
                         static_cast<RequestKind>(in.kind())};
    }
    case v1::CoordinatorMessage::kAbort: {
      const v1::Abort& in = message.abort();
      return Abort{ids.GetStamp(in.stamp()),
                   in.reason(),
                   ids.Get<Generation>("retained", in.retained()),
                   ids.Get<Step>("start_step", in.start_step()),
                   ids.Get<PlanVersion>("plan_version", in.plan_version()),
                   in.job_ended()};
    }
    case v1::CoordinatorMessage::kPublishCheckpoint: {
      const v1::PublishCheckpoint& in = message.publish_checkpoint();
      return PublishCheckpoint{ids.GetStamp(in.stamp()), ids.Get<Step>("step", in.step()), in.manifest()};
    }
    case v1::CoordinatorMessage::kPruneCheckpoints: {
      const v1::PruneCheckpoints& in = message.prune_checkpoints();
      return PruneCheckpoints{ids.GetStamp(in.stamp()),
                              ids.Get<Generation>("first_generation", in.first_generation()),
                              {in.keep().begin(), in.keep().end()}};
    }
    case v1::CoordinatorMessage::kHeartbeat:
      return absl::InvalidArgumentError("message: found a heartbeat, which says nothing");
    case v1::CoordinatorMessage::MESSAGE_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("message: found none that this protocol version knows");
}

}  // namespace

v1::Member ToProto(const Member& member) {
  v1::Member out;
  out.set_rank(member.rank.value());
  out.set_worker(member.worker.value());
  out.set_incarnation(member.incarnation.value());
  out.set_local_rank(member.local_rank);
  out.set_node(member.node);
  out.set_data_address(member.data_address);
  out.set_neighbour_address(member.neighbour_address);
  out.set_host(member.host);
  out.set_probe_address(member.probe_address);
  return out;
}

absl::StatusOr<Member> FromProto(const v1::Member& member) {
  IdReader ids;
  Member out;
  out.rank = ids.Get<Rank>("rank", member.rank());
  out.worker = WorkerId(member.worker());
  out.incarnation = Incarnation(member.incarnation());
  if (member.local_rank() < 0)
    ids.Complain("local_rank", absl::StrCat("found ", member.local_rank(), ", allowed at least 0"));
  out.local_rank = member.local_rank();
  out.node = member.node();
  out.data_address = member.data_address();
  out.neighbour_address = member.neighbour_address();
  out.host = member.host();
  out.probe_address = member.probe_address();
  BALLAST_RETURN_IF_ERROR(ids.status());
  return out;
}

std::optional<UnreadableStage> AsUnreadableStage(const v1::CoordinatorMessage& message,
                                                 const absl::Status& why) {
  if (!message.has_stage()) return std::nullopt;
  const v1::Stage& in = message.stage();
  IdReader ids;
  UnreadableStage out{ids.GetStamp(in.stamp()), ids.Get<PlanVersion>("plan.version", in.plan().version()),
                      PlanDigest(in.digest()), std::string(why.message())};
  if (!ids.status().ok()) return std::nullopt;
  return out;
}

v1::CoordinatorMessage ToProto(const CoordinatorMessage& message) {
  v1::CoordinatorMessage out;
  std::visit(Overloaded{
                 [&](const Welcome& m) { out.mutable_welcome()->set_term(m.term.value()); },
                 [&](const Refused& m) {
                   out.mutable_refused()->set_reason(m.reason);
                   out.mutable_refused()->set_retry(m.retry);
                 },
                 [&](const Assign& m) {
                   v1::Assign* to = out.mutable_assign();
                   SetStamp(m.stamp, to->mutable_stamp());
                   *to->mutable_job() = SpecFromJob(*m.job);
                   for (const Member& member : m.members) *to->add_members() = ToProto(member);
                   *to->mutable_plan() = ToProto(*m.plan);
                   to->set_start_step(m.start_step.value());
                   if (m.checkpoint.has_value()) {
                     to->mutable_checkpoint()->set_directory(m.checkpoint->directory);
                     to->mutable_checkpoint()->set_step(m.checkpoint->step.value());
                   }
                   to->set_retained(m.retained.value());
                   if (m.sampling.on()) {
                     to->mutable_sampling()->set_every(m.sampling.every);
                     to->mutable_sampling()->set_sequences(m.sampling.sequences);
                     to->mutable_sampling()->set_tokens(m.sampling.tokens);
                   }
                 },
                 [&](const Stage& m) {
                   SetStamp(m.stamp, out.mutable_stage()->mutable_stamp());
                   *out.mutable_stage()->mutable_plan() = ToProto(*m.plan);
                   out.mutable_stage()->set_digest(Digest(*m.plan).value());
                 },
                 [&](const Commit& m) {
                   v1::Commit* to = out.mutable_commit();
                   SetStamp(m.stamp, to->mutable_stamp());
                   to->set_version(m.version.value());
                   to->set_digest(m.digest.value());
                 },
                 [&](const Withdraw& m) {
                   v1::Withdraw* to = out.mutable_withdraw();
                   SetStamp(m.stamp, to->mutable_stamp());
                   to->set_version(m.version.value());
                   to->set_digest(m.digest.value());
                 },
                 [&](const RendezvousValue& m) {
                   v1::RendezvousValue* to = out.mutable_rendezvous_value();
                   SetStamp(m.stamp, to->mutable_stamp());
                   to->set_key(m.key);
                   to->set_value(m.value);
                 },
                 [&](const StepRequest& m) {
                   v1::StepRequest* to = out.mutable_step_request();
                   SetStamp(m.stamp, to->mutable_stamp());
                   to->set_id(m.id.value());
                   to->set_kind(static_cast<v1::RequestKind>(m.kind));
                 },
                 [&](const Abort& m) {
                   SetStamp(m.stamp, out.mutable_abort()->mutable_stamp());
                   out.mutable_abort()->set_reason(m.reason);
                   out.mutable_abort()->set_retained(m.retained.value());
                   out.mutable_abort()->set_start_step(m.start_step.value());
                   out.mutable_abort()->set_plan_version(m.plan.value());
                   out.mutable_abort()->set_job_ended(m.job_ended);
                 },
                 [&](const PublishCheckpoint& m) {
                   v1::PublishCheckpoint* to = out.mutable_publish_checkpoint();
                   SetStamp(m.stamp, to->mutable_stamp());
                   to->set_step(m.step.value());
                   to->set_manifest(m.manifest);
                 },
                 [&](const PruneCheckpoints& m) {
                   v1::PruneCheckpoints* to = out.mutable_prune_checkpoints();
                   SetStamp(m.stamp, to->mutable_stamp());
                   to->set_first_generation(m.first_generation.value());
                   for (const std::string& name : m.keep) to->add_keep(name);
                 },
             },
             message);
  return out;
}

absl::StatusOr<CoordinatorMessage> FromProto(const v1::CoordinatorMessage& message) {
  IdReader ids;
  absl::StatusOr<CoordinatorMessage> out = Read(message, ids);
  BALLAST_RETURN_IF_ERROR(ids.status());
  return out;
}

}  // namespace ballast

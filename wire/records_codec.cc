#include "wire/records_codec.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "absl/strings/str_cat.h"
#include "ballast/v1/records.pb.h"
#include "base/status_macros.h"
#include "wire/convert_explanation.h"
#include "wire/convert_ids.h"
#include "wire/convert_plan.h"
#include "wire/convert_session.h"
#include "wire/job_reader.h"

namespace ballast {
namespace {

// Maps in the order of their keys, so that equal records have equal bytes.
std::string Serialize(const google::protobuf::Message& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream out(&stream);
    out.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&out);
  }
  return bytes;
}

absl::Status Damaged(const char* what, const std::string& text) {
  return absl::DataLossError(absl::StrCat("stored ", what, ": ", text));
}
absl::Status Damaged(const char* what, const absl::Status& status) {
  return Damaged(what, std::string(status.message()));
}

// Unknown fields come from a newer program; the store's schema version is there to refuse those.
template <class Proto>
absl::Status Parse(const char* what, const std::string& bytes, Proto* proto) {
  if (!proto->ParseFromString(bytes))
    return Damaged(what, absl::StrCat("found ", bytes.size(), " bytes that are none"));
  if (!proto->GetReflection()->GetUnknownFields(*proto).empty())
    return Damaged(what, "found a field that is unknown here");
  return absl::OkStatus();
}

template <class Enum>
Enum GetEnum(const char* field, int value, int low, int high, IdReader& ids) {
  if (value < low || value > high) {
    ids.Complain(field, absl::StrCat("found ", value, ", allowed ", low, "..", high));
    return static_cast<Enum>(low);
  }
  return static_cast<Enum>(value);
}

v1::StepPoint ToProto(const StepPoint& point) {
  v1::StepPoint out;
  out.set_step(point.step.value());
  out.set_plan(point.plan.value());
  out.set_loss(point.loss);
  out.set_tokens_per_s(point.tokens_per_s);
  out.set_imbalance(point.imbalance);
  out.set_contiguous_imbalance(point.contiguous_imbalance);
  out.set_gradient_norm(point.gradient_norm);
  out.set_eta_s(point.eta_s);
  return out;
}

StepPoint ReadStepPoint(const v1::StepPoint& point, IdReader& ids) {
  StepPoint out;
  out.step = ids.Get<Step>("last_steps.step", point.step());
  out.plan = ids.Get<PlanVersion>("last_steps.plan", point.plan());
  out.loss = point.loss();
  out.tokens_per_s = point.tokens_per_s();
  out.imbalance = point.imbalance();
  out.contiguous_imbalance = point.contiguous_imbalance();
  out.gradient_norm = point.gradient_norm();
  out.eta_s = point.eta_s();
  return out;
}

void SetRef(const CheckpointRef& ref, v1::CheckpointRef* out) {
  out->set_directory(ref.directory);
  out->set_step(ref.step.value());
}

}  // namespace

std::string EncodeRecord(const JobRecord& record) {
  v1::JobRecord out;
  *out.mutable_config() = SpecFromJob(*record.config);
  out.set_state(static_cast<v1::JobState>(record.state));
  out.set_reason(record.reason);
  out.set_order(record.order);
  out.set_submitted_unix_ms(record.submitted_unix_ms);
  out.set_generation(record.generation.value());
  out.set_last_version(record.last_version.value());
  out.set_active(record.active.value());
  out.set_last_request(record.last_request.value());
  out.set_last_request_kind(static_cast<v1::RequestKind>(record.last_request_kind));
  for (Rank home : record.wanted_homes) out.add_wanted_homes(home.value());
  out.set_plans_committed(record.plans_committed);
  out.set_slot_writes(record.slot_writes);
  out.set_step(record.step.value());
  out.set_trained_seconds(record.trained_seconds);
  out.set_trained_tokens(record.trained_tokens);
  for (const StepPoint& point : record.last_steps) *out.add_last_steps() = ToProto(point);
  for (const EvaluationPoint& point : record.evaluations) {
    v1::Evaluation* to = out.add_evaluations();
    to->set_step(point.step.value());
    to->set_source(point.source);
    to->set_loss(point.loss);
  }
  for (const RecoveryPoint& point : record.recoveries) {
    v1::RecoveryPoint* to = out.add_recoveries();
    to->set_unix_ms(point.unix_ms);
    to->set_lost(point.lost.value());
    to->set_from(point.from.value());
    to->set_cause(point.cause);
  }
  if (record.resume.has_value()) SetRef(*record.resume, out.mutable_resume());
  out.set_resume_generation(record.resume_generation.value());
  if (record.first_plan != nullptr) *out.mutable_first_plan() = ballast::ToProto(*record.first_plan);
  out.set_checkpoints_skipped(record.checkpoints_skipped);
  out.set_device(record.device);
  out.set_request_reason(record.request_reason);
  return Serialize(out);
}

absl::StatusOr<JobRecord> DecodeJobRecord(const std::string& bytes) {
  v1::JobRecord in;
  BALLAST_RETURN_IF_ERROR(Parse("job", bytes, &in));
  auto config = JobFromSpec(in.config());
  if (!config.ok()) return Damaged("job", config.status());
  IdReader ids;
  JobRecord out;
  out.config = std::make_shared<const JobConfig>(*std::move(config));
  out.state = GetEnum<JobState>("state", in.state(), 1, 7, ids);
  out.reason = in.reason();
  out.order = in.order();
  out.submitted_unix_ms = in.submitted_unix_ms();
  out.generation = ids.Get<Generation>("generation", in.generation());
  out.last_version = ids.Get<PlanVersion>("last_version", in.last_version());
  out.active = ids.Get<PlanVersion>("active", in.active());
  out.last_request = ids.Get<RequestId>("last_request", in.last_request());
  out.last_request_kind = GetEnum<RequestKind>("last_request_kind", in.last_request_kind(), 0, 3, ids);
  for (int32_t home : in.wanted_homes()) out.wanted_homes.push_back(ids.Get<Rank>("wanted_homes", home));
  out.plans_committed = in.plans_committed();
  out.slot_writes = in.slot_writes();
  out.step = ids.Get<Step>("step", in.step());
  out.trained_seconds = in.trained_seconds();
  out.trained_tokens = in.trained_tokens();
  for (const v1::StepPoint& point : in.last_steps()) out.last_steps.push_back(ReadStepPoint(point, ids));
  for (const v1::Evaluation& point : in.evaluations()) {
    out.evaluations.push_back(
        {ids.Get<Step>("evaluations.step", point.step()), point.source(), point.loss()});
  }
  for (const v1::RecoveryPoint& point : in.recoveries()) {
    out.recoveries.push_back({point.unix_ms(), ids.Get<Generation>("recoveries.lost", point.lost()),
                              ids.Get<Step>("recoveries.from", point.from()), point.cause()});
  }
  if (in.has_resume())
    out.resume = CheckpointRef{in.resume().directory(), ids.Get<Step>("resume.step", in.resume().step())};
  out.resume_generation = ids.Get<Generation>("resume_generation", in.resume_generation());
  if (in.has_first_plan()) {
    auto body = FromProto(in.first_plan());
    if (!body.ok()) return Damaged("job", body.status());
    out.first_plan = std::make_shared<const PlanBody>(*std::move(body));
  }
  out.checkpoints_skipped = in.checkpoints_skipped();
  out.device = in.device();
  out.request_reason = in.request_reason();
  if (!ids.status().ok()) return Damaged("job", ids.status());
  return out;
}

std::string EncodeRecord(const PlanRecord& record) {
  v1::PlanRecord out;
  *out.mutable_plan() = ballast::ToProto(*record.plan);
  out.set_digest(record.digest.value());
  out.set_state(static_cast<v1::PlanState>(record.state));
  out.set_origin(static_cast<v1::PlanOrigin>(record.origin));
  out.set_outcome(record.outcome);
  out.set_rejected(record.rejected);
  out.set_switch_step(record.switch_step.value());
  out.set_slot_writes(record.slot_writes);
  out.set_home_moves(record.home_moves);
  out.set_home_bytes(record.home_bytes);
  out.set_imbalance_before(record.imbalance_before);
  out.set_imbalance_after(record.imbalance_after);
  out.set_proposed_unix_ms(record.proposed_unix_ms);
  out.set_slot_bytes(record.slot_bytes);
  out.set_imbalance_bound(record.imbalance_bound);
  return Serialize(out);
}

absl::StatusOr<PlanRecord> DecodePlanRecord(const std::string& bytes) {
  v1::PlanRecord in;
  BALLAST_RETURN_IF_ERROR(Parse("plan", bytes, &in));
  auto plan = FromProto(in.plan());
  if (!plan.ok()) return Damaged("plan", plan.status());
  IdReader ids;
  PlanRecord out;
  out.plan = std::make_shared<const Plan>(*std::move(plan));
  out.digest = PlanDigest(in.digest());
  if (Digest(*out.plan) != out.digest)
    return Damaged("plan", "digest: found content of another digest than the stored one");
  out.state = GetEnum<PlanState>("state", in.state(), 1, 5, ids);
  out.origin = GetEnum<PlanOrigin>("origin", in.origin(), 1, 6, ids);
  out.outcome = in.outcome();
  out.rejected = in.rejected();
  out.switch_step = ids.Get<Step>("switch_step", in.switch_step());
  out.slot_writes = in.slot_writes();
  out.home_moves = in.home_moves();
  out.home_bytes = in.home_bytes();
  out.imbalance_before = in.imbalance_before();
  out.imbalance_after = in.imbalance_after();
  out.proposed_unix_ms = in.proposed_unix_ms();
  out.slot_bytes = in.slot_bytes();
  out.imbalance_bound = in.imbalance_bound();
  if (!ids.status().ok()) return Damaged("plan", ids.status());
  return out;
}

std::string EncodeRecord(const WorkerRecord& record) {
  v1::WorkerRecord out;
  out.set_worker(record.worker.value());
  out.set_cordoned(record.cordoned);
  return Serialize(out);
}

absl::StatusOr<WorkerRecord> DecodeWorkerRecord(const std::string& bytes) {
  v1::WorkerRecord in;
  BALLAST_RETURN_IF_ERROR(Parse("worker", bytes, &in));
  return WorkerRecord{WorkerId(in.worker()), in.cordoned()};
}

std::string EncodeRecord(const GenerationRecord& record) {
  v1::GenerationRecord out;
  out.set_job(record.job.value());
  out.set_generation(record.generation.value());
  for (const Member& member : record.members) *out.add_members() = ballast::ToProto(member);
  out.set_plan(record.plan.value());
  out.set_start_step(record.start_step.value());
  out.set_ended(record.ended);
  out.set_reason(record.reason);
  if (record.checkpoint.has_value()) SetRef(*record.checkpoint, out.mutable_checkpoint());
  out.set_retained(record.retained.value());
  return Serialize(out);
}

absl::StatusOr<GenerationRecord> DecodeGenerationRecord(const std::string& bytes) {
  v1::GenerationRecord in;
  BALLAST_RETURN_IF_ERROR(Parse("generation", bytes, &in));
  IdReader ids;
  GenerationRecord out;
  out.job = JobId(in.job());
  out.generation = ids.Get<Generation>("generation", in.generation());
  for (const v1::Member& member : in.members()) {
    auto value = FromProto(member);
    if (!value.ok()) return Damaged("generation", value.status());
    out.members.push_back(*std::move(value));
  }
  out.plan = ids.Get<PlanVersion>("plan", in.plan());
  out.start_step = ids.Get<Step>("start_step", in.start_step());
  out.ended = in.ended();
  out.reason = in.reason();
  if (in.has_checkpoint()) {
    out.checkpoint =
        CheckpointRef{in.checkpoint().directory(), ids.Get<Step>("checkpoint.step", in.checkpoint().step())};
  }
  out.retained = ids.Get<Generation>("retained", in.retained());
  if (!ids.status().ok()) return Damaged("generation", ids.status());
  return out;
}

std::string EncodeRecord(const CheckpointRecord& record) {
  v1::CheckpointRecord out;
  out.set_job(record.job.value());
  out.set_step(record.step.value());
  out.set_generation(record.generation.value());
  out.set_plan(record.plan.value());
  out.set_directory(record.directory);
  out.set_state(static_cast<v1::CheckpointState>(record.state));
  out.set_bytes(record.bytes);
  out.set_unix_ms(record.unix_ms);
  out.set_request(record.request.value());
  out.set_manifest(record.manifest);
  return Serialize(out);
}

absl::StatusOr<CheckpointRecord> DecodeCheckpointRecord(const std::string& bytes) {
  v1::CheckpointRecord in;
  BALLAST_RETURN_IF_ERROR(Parse("checkpoint", bytes, &in));
  IdReader ids;
  CheckpointRecord out;
  out.job = JobId(in.job());
  out.step = ids.Get<Step>("step", in.step());
  out.generation = ids.Get<Generation>("generation", in.generation());
  out.plan = ids.Get<PlanVersion>("plan", in.plan());
  out.directory = in.directory();
  out.state = GetEnum<CheckpointState>("state", in.state(), 1, 3, ids);
  out.bytes = in.bytes();
  out.unix_ms = in.unix_ms();
  out.request = ids.Get<RequestId>("request", in.request());
  out.manifest = in.manifest();
  if (!ids.status().ok()) return Damaged("checkpoint", ids.status());
  return out;
}

std::string EncodeRecord(const JobEvent& record) {
  v1::EventRecord out;
  out.set_job(record.job.value());
  v1::LoggedEvent* event = out.mutable_event();
  event->set_number(record.number);
  event->set_unix_ms(record.unix_ms);
  event->set_kind(static_cast<v1::EventKind>(record.kind));
  event->set_step(record.step.value());
  event->set_plan_version(record.version.value());
  event->set_text(record.text);
  return Serialize(out);
}

absl::StatusOr<JobEvent> DecodeJobEvent(const std::string& bytes) {
  v1::EventRecord in;
  BALLAST_RETURN_IF_ERROR(Parse("event", bytes, &in));
  IdReader ids;
  JobEvent out;
  out.job = JobId(in.job());
  out.number = in.event().number();
  if (out.number < 1) ids.Complain("number", absl::StrCat("found ", out.number, ", allowed 1.."));
  out.unix_ms = in.event().unix_ms();
  out.kind = GetEnum<JobEvent::Kind>("kind", in.event().kind(), 1, 8, ids);
  out.step = ids.Get<Step>("step", in.event().step());
  out.version = ids.Get<PlanVersion>("plan_version", in.event().plan_version());
  out.text = in.event().text();
  if (!ids.status().ok()) return Damaged("event", ids.status());
  return out;
}

std::string EncodeRecord(const ExplanationRecord& record) {
  v1::ExplanationRecord out;
  out.set_job(record.job.value());
  out.set_version(record.version.value());
  *out.mutable_explanation() = ballast::ToProto(record.explanation);
  *out.mutable_measured() = ballast::ToProto(record.measured);
  return Serialize(out);
}

absl::StatusOr<ExplanationRecord> DecodeExplanationRecord(const std::string& bytes) {
  v1::ExplanationRecord in;
  BALLAST_RETURN_IF_ERROR(Parse("explanation", bytes, &in));
  IdReader ids;
  ExplanationRecord out;
  out.job = JobId(in.job());
  out.version = ids.Get<PlanVersion>("version", in.version());
  if (!ids.status().ok()) return Damaged("explanation", ids.status());
  auto explanation = FromProto(in.explanation());
  if (!explanation.ok()) return Damaged("explanation", explanation.status());
  out.explanation = *std::move(explanation);
  auto measured = FromProto(in.measured());
  if (!measured.ok()) return Damaged("explanation", measured.status());
  out.measured = *measured;
  return out;
}

}  // namespace ballast

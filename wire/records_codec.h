// Records of the coordinator's store <-> bytes.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "coordinator/records.h"

namespace ballast {

// Equal records have equal bytes.
std::string EncodeRecord(const JobRecord& record);
std::string EncodeRecord(const PlanRecord& record);
std::string EncodeRecord(const WorkerRecord& record);
absl::StatusOr<WorkerRecord> DecodeWorkerRecord(const std::string& bytes);
std::string EncodeRecord(const GenerationRecord& record);
std::string EncodeRecord(const CheckpointRecord& record);
std::string EncodeRecord(const JobEvent& record);
std::string EncodeRecord(const ExplanationRecord& record);

// DataLoss when the bytes are no such record; the message names the field where that is known. A job is
// validated anew; a plan must have the digest that was stored beside it.
absl::StatusOr<JobRecord> DecodeJobRecord(const std::string& bytes);
absl::StatusOr<PlanRecord> DecodePlanRecord(const std::string& bytes);
absl::StatusOr<GenerationRecord> DecodeGenerationRecord(const std::string& bytes);
absl::StatusOr<CheckpointRecord> DecodeCheckpointRecord(const std::string& bytes);
absl::StatusOr<JobEvent> DecodeJobEvent(const std::string& bytes);
absl::StatusOr<ExplanationRecord> DecodeExplanationRecord(const std::string& bytes);

}  // namespace ballast

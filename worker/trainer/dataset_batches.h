// DatasetBatches: batches from the job's data files.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "plan/job_config.h"
#include "worker/model/indexed_dataset.h"
#include "worker/model/sampler.h"
#include "worker/trainer/batch_source.h"

namespace ballast {

// Immutable; may be read from any thread.
class DatasetBatches final : public BatchSource {
 public:
  // Maps the files of all sources. Errors name the file or source and what is wrong with it.
  static absl::StatusOr<DatasetBatches> Open(const JobConfig& job);

  absl::StatusOr<Microbatch> Training(Step step, int64_t first, int64_t count) const override;
  absl::StatusOr<Microbatch> HeldOut(int source, int64_t first, int64_t count) const override;
  const std::vector<std::string>& sources() const override { return names_; }

 private:
  DatasetBatches(const JobConfig& job, std::vector<IndexedDataset> datasets, Sampler sampler);
  // Appends the sample's inputs and targets.
  absl::Status Append(const Sample& sample, Microbatch& microbatch) const;

  std::vector<std::string> names_;
  std::vector<IndexedDataset> datasets_;
  Sampler sampler_;
  int vocabulary_;
  int64_t length_;
};

}  // namespace ballast

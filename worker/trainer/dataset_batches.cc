#include "worker/trainer/dataset_batches.h"

#include <utility>

#include "base/status_macros.h"

namespace ballast {

absl::StatusOr<DatasetBatches> DatasetBatches::Open(const JobConfig& job) {
  std::vector<IndexedDataset> datasets;
  std::vector<int64_t> tokens;
  for (const DataSource& source : job.data.sources) {
    BALLAST_ASSIGN_OR_RETURN(IndexedDataset dataset, IndexedDataset::Open(source.prefix));
    tokens.push_back(dataset.tokens());
    datasets.push_back(std::move(dataset));
  }
  BALLAST_ASSIGN_OR_RETURN(Sampler sampler, Sampler::Make(job.data, job.training.seed, std::move(tokens)));
  return DatasetBatches(job, std::move(datasets), std::move(sampler));
}

DatasetBatches::DatasetBatches(const JobConfig& job, std::vector<IndexedDataset> datasets, Sampler sampler)
    : datasets_(std::move(datasets)),
      sampler_(std::move(sampler)),
      vocabulary_(job.model.vocabulary_size),
      length_(job.data.sequence_length) {
  for (const DataSource& source : job.data.sources) names_.push_back(source.name);
}

absl::StatusOr<Microbatch> DatasetBatches::Training(Step step, int64_t first, int64_t count) const {
  Microbatch microbatch{.sequences = count, .length = length_, .inputs = {}, .targets = {}};
  for (int64_t i = 0; i < count; ++i)
    BALLAST_RETURN_IF_ERROR(Append(sampler_.Train(step, first + i), microbatch));
  return microbatch;
}

absl::StatusOr<Microbatch> DatasetBatches::HeldOut(int source, int64_t first, int64_t count) const {
  Microbatch microbatch{.sequences = count, .length = length_, .inputs = {}, .targets = {}};
  for (int64_t i = 0; i < count; ++i) {
    BALLAST_RETURN_IF_ERROR(Append(sampler_.HeldOut(source, first + i), microbatch));
  }
  return microbatch;
}

absl::Status DatasetBatches::Append(const Sample& sample, Microbatch& microbatch) const {
  std::vector<int32_t> tokens(length_ + 1);
  BALLAST_RETURN_IF_ERROR(datasets_[sample.source].Read(sample.first_token, vocabulary_, tokens));
  microbatch.inputs.insert(microbatch.inputs.end(), tokens.begin(), tokens.end() - 1);
  microbatch.targets.insert(microbatch.targets.end(), tokens.begin() + 1, tokens.end());
  return absl::OkStatus();
}

}  // namespace ballast

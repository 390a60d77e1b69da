#include "worker/trainer/evaluation.h"

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/trainer/microbatches.h"

namespace ballast {
namespace {

// Cross-entropy of the sequences of this rank's part, source after source.
absl::StatusOr<std::vector<double>> OwnLosses(const EvaluationInputs& inputs, const MicrobatchPlan& plan) {
  const TrainerParts& parts = inputs.parts;
  std::vector<double> losses;
  for (size_t source = 0; source < parts.batches.sources().size(); ++source) {
    for (const SequenceRun& run : plan.runs[parts.communicator.rank().index()]) {
      BALLAST_ASSIGN_OR_RETURN(Microbatch microbatch,
                               parts.batches.HeldOut(static_cast<int>(source), run.first, run.count));
      BALLAST_ASSIGN_OR_RETURN(MicrobatchResult result, parts.model.Forward(inputs.model_step(), microbatch));
      losses.insert(losses.end(), result.cross_entropy.begin(), result.cross_entropy.end());
    }
  }
  return losses;
}

// Sum over one source's sequences in global order; a rank's part of `all` lists source after source.
double SumOfSource(const std::vector<double>& all, const MicrobatchPlan& plan, size_t sources,
                   size_t source) {
  double sum = 0;
  size_t part_begin = 0;
  for (int64_t part : plan.sequences) {
    for (int64_t i = 0; i < part; ++i) sum += all[part_begin + source * part + i];
    part_begin += part * sources;
  }
  return sum;
}

}  // namespace

absl::StatusOr<std::string> Evaluate(const EvaluationInputs& inputs) {
  const TrainerParts& parts = inputs.parts;
  const int64_t sequences = inputs.job.training.evaluation_sequences;
  const size_t sources = parts.batches.sources().size();
  if (sequences == 0) return std::string();
  const MicrobatchPlan plan =
      PlanMicrobatches(sequences, parts.communicator.size(), inputs.job.training.microbatch_sequences);
  BALLAST_ASSIGN_OR_RETURN(std::vector<double> own, OwnLosses(inputs, plan));

  std::vector<size_t> bytes;
  for (int64_t part : plan.sequences) bytes.push_back(part * sources * sizeof(double));
  std::vector<double> all(sequences * sources);
  std::unique_ptr<Pending> pending =
      parts.communicator.AllGather(inputs.stream, own.data(), bytes, all.data());
  BALLAST_RETURN_IF_ERROR(parts.communicator.Wait(*pending, inputs.model_step().deadline));

  for (size_t source = 0; source < sources; ++source) {
    const double tokens = static_cast<double>(sequences * inputs.job.data.sequence_length);
    const double loss = SumOfSource(all, plan, sources, source) / tokens;
    const std::string& name = parts.batches.sources()[source];
    if (!std::isfinite(loss)) {
      return absl::StrCat("evaluation after step ", inputs.step.value(), ": the held-out loss of source \"",
                          name, "\" is ", loss);
    }
    if (parts.communicator.rank() != inputs.reporter) continue;
    parts.coordination.OnEvaluation({.job = inputs.job.name,
                                     .generation = inputs.generation,
                                     .step = inputs.step,
                                     .source = name,
                                     .loss = loss});
  }
  return std::string();
}

}  // namespace ballast

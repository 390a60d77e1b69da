#include "ctl/sequence_files.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "coordinator/planner/layer/layer_strategy.h"
#include "ctl/read_array.h"
#include "ctl/write_file.h"
#include "replay/place.h"

namespace ballast {
namespace {

absl::StatusOr<SequenceSample> SequencesOf(const NpyArray& array, int experts, int length) {
  const std::vector<int64_t>& shape = array.shape();
  if (shape.size() != 2 && shape.size() != 3) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tokens: found ", shape.size(), " dimensions, allowed is [layer][token][k] or [token][k]"));
  }
  const int64_t layers = shape.size() == 3 ? shape[0] : 1, k = shape.back();
  if (array.size() == 0 || k > experts) {
    return absl::InvalidArgumentError(absl::StrCat("tokens: found ", layers, " layers and ", k,
                                                   " experts of a token, allowed is 1 or more and 1..",
                                                   experts));
  }
  std::vector<int32_t> choices;
  choices.reserve(static_cast<size_t>(array.size()));
  for (int64_t i = 0; i < array.size(); ++i) {
    BALLAST_ASSIGN_OR_RETURN(const int64_t expert, array.At(i));
    // What does not fit is out of any range.
    choices.push_back(expert < 0 || expert > INT32_MAX ? -1 : static_cast<int32_t>(expert));
  }
  return CountSequences(choices, static_cast<int>(layers), static_cast<int>(k), experts, length);
}

}  // namespace

absl::Status CheckSampleIsUsed(const std::string& path, const std::vector<std::string>& strategies) {
  if (path.empty()) return absl::OkStatus();
  for (const std::string& strategy : strategies) {
    if (UsesSample(strategy) || !LayerStrategies().Find(strategy).ok()) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--tokens: found ", path, ", which ", absl::StrJoin(strategies, " and "),
                   " would not read, allowed is with coactivation, kmeans or genetic"));
}

absl::StatusOr<SequenceSample> ReadSequences(const std::string& path, int experts, int length) {
  BALLAST_ASSIGN_OR_RETURN(const NpyArray array, ReadArray(path));
  absl::StatusOr<SequenceSample> sample = SequencesOf(array, experts, length);
  if (!sample.ok()) return AtFile(path, sample.status());
  return sample;
}

absl::Status WriteSequences(const SequenceArguments& arguments, const SequenceSample& sample,
                            const SequenceChoice& choice, const std::vector<SlotTable>& tables,
                            int ranks_per_node) {
  if (arguments.out.empty()) return absl::OkStatus();
  const int ranks = static_cast<int>(tables[0].size());
  std::vector<std::vector<int>> of_rank(static_cast<size_t>(ranks));
  for (size_t s = 0; s < choice.rank_of_sequence.size(); ++s) {
    of_rank[static_cast<size_t>(choice.rank_of_sequence[s])].push_back(static_cast<int>(s));
  }
  const LayerTask task =
      UniformTask(std::vector<int64_t>(static_cast<size_t>(sample.experts), 0), ranks,
                  static_cast<int>(tables[0][0].size()), ranks_per_node > 0 ? ranks_per_node : ranks);
  const std::vector<SlotTable> contiguous(tables.size(), ContiguousTable(task));
  const SequenceChoice in_order = InOrder(sample, ranks);
  nlohmann::ordered_json off_node, off_rank;
  const auto add = [&](const char* name, const SequenceChoice& sequences,
                       const std::vector<SlotTable>& placed) {
    const SequenceTraffic traffic = TrafficOf(sequences, placed, ranks_per_node);
    off_node[name] = traffic.off_node;
    off_rank[name] = traffic.off_rank;
  };
  add("contiguous", in_order, contiguous);
  add("in_order", in_order, tables);
  add("chosen", choice, tables);
  const nlohmann::ordered_json file = {{"sequence_length", sample.length},
                                       {"sequences", sample.sequences()},
                                       {"ranks", of_rank},
                                       {"off_node", off_node},
                                       {"off_rank", off_rank}};
  return WriteFileByRename(arguments.out, absl::StrCat(file.dump(), "\n"), 0644);
}

}  // namespace ballast

#include "replay/sequences.h"

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "coordinator/planner/layer/layer_strategy.h"
#include "plan/split.h"

namespace ballast {
namespace {

std::vector<int> NodesOf(int ranks, int ranks_per_node) {
  const int per_node = ranks_per_node > 0 ? ranks_per_node : ranks;
  std::vector<int> nodes;
  for (int g = 0; g < ranks; ++g) nodes.push_back(g / per_node);
  return nodes;
}

}  // namespace

absl::StatusOr<SequenceChoice> ChooseSequencesFor(const SequenceSample& sample,
                                                  const SequenceQuestion& question) {
  const auto refuse = [](const std::string& field, const auto& found, const std::string& allowed) {
    return absl::InvalidArgumentError(absl::StrCat(field, ": found ", found, ", allowed is ", allowed));
  };
  const absl::StatusOr<LayerStrategyPtr> strategy = LayerStrategies().Find(question.strategy);
  if (!strategy.ok() || !(*strategy)->traits().chooses_sequences) {
    return refuse("sequence-length", absl::StrCat("strategy ", question.strategy),
                  "kmeans or genetic, which choose sequences");
  }
  const int ranks_max = question.strategy == "genetic" ? kRemapRanksMax : kRanksMax;
  if (question.ranks < 1 || question.ranks > ranks_max) {
    return refuse("gpus", question.ranks,
                  absl::StrCat("1..", ranks_max, " where ", question.strategy, " chooses sequences"));
  }
  if (question.ranks_per_node < 0 ||
      (question.ranks_per_node > 0 && question.ranks % question.ranks_per_node != 0)) {
    return refuse("gpus-per-node", question.ranks_per_node,
                  absl::StrCat("a divisor of ", question.ranks, " gpus"));
  }
  const std::vector<int> nodes = NodesOf(question.ranks, question.ranks_per_node);
  if (nodes.back() == 0) {
    return refuse("gpus-per-node", "one node", absl::StrCat("several, for ", question.strategy));
  }
  if (sample.experts != question.experts) {
    return refuse("tokens", sample.experts, absl::StrCat(question.experts, " experts"));
  }
  if (sample.layers != 1 && sample.layers != question.layers) {
    return refuse("tokens", absl::StrCat(sample.layers, " layers"),
                  absl::StrCat("1, or the ", question.layers, " of the loads"));
  }
  return ChooseSequences(sample, nodes, question.strategy == "genetic", question.evaluations_max,
                         question.seed);
}

const CountMatrix& SourcesOfLayer(const SequenceChoice& choice, size_t layer) {
  return choice.sources[choice.sources.size() == 1 ? 0 : layer];
}

SequenceTraffic TrafficOf(const SequenceChoice& choice, const std::vector<SlotTable>& tables,
                          int ranks_per_node) {
  const int ranks = static_cast<int>(choice.sources[0].size());
  const std::vector<int> nodes = NodesOf(ranks, ranks_per_node);
  std::vector<std::string> names;
  for (int node : nodes) names.push_back(absl::StrCat(node));
  const Topology topology = Topology::FromNodeNames(names);
  const std::vector<uint32_t> speeds(static_cast<size_t>(ranks), 1 << 16);
  double off_node = 0, off_rank = 0, all = 0;
  for (size_t l = 0; l < tables.size(); ++l) {
    const CountMatrix& counts = SourcesOfLayer(choice, l);
    LayerPlan layer;
    layer.slots = SlotsOf(tables[l]);
    const auto split = ComputeSplit(counts, layer, static_cast<int>(counts[0].size()), speeds, topology);
    BALLAST_CHECK_OK(split.status());
    for (const Share& share : split->shares) {
      const double count = static_cast<double>(share.count);
      all += count;
      if (share.source != share.host) off_rank += count;
      if (nodes[share.source.index()] != nodes[share.host.index()]) off_node += count;
    }
  }
  if (all == 0) return {};
  return {off_node / all, off_rank / all};
}

}  // namespace ballast

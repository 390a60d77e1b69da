#include "ctl/place_command.h"

#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "ballast/v1/plan_file.pb.h"
#include "base/status_macros.h"
#include "ctl/exit_code.h"
#include "ctl/output.h"
#include "ctl/read_array.h"
#include "plan/balance.h"
#include "replay/load_trace.h"
#include "wire/message_json.h"

namespace ballast {
namespace {

// [layer][expert] tokens as they stand in an array of two dimensions.
absl::StatusOr<std::vector<std::vector<int64_t>>> LayerLoads(const NpyArray& array) {
  const int64_t layers = array.shape()[0], experts = array.shape()[1];
  if (array.size() == 0) {
    return absl::InvalidArgumentError(absl::StrCat("loads: found ", layers, " layers and ", experts,
                                                   " experts, allowed is 1 or more of both"));
  }
  std::vector<std::vector<int64_t>> loads;
  for (int64_t l = 0; l < layers; ++l) {
    int64_t sum = 0;
    loads.emplace_back();
    for (int64_t e = 0; e < experts; ++e) {
      BALLAST_ASSIGN_OR_RETURN(const int64_t count, array.At(l * experts + e));
      if (count < 0 || count > kTokensMax - sum) {
        return absl::InvalidArgumentError(absl::StrCat("loads: layer ", l, ", expert ", e, ": found ", count,
                                                       ", allowed is 0 or more and at most ", kTokensMax,
                                                       " in a layer"));
      }
      sum += count;
      loads.back().push_back(count);
    }
  }
  return loads;
}

// [layer][expert] tokens: an array of that shape, or a recording, summed up.
absl::StatusOr<std::vector<std::vector<int64_t>>> LoadsOf(const NpyArray& array) {
  const size_t dimensions = array.shape().size();
  if (dimensions == 2) return LayerLoads(array);
  if (dimensions != 4 && dimensions != 5) {
    return absl::InvalidArgumentError(absl::StrCat("loads: found ", dimensions,
                                                   " dimensions, allowed is [layer][expert], or a recording "
                                                   "[step][layer][microbatch][expert] or "
                                                   "[step][layer][microbatch][source][expert]"));
  }
  std::vector<std::vector<int64_t>> loads;
  BALLAST_ASSIGN_OR_RETURN(const LoadTrace trace, LoadTrace::FromArray(array));
  for (int l = 0; l < trace.layers(); ++l) {
    loads.emplace_back(static_cast<size_t>(trace.experts()), 0);
    int64_t sum = 0;
    for (int step = 0; step < trace.steps(); ++step) {
      const std::vector<int64_t> sample = trace.Sample(step, l);
      for (size_t e = 0; e < sample.size(); ++e) {
        if (sample[e] > kTokensMax - sum) {
          return absl::InvalidArgumentError(
              absl::StrCat("loads: layer ", l, ": the sum over all steps is above ", kTokensMax));
        }
        sum += sample[e];
        loads.back()[e] += sample[e];
      }
    }
  }
  return loads;
}

v1::PlanFile PlanFileOf(const std::vector<PlacedLayer>& placed, const PlaceArguments& arguments) {
  v1::PlanFile file;
  file.set_base_version(arguments.base_version);
  file.set_reason(absl::StrCat("ballastctl place --strategy ", arguments.options.strategy));
  for (size_t l = 0; l < placed.size(); ++l) {
    v1::PlanFile::Layer* layer = file.add_layers();
    layer->set_layer(static_cast<int>(l));
    const bool fractions = !placed[l].fractions.empty();
    layer->mutable_split()->set_kind(fractions ? v1::SPLIT_KIND_FRACTIONS : v1::SPLIT_KIND_EXACT);
    for (size_t g = 0; g < placed[l].table.size(); ++g) {
      v1::HostedExperts* hosts = layer->add_hosts();
      v1::RankFractions* shares = fractions ? layer->mutable_split()->add_fractions() : nullptr;
      for (size_t i = 0; i < placed[l].table[g].size(); ++i) {
        if (placed[l].table[g][i] == kNoExpert) continue;
        hosts->add_experts(placed[l].table[g][i]);
        if (fractions) shares->add_fractions(placed[l].fractions[g][i]);
      }
    }
  }
  return file;
}

void PrintTable(const Context& context, const std::vector<PlacedLayer>& placed) {
  Table table({"LAYER", "CONTIGUOUS", "IMBALANCE", "BOUND", "RANK", "EXPERTS"});
  for (size_t l = 0; l < placed.size(); ++l) {
    for (size_t g = 0; g < placed[l].table.size(); ++g) {
      const bool first = g == 0;
      const auto text = [](std::string* out, int expert) {
        absl::StrAppend(out, expert == kNoExpert ? "." : absl::StrCat(expert));
      };
      table.Add({first ? absl::StrCat(l) : "", first ? Fixed(placed[l].contiguous_imbalance, 3) : "",
                 first ? Fixed(placed[l].imbalance, 3) : "", first ? Fixed(placed[l].bound, 3) : "",
                 absl::StrCat(g), absl::StrJoin(placed[l].table[g], " ", text)});
    }
  }
  table.Print(context.out);
}

}  // namespace

absl::Status PlaceExperts(const Context& context, const PlaceArguments& arguments) {
  if (arguments.sequences.length == 0) {  // otherwise ChooseSequencesFor is as strict
    BALLAST_RETURN_IF_ERROR(CheckSampleIsUsed(arguments.tokens, {arguments.options.strategy}));
  }
  BALLAST_ASSIGN_OR_RETURN(const NpyArray array, ReadArray(arguments.loads));
  const auto loads = LoadsOf(array);
  if (!loads.ok()) return AtFile(arguments.loads, loads.status());
  std::vector<CoactivationMatrix> together;
  PlaceOptions options = arguments.options;
  std::optional<SequenceSample> sample;
  SequenceChoice choice;
  if (!arguments.tokens.empty()) {
    const int experts = static_cast<int>((*loads)[0].size());
    if (arguments.sequences.length > 0) {
      BALLAST_ASSIGN_OR_RETURN(sample, ReadSequences(arguments.tokens, experts, arguments.sequences.length));
      BALLAST_ASSIGN_OR_RETURN(
          choice, ChooseSequencesFor(*sample, {options.strategy, options.ranks, options.ranks_per_node,
                                               static_cast<int>(loads->size()), experts,
                                               options.evaluations_max, options.seed}));
      options.sequences = &choice;
    } else {
      BALLAST_ASSIGN_OR_RETURN(together, ReadPairs(arguments.tokens, experts));
    }
  }
  const absl::StatusOr<std::vector<PlacedLayer>> placed = Place(*loads, together, options);
  if (!placed.ok()) return BadInput(placed.status());
  if (sample) {
    std::vector<SlotTable> tables;
    for (const PlacedLayer& layer : *placed) tables.push_back(layer.table);
    BALLAST_RETURN_IF_ERROR(
        WriteSequences(arguments.sequences, *sample, choice, tables, options.ranks_per_node));
  }
  if (!PrintForPrograms(context, ToJson(PlanFileOf(*placed, arguments)))) PrintTable(context, *placed);
  return absl::OkStatus();
}

}  // namespace ballast

#include "worker/checkpoint/checkpoint_layout.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/check.h"

namespace ballast {
namespace {

// "model-00002-of-00003.safetensors" for those that have something to write.
template <class Empty, class Set>
void NumberFiles(std::vector<CheckpointPart>& parts, const char* kind, const Empty& empty, const Set& set) {
  int files = 0;
  for (const CheckpointPart& part : parts) files += !empty(part);
  int file = 0;
  for (CheckpointPart& part : parts) {
    if (!empty(part)) set(part, absl::StrFormat("%s-%05d-of-%05d.safetensors", kind, ++file, files));
  }
}

}  // namespace

std::vector<CheckpointPart> DivideCheckpoint(const ParameterLayout& layout, const PlanBody& plan,
                                             const PlanBody& next) {
  std::vector<CheckpointPart> parts(plan.speeds.size());
  for (size_t b = 0; b < plan.homes.size(); ++b) {
    parts[plan.homes[b].index()].blocks.push_back(BlockId(static_cast<int>(b)));
  }
  std::vector<std::vector<std::vector<Rank>>> hosts;  // [layer][expert]
  for (const LayerPlan& layer : next.layers) hosts.push_back(layer.Hosts(layout.experts()));
  for (size_t p = 0; p < layout.parameters().size(); ++p) {
    const Parameter& parameter = layout.parameters()[p];
    // Every rank holds the dense ones.
    Rank writer(0);
    if (parameter.expert.has_value()) {
      const std::vector<Rank>& ranks = hosts[parameter.layer->index()][parameter.expert->index()];
      BALLAST_CHECK(!ranks.empty()) << parameter.name << " has no slot";
      writer = ranks[0];
    }
    parts[writer.index()].parameters.push_back(static_cast<int>(p));
  }
  NumberFiles(
      parts, "optimizer", [](const CheckpointPart& part) { return part.blocks.empty(); },
      [](CheckpointPart& part, std::string name) { part.optimizer_file = std::move(name); });
  NumberFiles(
      parts, "model", [](const CheckpointPart& part) { return part.parameters.empty(); },
      [](CheckpointPart& part, std::string name) { part.model_file = std::move(name); });
  return parts;
}

std::string StateName(const Parameter& parameter, int64_t offset, int part) {
  return absl::StrCat(parameter.name, "@", offset, ".", kStateParts[part]);
}

std::string ModelIndexText(const ParameterLayout& layout, const std::vector<CheckpointPart>& parts,
                           size_t element_bytes) {
  nlohmann::ordered_json index;
  index["metadata"]["total_size"] = layout.total_elements() * static_cast<int64_t>(element_bytes);
  nlohmann::ordered_json& map = index["weight_map"] = nlohmann::ordered_json::object();
  std::vector<std::string> file_of(layout.parameters().size());
  for (const CheckpointPart& part : parts) {
    for (int parameter : part.parameters) file_of[static_cast<size_t>(parameter)] = part.model_file;
  }
  for (size_t p = 0; p < file_of.size(); ++p) map[layout.parameters()[p].name] = file_of[p];
  return index.dump(2) + "\n";
}

}  // namespace ballast

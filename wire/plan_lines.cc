#include "wire/plan_lines.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "plan/apportion.h"
#include "wire/strict_reader.h"

namespace ballast {
namespace {

constexpr int64_t kWhole = 65536;

absl::Status Bad(const std::string& path, const std::string& text) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", text));
}

// The table of shares in the shape of `line`'s hosts.
absl::Status AddFractions(const v1::PlanLine& line, v1::PlanFile::Layer* layer) {
  if (line.frac_size() != line.hosts_size()) {
    return Bad("frac", absl::StrCat("found ", line.frac_size(), " lists, allowed ", line.hosts_size(),
                                    " (as in hosts)"));
  }
  struct Place {
    int rank = 0;
    int index = 0;
  };
  std::map<int, std::vector<Place>> places;  // of each expert
  std::map<int, std::vector<int64_t>> weights;
  for (int r = 0; r < line.hosts_size(); ++r) {
    const auto& experts = line.hosts(r).experts();
    const auto& shares = line.frac(r).shares();
    if (shares.size() != experts.size()) {
      return Bad(absl::StrCat("frac[", r, "]"), absl::StrCat("found ", shares.size(), " numbers, allowed ",
                                                             experts.size(), " (as in hosts)"));
    }
    v1::RankFractions* row = layer->mutable_split()->add_fractions();
    for (int i = 0; i < shares.size(); ++i) {
      if (!(shares[i] >= 0 && shares[i] <= 1)) {
        return Bad(absl::StrCat("frac[", r, "][", i, "]"),
                   absl::StrCat("found ", shares[i], ", allowed 0..1"));
      }
      row->add_fractions(0);
      places[experts[i]].push_back({r, i});
      weights[experts[i]].push_back(std::llround(shares[i] * kWhole));
    }
  }
  for (const auto& [expert, of_expert] : weights) {
    if (std::all_of(of_expert.begin(), of_expert.end(), [](int64_t weight) { return weight == 0; })) {
      return Bad("frac",
                 absl::StrCat("found shares of expert ", expert, " that sum to 0, allowed a sum of 1"));
    }
    const std::vector<int64_t> parts = Apportion(kWhole, of_expert);
    for (size_t i = 0; i < parts.size(); ++i) {
      const Place& place = places[expert][i];
      layer->mutable_split()
          ->mutable_fractions(place.rank)
          ->set_fractions(place.index, static_cast<uint32_t>(parts[i]));
    }
  }
  return absl::OkStatus();
}

absl::Status AddLine(const v1::PlanLine& line, std::set<int>& layers, v1::PlanFile* file) {
  if (!line.has_layer()) return Bad("layer", "found nothing, allowed a MoE layer, from 0");
  if (!layers.insert(line.layer()).second) {
    return Bad("layer", absl::StrCat("found layer ", line.layer(),
                                     " a second time, allowed once: take the lines of one step"));
  }
  if (line.hosts_size() == 0) return Bad("hosts", "found nothing, allowed a list of experts for each rank");
  v1::PlanFile::Layer* layer = file->add_layers();
  layer->set_layer(line.layer());
  *layer->mutable_hosts() = line.hosts();
  layer->mutable_split()->set_kind(v1::SPLIT_KIND_EXACT);
  if (line.frac_size() == 0) return absl::OkStatus();
  layer->mutable_split()->set_kind(v1::SPLIT_KIND_FRACTIONS);
  return AddFractions(line, layer);
}

}  // namespace

bool ArePlanLines(const SourceText& source) {
  if (absl::EndsWith(source.name, ".jsonl")) return true;
  const absl::StatusOr<SourceNode> first =
      ParseJson({source.name, source.text.substr(0, source.text.find('\n'))});
  if (!first.ok() || first->kind != SourceNode::Kind::kMap) return false;
  return std::any_of(first->entries.begin(), first->entries.end(),
                     [](const SourceEntry& entry) { return entry.key == "hosts"; });
}

absl::StatusOr<v1::PlanFile> ReadPlanLines(const SourceText& source) {
  v1::PlanFile file;
  std::set<int> layers;
  std::string before;  // the ends of earlier lines, so that positions are those of the file
  for (size_t begin = 0; begin < source.text.size(); before += '\n') {
    const size_t end = std::min(source.text.find('\n', begin), source.text.size());
    const std::string text = source.text.substr(begin, end - begin);
    begin = end + 1;
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    v1::PlanLine line;
    BALLAST_ASSIGN_OR_RETURN(const FieldPositions positions, ReadStrict({source.name, before + text}, &line));
    BALLAST_RETURN_IF_ERROR(positions.Locate(AddLine(line, layers, &file)));
  }
  if (file.layers_size() == 0) {
    return absl::InvalidArgumentError(absl::StrCat(source.name, ": found no line, allowed one or more"));
  }
  return file;
}

}  // namespace ballast

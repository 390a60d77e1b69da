#include "wire/plan_file.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "plan/validate.h"
#include "wire/convert_plan.h"
#include "wire/field_checker.h"

namespace ballast {
namespace {

absl::Status Bad(const std::string& path, const std::string& text) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", text));
}

// What needs no plan to compare with.
absl::Status CheckFile(const v1::PlanFile& file) {
  FieldChecker check;
  check.Whole("base_version", BALLAST_FIELD(file, base_version),
              {1, INT64_MAX, "the plan that the file changes"});
  check.Whole("not_before_step", BALLAST_FIELD(file, not_before_step), {0, INT64_MAX}, 0);
  std::set<int> layers;
  for (int i = 0; i < file.layers_size() && check.ok(); ++i) {
    std::string path = absl::StrCat("layers[", i, "].layer");
    int layer = check.Whole(path, BALLAST_FIELD(file.layers(i), layer), {0, INT32_MAX});
    check.Require(layers.insert(layer).second, path,
                  absl::StrCat("found layer ", layer, " a second time, allowed once"));
    const v1::PlanFile::Layer& change = file.layers(i);
    bool fractions_without_hosts = change.split().fractions_size() > 0 && change.hosts_size() == 0;
    check.Require(!fractions_without_hosts, absl::StrCat("layers[", i, "].split.fractions"),
                  "found a table without hosts, allowed one in the shape of hosts");
  }
  std::set<int> blocks;
  for (int i = 0; i < file.homes_size() && check.ok(); ++i) {
    std::string path = absl::StrCat("homes[", i, "]");
    int block = check.Whole(path + ".block", BALLAST_FIELD(file.homes(i), block), {0, INT32_MAX});
    check.Whole(path + ".rank", BALLAST_FIELD(file.homes(i), rank), {0, INT32_MAX});
    check.Require(blocks.insert(block).second, path + ".block",
                  absl::StrCat("found block ", block, " a second time, allowed once"));
  }
  return check.status();
}

// Index of the slot that each named expert takes: [rank][position in hosts].
using SlotIndices = std::vector<std::vector<int>>;

// Replaces the rank's slots. Requires experts that are in range and named once.
absl::StatusOr<std::vector<int>> PlaceOnRank(const std::vector<ExpertId>& wanted, const std::string& path,
                                             std::vector<Slot>& slots) {
  if (wanted.size() > slots.size()) {
    return Bad(path, absl::StrCat("found ", wanted.size(), " experts, allowed at most ", slots.size(),
                                  " (placement.slots_per_rank)"));
  }
  std::vector<Slot> next(slots.size());
  std::vector<int> indices(wanted.size(), -1);
  for (size_t i = 0; i < wanted.size(); ++i) {
    for (size_t s = 0; s < slots.size(); ++s) {
      if (slots[s] == wanted[i]) {
        next[s] = wanted[i];
        indices[i] = static_cast<int>(s);
      }
    }
  }
  size_t free = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (indices[i] >= 0) continue;
    while (next[free].has_value()) ++free;
    next[free] = wanted[i];
    indices[i] = static_cast<int>(free);
  }
  slots = std::move(next);
  return indices;
}

absl::StatusOr<SlotIndices> ApplyHosts(const v1::PlanFile::Layer& change, const std::string& path,
                                       int experts, LayerPlan& layer) {
  const int ranks = static_cast<int>(layer.slots.size());
  if (change.hosts_size() != ranks) {
    return Bad(path,
               absl::StrCat("found ", change.hosts_size(), " lists, allowed ", ranks, " (one per rank)"));
  }
  std::vector<bool> hosted(experts, false);
  SlotIndices indices;
  for (int r = 0; r < ranks; ++r) {
    std::string rank_path = absl::StrCat(path, "[", r, "]");
    std::vector<ExpertId> wanted;
    std::set<int> seen;
    for (int i = 0; i < change.hosts(r).experts_size(); ++i) {
      int expert = change.hosts(r).experts(i);
      std::string expert_path = absl::StrCat(rank_path, "[", i, "]");
      if (expert < 0 || expert >= experts) {
        return Bad(expert_path, absl::StrCat("found expert ", expert, ", allowed 0..", experts - 1));
      }
      if (!seen.insert(expert).second) {
        return Bad(expert_path,
                   absl::StrCat("found expert ", expert, " a second time, allowed once on a rank"));
      }
      hosted[expert] = true;
      wanted.push_back(ExpertId(expert));
    }
    BALLAST_ASSIGN_OR_RETURN(std::vector<int> placed, PlaceOnRank(wanted, rank_path, layer.slots[r]));
    indices.push_back(std::move(placed));
  }
  for (int e = 0; e < experts; ++e) {
    if (!hosted[e])
      return Bad(path, absl::StrCat("found no slot for expert ", e, ", allowed at least one for each"));
  }
  return indices;
}

// Puts the file's fractions, in the order of its hosts, where the slots are.
absl::Status ApplyFractions(const v1::SplitPolicy& split, const std::string& path, const SlotIndices& indices,
                            LayerPlan& layer) {
  if (split.fractions_size() != static_cast<int>(indices.size())) {
    return Bad(path, absl::StrCat("found ", split.fractions_size(), " lists, allowed ", indices.size(),
                                  " (one per rank)"));
  }
  layer.split.fractions.clear();
  for (size_t r = 0; r < indices.size(); ++r) {
    const auto& row = split.fractions(static_cast<int>(r)).fractions();
    if (row.size() != static_cast<int>(indices[r].size())) {
      return Bad(absl::StrCat(path, "[", r, "]"), absl::StrCat("found ", row.size(), " numbers, allowed ",
                                                               indices[r].size(), " (as in hosts)"));
    }
    std::vector<uint32_t>& table = layer.split.fractions.emplace_back(layer.slots[r].size(), 0);
    for (int i = 0; i < row.size(); ++i) table[indices[r][i]] = row[i];
  }
  return absl::OkStatus();
}

absl::Status ApplySplit(const v1::PlanFile::Layer& change, const std::string& path,
                        const SlotIndices& indices, LayerPlan& layer) {
  if (!change.has_split()) {
    bool stale_table = layer.split.kind == SplitKind::kFractions && change.hosts_size() > 0;
    if (stale_table) {
      return Bad(path, "found nothing, allowed a split: the base plan's fractions belong to its own slots");
    }
    return absl::OkStatus();
  }
  if (!change.split().has_kind()) {
    return Bad(path + ".kind", "found nothing, allowed exact, fractions, even");
  }
  auto split = FromProto(change.split());
  if (!split.ok())
    return Bad(absl::StrCat(path, ".kind"),
               "found a kind that is unknown here, allowed exact, fractions, even");
  layer.split.kind = split->kind;
  layer.split.fractions.clear();
  if (split->kind == SplitKind::kFractions) {
    return ApplyFractions(change.split(), path + ".fractions", indices, layer);
  }
  if (change.split().fractions_size() > 0) {
    return Bad(path + ".fractions", "found a table, allowed none unless the kind is fractions");
  }
  return absl::OkStatus();
}

absl::Status ApplySchedule(const v1::LayerSchedule& change, const std::string& path, const PlanLimits& limits,
                           LayerSchedule& schedule) {
  FieldChecker check;
  schedule.all_to_all = check.Choice(path + ".all_to_all", BALLAST_FIELD(change, all_to_all),
                                     limits.all_to_alls, schedule.all_to_all);
  schedule.chunks =
      check.Whole(path + ".chunks", BALLAST_FIELD(change, chunks), {1, limits.chunks_max}, schedule.chunks);
  schedule.task_order = check.Choice(path + ".task_order", BALLAST_FIELD(change, task_order),
                                     limits.task_orders, schedule.task_order);
  schedule.dispatch_compressor =
      check.Choice(path + ".dispatch_compressor", BALLAST_FIELD(change, dispatch_compressor),
                   limits.compressors, schedule.dispatch_compressor);
  schedule.combine_compressor =
      check.Choice(path + ".combine_compressor", BALLAST_FIELD(change, combine_compressor),
                   limits.compressors, schedule.combine_compressor);
  return check.status();
}

absl::Status ApplyLayer(const v1::PlanFile::Layer& change, const std::string& path, const PlanLimits& limits,
                        int experts, PlanBody& body) {
  const int layers = static_cast<int>(body.layers.size());
  if (change.layer() < 0 || change.layer() >= layers) {
    return Bad(path + ".layer", absl::StrCat("found ", change.layer(), ", allowed 0..", layers - 1));
  }
  LayerPlan& layer = body.layers[change.layer()];
  SlotIndices indices;
  if (change.hosts_size() > 0) {
    BALLAST_ASSIGN_OR_RETURN(indices, ApplyHosts(change, path + ".hosts", experts, layer));
  }
  BALLAST_RETURN_IF_ERROR(ApplySplit(change, path + ".split", indices, layer));
  return ApplySchedule(change.schedule(), path + ".schedule", limits, layer.schedule);
}

}  // namespace

absl::StatusOr<PlanFileText> ReadPlanFile(const SourceText& source) {
  PlanFileText text;
  BALLAST_ASSIGN_OR_RETURN(text.positions, ReadStrict(source, &text.file));
  BALLAST_RETURN_IF_ERROR(text.positions.Locate(CheckFile(text.file)));
  return text;
}

absl::StatusOr<PlanBody> ApplyPlanFile(const v1::PlanFile& file, const PlanBody& base, const JobConfig& job) {
  BALLAST_RETURN_IF_ERROR(CheckFile(file));
  BALLAST_ASSIGN_OR_RETURN(ParameterLayout layout,
                           ParameterLayout::Make(job.model, job.placement.block_elements));
  const int ranks = static_cast<int>(base.speeds.size());
  const PlanLimits limits = LimitsFor(job, layout, ranks);
  BALLAST_CHECK_OK(ValidatePlan(base, layout, limits));

  PlanBody body = base;
  body.predicted_step_seconds = 0;
  if (file.has_reason()) body.reason = file.reason();
  for (int i = 0; i < file.layers_size(); ++i) {
    BALLAST_RETURN_IF_ERROR(
        ApplyLayer(file.layers(i), absl::StrCat("layers[", i, "]"), limits, layout.experts(), body));
  }
  const int blocks = static_cast<int>(body.homes.size());
  for (int i = 0; i < file.homes_size(); ++i) {
    std::string path = absl::StrCat("homes[", i, "]");
    const v1::PlanFile::Home& home = file.homes(i);
    if (home.block() >= blocks)
      return Bad(path + ".block", absl::StrCat("found ", home.block(), ", allowed 0..", blocks - 1));
    if (home.rank() >= ranks)
      return Bad(path + ".rank", absl::StrCat("found ", home.rank(), ", allowed 0..", ranks - 1));
    body.homes[home.block()] = Rank(home.rank());
  }
  BALLAST_RETURN_IF_ERROR(ValidatePlan(body, layout, limits));
  return body;
}

}  // namespace ballast

// libFuzzer: bytes as changes of two valid plans, so that most of what a plan holds is odd in one place and
// not in all. What the validator lets through must be what its contract says, checked here by plain loops,
// and must not hurt those who use plans.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "plan/contiguous.h"
#include "plan/diff.h"
#include "plan/split.h"
#include "plan/validate.h"
#include "tests/plan/fixtures.h"

namespace ballast {
namespace {

constexpr int kRanks = 3, kExperts = 5, kSlots = 3, kLayers = 2;

// Reads values from the input; zeros behind its end.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool empty() const { return at_ >= size_; }
  uint8_t Byte() { return at_ < size_ ? data_[at_++] : uint8_t{0}; }
  // Small mostly, anything at times.
  int32_t Value() {
    const uint8_t small = Byte();
    if (small < 250) return static_cast<int32_t>(small % 16) - 2;
    int32_t value = 0;
    for (int i = 0; i < 4; ++i) value = static_cast<int32_t>(static_cast<uint32_t>(value) << 8 | Byte());
    return value;
  }

 private:
  const uint8_t* const data_;
  const size_t size_;
  size_t at_ = 0;
};

template <class T>
T* Pick(std::vector<T>& values, Input& input) {
  return values.empty() ? nullptr : &values[input.Byte() % values.size()];
}

template <class T>
void Resize(std::vector<T>& values, Input& input) {
  values.resize(static_cast<size_t>(input.Byte()) % (2 * values.size() + 2));
}

void ChangeLayer(LayerPlan& layer, Input& input) {
  const char* const names[] = {"direct", "rails", "two_level", "none", "bf16", "grouped", "", "?"};
  switch (input.Byte() % 12) {
    case 0:
      Resize(layer.slots, input);
      break;
    case 1:
      if (auto* row = Pick(layer.slots, input)) Resize(*row, input);
      break;
    case 2:
    case 3:
    case 4:
      if (auto* row = Pick(layer.slots, input)) {
        if (Slot* slot = Pick(*row, input)) *slot = input.Byte() % 4 ? Slot(ExpertId(input.Value())) : Slot();
      }
      break;
    case 5:
      layer.split.kind = static_cast<SplitKind>(input.Byte() % 5);
      break;
    case 6:  // a table that fits
      layer.split.kind = SplitKind::kFractions;
      layer.split.fractions.clear();
      for (const auto& row : layer.slots) {
        layer.split.fractions.emplace_back();
        for (const Slot& slot : row) layer.split.fractions.back().push_back(slot ? 65536 : 0);
      }
      break;
    case 7:
      if (auto* row = Pick(layer.split.fractions, input)) {
        if (uint32_t* share = Pick(*row, input)) *share = static_cast<uint32_t>(input.Value()) * 256;
      }
      break;
    case 8:
      Resize(layer.split.fractions, input);
      break;
    case 9:
      if (auto* row = Pick(layer.split.fractions, input)) Resize(*row, input);
      break;
    case 10:
      layer.schedule.chunks = input.Value();
      break;
    case 11:
      for (std::string* name : {&layer.schedule.all_to_all, &layer.schedule.task_order,
                                &layer.schedule.dispatch_compressor, &layer.schedule.combine_compressor}) {
        if (input.Byte() % 2) *name = names[input.Byte() % 7];
      }
      break;
  }
}

void Change(PlanBody& body, Input& input) {
  switch (input.Byte() % 10) {
    case 0:
      Resize(body.homes, input);
      break;
    case 1:
    case 2:
      if (Rank* home = Pick(body.homes, input)) *home = Rank(input.Value());
      break;
    case 3:
      Resize(body.speeds, input);
      break;
    case 4:
      if (uint32_t* speed = Pick(body.speeds, input)) *speed = static_cast<uint32_t>(input.Value());
      break;
    case 5:
      Resize(body.layers, input);
      break;
    case 6: {
      uint64_t bits = 0;
      for (int i = 0; i < 8; ++i) bits = bits << 8 | input.Byte();
      std::memcpy(&body.predicted_step_seconds, &bits, sizeof(bits));
      break;
    }
    default:
      if (LayerPlan* layer = Pick(body.layers, input)) ChangeLayer(*layer, input);
  }
}

// The contract again.
void CheckAccepted(const PlanBody& body, const ParameterLayout& layout, const PlanLimits& limits) {
  BALLAST_CHECK(body.homes.size() == layout.blocks().size() && body.speeds.size() == kRanks &&
                body.layers.size() == kLayers);
  BALLAST_CHECK(body.predicted_step_seconds >= 0 && body.predicted_step_seconds < HUGE_VAL);
  int64_t held[kRanks] = {};
  for (size_t b = 0; b < body.homes.size(); ++b) {
    const int home = body.homes[b].value();
    BALLAST_CHECK(home >= 0 && home < kRanks) << home;
    held[home] += layout.blocks()[b].elements;
  }
  for (int64_t elements : held) BALLAST_CHECK(elements <= limits.home_elements_per_rank) << elements;
  for (uint32_t speed : body.speeds) BALLAST_CHECK(speed > 0);
  for (const LayerPlan& layer : body.layers) {
    BALLAST_CHECK(layer.slots.size() == kRanks);
    int copies[kExperts] = {};
    int64_t parts[kExperts] = {};
    for (int r = 0; r < kRanks; ++r) {
      BALLAST_CHECK(layer.slots[r].size() == kSlots);
      for (int i = 0; i < kSlots; ++i) {
        const Slot& slot = layer.slots[r][i];
        if (!slot) continue;
        BALLAST_CHECK(slot->value() >= 0 && slot->value() < kExperts) << slot->value();
        BALLAST_CHECK(std::count(layer.slots[r].begin(), layer.slots[r].end(), slot) == 1);
        ++copies[slot->value()];
        if (layer.split.kind == SplitKind::kFractions) parts[slot->value()] += layer.split.fractions[r][i];
      }
    }
    for (int e = 0; e < kExperts; ++e) {
      BALLAST_CHECK(copies[e] > 0) << "expert " << e;
      BALLAST_CHECK(layer.split.kind != SplitKind::kFractions || parts[e] == 65536) << parts[e];
    }
    BALLAST_CHECK(layer.schedule.chunks >= 1 && layer.schedule.chunks <= limits.chunks_max);
    const CountMatrix counts(kRanks, {7, 0, 100, 1, 3});
    const auto split = ComputeSplit(counts, layer, kExperts, body.speeds, Topology::OneNode(kRanks));
    BALLAST_CHECK_OK(split.status());
    int64_t tokens = 0;
    for (int64_t of_rank : split->rank_tokens) tokens += of_rank;
    BALLAST_CHECK(tokens == kRanks * 111) << tokens;
  }
}

void Run(Input input) {
  static const JobConfig job = testing::SmallJob(kLayers, kExperts, kSlots);
  static const ParameterLayout layout = testing::LayoutOf(job);
  static const PlanLimits limits = LimitsFor(job, layout, kRanks);
  static const PlanBody start = *ContiguousPlan(job, layout, kRanks);
  BALLAST_CHECK_OK(ValidatePlan(start, layout, limits));
  PlanBody current = start, next = start;
  while (!input.empty()) Change(input.Byte() % 4 ? next : current, input);
  const absl::Status valid = ValidatePlan(next, layout, limits);
  if (!valid.ok()) {
    BALLAST_CHECK(valid.code() == absl::StatusCode::kInvalidArgument && !valid.message().empty()) << valid;
  } else {
    CheckAccepted(next, layout, limits);
  }
  if (ValidateTransition(current, next, layout, limits).ok()) {
    BALLAST_CHECK_OK(valid);
    CheckAccepted(current, layout, limits);
    const PlanDiff diff = Diff(current, next, layout);
    for (int64_t bytes : diff.home_bytes_in) BALLAST_CHECK(bytes <= limits.home_move_bytes_max) << bytes;
    for (size_t l = 0; l < kLayers; ++l) {
      for (int r = 0; r < kRanks; ++r) {
        for (int i = 0; i < kSlots; ++i) {
          const Slot& slot = current.layers[l].slots[r][i];
          if (!slot) continue;
          const auto index = next.layers[l].SlotIndex(Rank(r), *slot);
          BALLAST_CHECK(!index || *index == i) << "an expert that stays changes its slot";
        }
      }
    }
  }
}

}  // namespace
}  // namespace ballast

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ballast::Run({data, size});
  return 0;
}

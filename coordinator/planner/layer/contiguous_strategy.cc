// The yardstick: stays with what there is.
#include "coordinator/planner/layer/layer_strategy.h"

namespace ballast {
namespace {

class ContiguousStrategy final : public LayerStrategy {
 public:
  std::optional<LayerChoice> Choose(const LayerView&) const override { return std::nullopt; }
};

}  // namespace

LayerStrategyPtr MakeContiguousStrategy() { return std::make_shared<ContiguousStrategy>(); }

}  // namespace ballast

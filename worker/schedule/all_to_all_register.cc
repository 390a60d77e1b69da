#include "worker/schedule/all_to_alls.h"

namespace ballast {

const Registry<AllToAllPtr>& AllToAlls() {
  static const auto& registry = *[] {
    auto* r = new Registry<AllToAllPtr>("all-to-all algorithm");
    r->Add("direct", "every rank sends to every rank", MakeDirect());
    r->Add("rails", "to the other node on the source's rail, handed on there", MakeRails());
    r->Add("two_level", "gather in the node, one message per pair of nodes, scatter there", MakeTwoLevel());
    return r;
  }();
  return registry;
}

}  // namespace ballast

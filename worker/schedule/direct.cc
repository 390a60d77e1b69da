// direct: every rank sends to every rank. One stage, N - 1 messages per rank, each row on the wire once.
#include <memory>

#include "worker/schedule/all_to_alls.h"
#include "worker/schedule/row_carrier.h"

namespace ballast {
namespace {

class Direct final : public AllToAll {
 public:
  std::string name() const override { return "direct"; }

  std::vector<char> Wanted(const Topology& topology, Rank self) const override {
    std::vector<char> wanted(static_cast<size_t>(topology.ranks()), 0);
    wanted[self.index()] = 1;
    return wanted;
  }

  absl::Status Exchange(const AllToAllContext& context, const Route& route, Direction direction,
                        const Compressor& compressor, Matrix in, Matrix out) const override {
    auto straight = [](const RowRun& run) { return std::vector<Rank>{run.to}; };
    return CarryRows(context, RunsOf(route, direction), straight, 1, compressor, in, out);
  }
};

}  // namespace

AllToAllPtr MakeDirect() { return std::make_shared<Direct>(); }

}  // namespace ballast

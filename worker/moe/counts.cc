#include "worker/moe/counts.h"

#include <memory>

#include "base/status_macros.h"

namespace ballast {

absl::StatusOr<CountMatrix> GatherCounts(const MoeContext& context, const int64_t* own, int experts,
                                         GrowingBuffer& buffer, std::vector<int64_t>& host) {
  const int ranks = context.communicator.size();
  const size_t bytes = static_cast<size_t>(experts) * sizeof(int64_t);
  BALLAST_ASSIGN_OR_RETURN(int64_t* const all, buffer.Array<int64_t>(int64_t{ranks} * experts));
  std::unique_ptr<Pending> pending =
      context.communicator.AllGather(context.stream, own, std::vector<size_t>(ranks, bytes), all);
  BALLAST_RETURN_IF_ERROR(context.communicator.Wait(*pending, context.deadline));
  host.resize(static_cast<size_t>(ranks) * experts);
  context.backend.Copy(context.stream, host.data(), all, ranks * bytes);
  BALLAST_RETURN_IF_ERROR(context.backend.Synchronize(context.stream));

  CountMatrix counts;
  for (int r = 0; r < ranks; ++r) {
    const auto row = host.begin() + int64_t{r} * experts;
    counts.emplace_back(row, row + experts);
  }
  return counts;
}

}  // namespace ballast

#include "worker/moe/counts.h"

#include <memory>

#include "base/status_macros.h"

namespace ballast {

absl::StatusOr<CountMatrix> GatherCounts(const MoeContext& context, const std::vector<int64_t>& own,
                                         GrowingBuffer& buffer) {
  const int ranks = context.communicator.size();
  const size_t experts = own.size();
  const size_t bytes = experts * sizeof(int64_t);
  // This rank's counts, then everybody's.
  BALLAST_ASSIGN_OR_RETURN(int64_t* const mine,
                           buffer.Array<int64_t>(static_cast<int64_t>((ranks + 1) * experts)));
  int64_t* const all = mine + experts;
  context.backend.Copy(context.stream, mine, own.data(), bytes);
  std::unique_ptr<Pending> pending =
      context.communicator.AllGather(context.stream, mine, std::vector<size_t>(ranks, bytes), all);
  BALLAST_RETURN_IF_ERROR(context.communicator.Wait(*pending, context.deadline));

  CountMatrix counts(ranks, std::vector<int64_t>(experts));
  for (int r = 0; r < ranks; ++r)
    context.backend.Copy(context.stream, counts[r].data(), all + r * experts, bytes);
  BALLAST_RETURN_IF_ERROR(context.backend.Synchronize(context.stream));
  return counts;
}

}  // namespace ballast

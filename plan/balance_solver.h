// The solver behind balance.h, kept from call to call so that a loop allocates nothing. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/balance.h"
#include "plan/copies.h"
#include "plan/least_bound.h"

namespace ballast {

class BalanceSolver {
 public:
  // As BalanceCopies; writes `quotas`, by copy.
  void Solve(const std::vector<int64_t>& tokens, const Copies& copies, const std::vector<uint32_t>& speeds,
             const TokenSources* sources, std::vector<int64_t>& quotas);

 private:
  // A copy of an expert with several hosts. All copies of all such experts lie in one row, by expert and then
  // by rising rank.
  struct Copy {
    int64_t flow = 0;
    int32_t rank = 0;
    int32_t split = 0;  // index into splits_
  };
  // An expert with tokens and several hosts.
  struct Split {
    int64_t left = 0;    // tokens not routed
    int64_t tokens = 0;  // in all
    int32_t expert = 0;
    int32_t first = 0;  // its first copy; those of the next one follow
    uint32_t seen = 0;  // the last search that saw it; kStuck
  };
  struct OfRank {
    int64_t spare = 0;
    // How a search came to it: by which of its copies and from which copy, on the rank before it, of the same
    // expert (-1: the start).
    uint32_t search = 0;  // which search; others' steps are old
    int32_t copy = -1;
    int32_t via = -1;
    int32_t begin = 0;  // its copies are residents_[begin] and on, to the next rank's
  };
  // In Split::seen: no path leads from it to room, as long as the bound holds. Beyond all searches' numbers.
  static constexpr uint32_t kStuck = ~uint32_t{0};

  int splits() const { return static_cast<int>(splits_.size()) - 1; }
  int ranks() const { return static_cast<int>(ranks_.size()) - 1; }
  void Prepare();
  void LookUpSources();
  void ListResidents();
  LoadRatio FirstBound();
  bool Route(const LoadRatio& bound);
  LoadRatio Raised(LoadRatio bound);
  LoadRatio BoundOfCuts();
  void Put(Copy& copy, int64_t amount);
  void FillFromOwnNode(int k);
  template <class Each>
  void Fill(int64_t amount, const Each& each);
  bool AugmentAll();
  bool Augment(Split& split);
  int SearchFrom(int k);
  int SearchOn();
  bool Shift(int end, Split& split);
  void StickSeen();
  void ForgetStuck();

  // Of the call.
  const std::vector<int64_t>* tokens_ = nullptr;
  const Copies* all_ = nullptr;
  const std::vector<uint32_t>* speeds_ = nullptr;
  const TokenSources* sources_ = nullptr;
  bool one_speed_ = false;  // all ranks are equally fast

  int64_t total_ = 0;           // tokens of all experts
  std::vector<int64_t> fixed_;  // [rank] tokens of experts with one host
  std::vector<Split> splits_;   // by rising expert; one more at the end
  std::vector<Copy> copies_;
  std::vector<OfRank> ranks_;         // one more at the end
  std::vector<int> residents_;        // copies by rank
  std::vector<int64_t> node_tokens_;  // [node][expert] when the caller has not summed them
  // With sources.
  std::vector<int64_t> own_;  // [copy] tokens of its expert that start on its rank
  std::vector<int> node_;     // [copy]
  std::vector<int> chosen_;   // copies of a node
  std::vector<int> cut_;      // ranks of a bound
  // Of searches.
  uint32_t search_ = 0;
  // How far the last search has come.
  struct Cursor {
    int queued = 0, seen = 0;            // ranks in queue_, experts in seen_
    int next = 0;                        // of the queue: the rank that comes after the one at hand
    int resident = 0, resident_end = 0;  // of the rank at hand: those not looked at
    int copy = 0, copy_end = 0;          // of the expert at hand: likewise
    int via = -1;                        // how the search came to the expert
  };
  Cursor cursor_;
  std::vector<int> queue_;  // ranks
  std::vector<int> seen_;   // splits
};

}  // namespace ballast

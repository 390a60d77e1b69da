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
  // A copy of an expert with several hosts. All copies of all such experts lie in one row.
  struct Copy {
    int32_t split = 0;  // index into split_
    int32_t rank = 0;
    int32_t node = 0;  // with sources
    int64_t own = 0;   // with sources: tokens of the expert that start on the rank
  };

  int splits() const { return static_cast<int>(split_.size()); }
  void Prepare();
  void LookUpSources();
  void ListResidents();
  LoadRatio FirstBound();
  void Route(const LoadRatio& bound);
  void Put(int copy, int64_t amount);
  void FillFromOwnNode(int k);
  void FillChosen(int64_t amount);
  int Search(int expert);
  int Visit(int k, int via);
  void MarkSeen();
  bool Augment(int k);
  LoadRatio BoundOfCut(int k);

  // Of the call.
  const std::vector<int64_t>* tokens_ = nullptr;
  const Copies* all_ = nullptr;
  const std::vector<uint32_t>* speeds_ = nullptr;
  const TokenSources* sources_ = nullptr;
  bool one_speed_ = false;  // all ranks are equally fast

  int64_t total_ = 0;                 // tokens of all experts
  std::vector<int64_t> fixed_;        // [rank] tokens of experts with one host
  std::vector<int> split_;            // experts with tokens and several hosts, rising
  std::vector<int> first_;            // [k] first copy of split_[k]; one more at the end
  std::vector<Copy> copies_;          // by split expert, then by rising rank
  std::vector<int> resident_begin_;   // [rank] into residents_; one more at the end
  std::vector<int> residents_;        // copies by rank
  std::vector<int> next_;             // [rank] while residents are listed
  std::vector<int64_t> node_tokens_;  // [node][expert] when the caller has not summed them
  std::vector<int64_t> flow_;         // [copy]
  std::vector<int64_t> spare_;        // [rank]
  std::vector<int64_t> left_;         // [k] tokens not routed
  std::vector<int> chosen_;           // copies that FillChosen gives to
  std::vector<int> ranks_;            // of a bound
  // Of the last Search: how a rank was reached, by which of its copies and from which copy, on the rank
  // before it, of the same expert (-1: the start).
  struct Step {
    uint32_t search = 0;  // which search; others' steps are old
    int copy = -1;
    int via = -1;
  };
  uint32_t search_ = 0;
  std::vector<Step> entered_;         // [rank]
  std::vector<uint32_t> seen_split_;  // [k] the last search that saw it
  std::vector<char> stuck_;           // [k] of the Route at hand: no path leads to room
  std::vector<int> queue_;
};

}  // namespace ballast

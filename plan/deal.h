// Whose tokens go where: each expert's quotas dealt to the sources of its tokens. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "plan/balance.h"
#include "plan/copies.h"
#include "plan/topology.h"

namespace ballast {

// Kept from call to call, so that a loop allocates nothing.
class ShareDealer {
 public:
  // A source's own host takes its tokens first, then hosts of its node, the rest goes in proportion to what
  // sources still have and hosts still take. With `even_out`, whose tokens a node's hosts leave to other
  // nodes is chosen, expert by expert, so that the node's sources send as much as each other out of it (water
  // filling over what they have sent so far), instead of in proportion. All shares sum to the counts by
  // source and to the quotas by host. Only those are made whose source or host is `wanted` ([rank], 0 or 1):
  // every rank that makes its own gets the same numbers as one that makes all. Requires
  // sources.counts[source][expert] and their sums of_node, copies with slots, quotas by copy that sum to the
  // counts. Integers alone, in a fixed order.
  void Deal(const TokenSources& sources, const Copies& copies, const std::vector<int64_t>& quotas,
            const std::vector<char>& wanted, bool even_out = false);

  // What the last Deal made, while what was given to it is there. By rising (source, expert, host):
  // begin(source) for each source, then add(copy, expert, count) for its shares; a count may be 0.
  template <class Begin, class Add>
  void ForEach(const Begin& begin, const Add& add) const;
  // How many counts are not 0.
  size_t shares() const { return shares_; }
  // [copy] tokens of the shares to it.
  const std::vector<int64_t>& rows() const { return rows_; }

 private:
  // The ranks of a node. When no wanted rank lies between its first and its last, what its ranks have is
  // needed as a sum alone: the node is closed.
  struct Node {
    int first = -1, last = -1;  // ranks
    bool closed = true;
    int64_t left = 0;   // of a closed one: tokens of the expert at hand not dealt yet
    int dealt_to = -1;  // the last expert whose tokens were dealt inside the node
  };

  void Prepare(const std::vector<char>& wanted);
  void SumWhatMustLeave();
  int64_t Count(int rank, int expert) const { return counts_of_rank_[rank][expert]; }
  size_t RowAt(int wanted) const { return static_cast<size_t>(wanted) * expert_of_copy_.size(); }
  size_t ColumnsAt(int source) const { return static_cast<size_t>(source) * columns_wanted_.size(); }
  int64_t* RowOf(int wanted) { return row_cells_.data() + RowAt(wanted); }
  int64_t* ColumnsOf(int source) { return column_cells_.data() + ColumnsAt(source); }
  void GiveAll(int expert, int copy);
  void DealExpert(int expert);
  void LookUp(int expert);
  void DealInNode(int node);
  void LeaveEvenly(const Node& node, int64_t supplied, int64_t amount);
  void DealRest();
  void DivideOverChosen(int64_t amount, int64_t demanded, bool ratios);
  void GiveRow(int row, int64_t before, int64_t take);
  void SumRows();

  // Of the call.
  std::vector<const int64_t*> counts_of_rank_;  // [rank] by expert
  const std::vector<int64_t>* of_node_ = nullptr;
  const Copies* copies_ = nullptr;
  const std::vector<int64_t>* quotas_ = nullptr;
  int ranks_ = 0;
  std::vector<Node> nodes_;
  std::vector<int> node_of_rank_, next_of_node_;  // [rank] its node, and the next rank there; -1
  // Ranks, rising, and in place of a closed node's last rank the node, as ~node: whoever adds up in this
  // order what they have left knows what ranks before a wanted one have.
  std::vector<int> order_;
  std::vector<int> rows_wanted_;         // ranks, rising
  std::vector<int> row_of_rank_;         // [rank] index of a wanted source; -1
  std::vector<int> columns_wanted_;      // copies
  std::vector<int> column_of_copy_;      // [copy] index of a wanted host's copy; -1
  std::vector<char> expert_has_column_;  // [expert]
  std::vector<int> expert_of_copy_;
  // Two tables, so that what is dealt expert by expert can be read source by source.
  std::vector<int64_t> row_cells_;     // [wanted source][copy]
  std::vector<int64_t> column_cells_;  // [source][wanted copy]; of wanted sources nobody asks
  std::vector<int64_t> rows_;          // [copy]
  size_t shares_ = 0;

  // Of the expert at hand.
  int first_ = 0;              // its first copy
  bool in_full_ = false;       // some column is wanted, so what every rank has left is needed
  std::vector<int64_t> left_;  // [rank] tokens not dealt yet; not of closed nodes unless in_full_
  std::vector<int64_t> open_;  // [host] tokens it still takes
  std::vector<int> chosen_;    // copies that are dealt to
  bool even_out_ = false;      // of the call
  std::vector<int64_t> away_;  // [node][expert] -1 (all bits) where the node has no copy; otherwise 0
  std::vector<int64_t> sent_;  // [rank] with even_out_: tokens out of its node, of the experts so far
  struct Leaving {
    int rank = 0;
    int64_t from = 0, to = 0;  // what it has sent, and would have with all that it has left
  };
  std::vector<Leaving> leaving_;
  std::vector<int64_t> take_;  // [rank] with even_out_: tokens of the expert at hand that its node computes
  // Of the dealing at hand.
  std::vector<uint64_t> ratios_;  // of the chosen copies, until nothing is left
  size_t last_wanted_ = 0;        // chosen copies up to here concern rows that are not wanted
};

template <class Begin, class Add>
void ShareDealer::ForEach(const Begin& begin, const Add& add) const {
  for (int source = 0; source < ranks_; ++source) {
    begin(source);
    if (row_of_rank_[source] >= 0) {
      const int64_t* const cells = row_cells_.data() + RowAt(row_of_rank_[source]);
      for (size_t c = 0; c < expert_of_copy_.size(); ++c)
        add(static_cast<int>(c), expert_of_copy_[c], cells[c]);
    } else {
      const int64_t* const cells = column_cells_.data() + ColumnsAt(source);
      for (size_t i = 0; i < columns_wanted_.size(); ++i)
        add(columns_wanted_[i], expert_of_copy_[columns_wanted_[i]], cells[i]);
    }
  }
}

}  // namespace ballast

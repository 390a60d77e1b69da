#include "worker/optimizer/transfers.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/worker/optimizer/random_plan.h"

namespace ballast {
namespace {

template <class Message>
const Message* FindPeer(const std::vector<Message>& messages, Rank peer) {
  for (const Message& message : messages) {
    if (message.peer == peer) return &message;
  }
  return nullptr;
}

TEST(Transfers, WhatOneRankSendsTheOtherExpects) {
  const ParameterLayout layout = OddLayout();
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    const int ranks = static_cast<int>(rng.Between(1, 5));
    PlanBody from = RandomPlan(rng, layout, ranks, 5, nullptr);
    PlanBody to = RandomPlan(rng, layout, ranks, 5, &from);
    std::vector<ReduceTransfers> reduce;
    std::vector<RefreshTransfers> refresh;
    for (int r = 0; r < ranks; ++r) {
      reduce.push_back(MakeReduceTransfers(layout, from, Rank(r)));
      refresh.push_back(MakeRefreshTransfers(layout, from, to, Rank(r)));
    }
    for (int a = 0; a < ranks; ++a) {
      EXPECT_EQ(FindPeer(reduce[a].sends, Rank(a)), nullptr);
      EXPECT_EQ(FindPeer(refresh[a].sends, Rank(a)), nullptr);
      for (int b = 0; b < ranks; ++b) {
        const BlockMessage* sent = FindPeer(reduce[a].sends, Rank(b));
        const BlockMessage* expected = FindPeer(reduce[b].recvs, Rank(a));
        ASSERT_EQ(sent == nullptr, expected == nullptr);
        if (sent != nullptr) {
          EXPECT_EQ(sent->blocks, expected->blocks);
          EXPECT_EQ(sent->elements, expected->elements);
          EXPECT_GT(sent->elements, 0);
        }
        const RefreshMessage* out = FindPeer(refresh[a].sends, Rank(b));
        const RefreshMessage* in = FindPeer(refresh[b].recvs, Rank(a));
        ASSERT_EQ(out == nullptr, in == nullptr);
        if (out != nullptr) {
          EXPECT_EQ(out->weights, in->weights);
          EXPECT_EQ(out->states, in->states);
          EXPECT_EQ(out->weight_elements, in->weight_elements);
          EXPECT_EQ(out->state_elements, in->state_elements);
        }
      }
    }
  }
}

// From the plan alone, without Holders.
bool HoldsByHand(const ParameterLayout& layout, const PlanBody& plan, int rank, int block) {
  const Parameter& parameter = layout.parameter_of(BlockId(block));
  if (!parameter.expert.has_value()) return true;
  for (const Slot& slot : plan.layers[parameter.layer->index()].slots[rank]) {
    if (slot == Slot(*parameter.expert)) return true;
  }
  return false;
}

TEST(Transfers, EveryGradientReachesItsHomeAndEveryWeightItsSlotsOnce) {
  const ParameterLayout layout = OddLayout();
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    const int ranks = static_cast<int>(rng.Between(1, 5));
    PlanBody from = RandomPlan(rng, layout, ranks, 5, nullptr);
    PlanBody to = RandomPlan(rng, layout, ranks, 5, &from);
    const int blocks = static_cast<int>(layout.blocks().size());
    for (int self = 0; self < ranks; ++self) {
      ReduceTransfers reduce = MakeReduceTransfers(layout, from, Rank(self));
      // Where each contribution lies in the window, rebuilt from the messages.
      std::map<std::pair<int, int>, int64_t> place;  // (block, rank) -> offset
      int64_t offset = 0;
      for (const BlockMessage& message : reduce.recvs) {
        for (BlockId block : message.blocks) {
          place[{block.value(), message.peer.value()}] = offset;
          offset += layout.block(block).elements;
        }
      }
      EXPECT_EQ(offset, reduce.recv_elements);
      size_t owned = 0;
      for (int b = 0; b < blocks; ++b) {
        if (from.homes[b] != Rank(self)) continue;
        ASSERT_LT(owned, reduce.owned.size());
        ASSERT_EQ(reduce.owned[owned], BlockId(b));
        const std::vector<Contribution>& parts = reduce.contributions[owned];
        size_t next = 0;
        for (int rank = 0; rank < ranks; ++rank) {
          if (!HoldsByHand(layout, from, rank, b)) continue;
          ASSERT_LT(next, parts.size());
          EXPECT_EQ(parts[next].own, rank == self);
          if (rank != self) {
            EXPECT_EQ(parts[next].offset, (place.at({b, rank})));
          }
          ++next;
        }
        EXPECT_EQ(next, parts.size());
        ++owned;
      }
      EXPECT_EQ(owned, reduce.owned.size());

      RefreshTransfers refresh = MakeRefreshTransfers(layout, from, to, Rank(self));
      std::multiset<int> filled, leaving, arriving;
      for (BlockId block : refresh.local_weights) {
        filled.insert(block.value());
        EXPECT_EQ(from.homes[block.index()], Rank(self));
      }
      for (const RefreshMessage& message : refresh.recvs) {
        for (BlockId block : message.weights) {
          filled.insert(block.value());
          EXPECT_EQ(from.homes[block.index()], message.peer);
        }
        for (BlockId block : message.states) arriving.insert(block.value());
      }
      for (const RefreshMessage& message : refresh.sends) {
        for (BlockId block : message.states) {
          leaving.insert(block.value());
          EXPECT_EQ(to.homes[block.index()], message.peer);
        }
      }
      for (int b = 0; b < blocks; ++b) {
        EXPECT_EQ(filled.count(b), HoldsByHand(layout, to, self, b) ? 1u : 0u);
        bool was = from.homes[b] == Rank(self), is = to.homes[b] == Rank(self);
        EXPECT_EQ(leaving.count(b), was && !is ? 1u : 0u);
        EXPECT_EQ(arriving.count(b), is && !was ? 1u : 0u);
      }
      EXPECT_EQ(leaving.size(), refresh.leaving.size());
      EXPECT_EQ(arriving.size(), refresh.arriving.size());
    }
  }
}

TEST(Transfers, AnExpertThatLivesOnItsHomeCostsNothing) {
  const ParameterLayout layout = OddLayout();
  Rng rng(5);
  PlanBody plan = RandomPlan(rng, layout, 3, 5, nullptr);
  for (size_t b = 0; b < plan.homes.size(); ++b) {
    const Parameter& parameter = layout.parameter_of(BlockId(static_cast<int>(b)));
    if (!parameter.expert.has_value()) continue;
    plan.homes[b] = plan.layers[parameter.layer->index()].Hosts(5)[parameter.expert->index()][0];
    for (int r = 0; r < 3; ++r) {
      for (Slot& slot : plan.layers[parameter.layer->index()].slots[r]) {
        if (slot == Slot(*parameter.expert) && plan.homes[b] != Rank(r)) slot = std::nullopt;
      }
    }
  }
  for (int self = 0; self < 3; ++self) {
    for (const BlockMessage& message : MakeReduceTransfers(layout, plan, Rank(self)).sends) {
      for (BlockId block : message.blocks) EXPECT_FALSE(layout.parameter_of(block).expert.has_value());
    }
    for (const RefreshMessage& message : MakeRefreshTransfers(layout, plan, plan, Rank(self)).sends) {
      EXPECT_EQ(message.state_elements, 0);
      for (BlockId block : message.weights) EXPECT_FALSE(layout.parameter_of(block).expert.has_value());
    }
  }
}

}  // namespace
}  // namespace ballast

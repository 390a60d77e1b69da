#include "worker/optimizer/transfers.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "base/check.h"

namespace ballast {
namespace {

int RanksOf(const PlanBody& plan) { return static_cast<int>(plan.speeds.size()); }

// Messages by peer, made on first use.
template <class Message>
Message& To(std::map<Rank, Message>& messages, Rank peer) {
  Message& message = messages[peer];
  message.peer = peer;
  return message;
}

template <class Message>
std::vector<Message> Values(std::map<Rank, Message>& messages) {
  std::vector<Message> values;
  for (auto& [peer, message] : messages) values.push_back(std::move(message));
  return values;
}

}  // namespace

Holders::Holders(const ParameterLayout& layout, const PlanBody& plan) : layout_(layout), all_(RanksOf(plan)) {
  for (int r = 0; r < RanksOf(plan); ++r) all_[r] = Rank(r);
  for (const LayerPlan& layer : plan.layers) hosts_.push_back(layer.Hosts(layout.experts()));
}

const std::vector<Rank>& Holders::of(BlockId block) const {
  const Parameter& parameter = layout_.parameter_of(block);
  if (!parameter.expert.has_value()) return all_;
  return hosts_[parameter.layer->index()][parameter.expert->index()];
}

bool Holders::Holds(Rank rank, BlockId block) const {
  const std::vector<Rank>& ranks = of(block);
  return std::binary_search(ranks.begin(), ranks.end(), rank);
}

ReduceTransfers MakeReduceTransfers(const ParameterLayout& layout, const PlanBody& plan, Rank self) {
  const Holders holders(layout, plan);
  ReduceTransfers transfers;
  std::map<Rank, BlockMessage> sends, recvs;
  auto append = [&](BlockMessage& message, BlockId block) {
    message.blocks.push_back(block);
    message.elements += layout.block(block).elements;
  };
  for (int b = 0; b < static_cast<int>(layout.blocks().size()); ++b) {
    const BlockId block(b);
    const Rank home = plan.homes[b];
    if (home == self) {
      transfers.owned.push_back(block);
      for (Rank holder : holders.of(block)) {
        if (holder != self) append(To(recvs, holder), block);
      }
    } else if (holders.Holds(self, block)) {
      append(To(sends, home), block);
    }
  }
  transfers.sends = Values(sends);
  transfers.recvs = Values(recvs);
  for (const BlockMessage& message : transfers.sends) transfers.send_elements += message.elements;

  // Where each message's blocks begin in the window; a message lists its blocks in the order in which they
  // are owned.
  std::map<Rank, int64_t> next;
  for (const BlockMessage& message : transfers.recvs) {
    next[message.peer] = transfers.recv_elements;
    transfers.recv_elements += message.elements;
  }
  for (BlockId block : transfers.owned) {
    std::vector<Contribution> parts;
    for (Rank holder : holders.of(block)) {
      if (holder == self) {
        parts.push_back({.own = true});
        continue;
      }
      parts.push_back({.own = false, .offset = next[holder]});
      next[holder] += layout.block(block).elements;
    }
    BALLAST_CHECK(!parts.empty()) << "block " << block << " has a home but no holder";
    transfers.contributions.push_back(std::move(parts));
  }
  return transfers;
}

RefreshTransfers MakeRefreshTransfers(const ParameterLayout& layout, const PlanBody& from, const PlanBody& to,
                                      Rank self) {
  const Holders after(layout, to);
  RefreshTransfers transfers;
  std::map<Rank, RefreshMessage> sends, recvs;
  for (int b = 0; b < static_cast<int>(layout.blocks().size()); ++b) {
    const BlockId block(b);
    const int64_t elements = layout.block(block).elements;
    auto add_weight = [&](RefreshMessage& message) {
      message.weights.push_back(block);
      message.weight_elements += elements;
    };
    auto add_state = [&](RefreshMessage& message) {
      message.states.push_back(block);
      message.state_elements += elements;
    };
    const Rank old_home = from.homes[b];
    const Rank new_home = to.homes[b];
    if (old_home == self) {
      for (Rank holder : after.of(block)) {
        if (holder == self) {
          transfers.local_weights.push_back(block);
        } else {
          add_weight(To(sends, holder));
        }
      }
      if (new_home != self) {
        transfers.leaving.push_back(block);
        add_state(To(sends, new_home));
      }
    } else {
      if (after.Holds(self, block)) add_weight(To(recvs, old_home));
      if (new_home == self) {
        transfers.arriving.push_back(block);
        add_state(To(recvs, old_home));
      }
    }
  }
  transfers.sends = Values(sends);
  transfers.recvs = Values(recvs);
  return transfers;
}

}  // namespace ballast

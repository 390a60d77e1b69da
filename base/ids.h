// Identifiers as types: a Rank cannot be passed where an ExpertId is meant.
//
// Versions (Term, Generation, PlanVersion, Step) begin at 1 and only grow; 0 means "none yet".
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <utility>

namespace ballast {

// An integer with a name. Copies like an integer, orders like one, and does not convert to one by itself.
template <class Tag, class Rep>
class Id {
 public:
  using rep = Rep;
  constexpr Id() = default;
  explicit constexpr Id(Rep value) : value_(value) {}
  constexpr Rep value() const { return value_; }
  // For indexing arrays; the value must not be negative.
  constexpr size_t index() const { return static_cast<size_t>(value_); }
  constexpr Id Next() const { return Id(static_cast<Rep>(value_ + 1)); }
  constexpr Id Plus(Rep delta) const { return Id(static_cast<Rep>(value_ + delta)); }
  friend constexpr auto operator<=>(Id, Id) = default;
  friend std::ostream& operator<<(std::ostream& out, Id id) { return out << +id.value_; }

 private:
  Rep value_ = 0;
};

// A string with a name.
template <class Tag>
class NameId {
 public:
  NameId() = default;
  explicit NameId(std::string value) : value_(std::move(value)) {}
  const std::string& value() const { return value_; }
  bool empty() const { return value_.empty(); }
  friend auto operator<=>(const NameId&, const NameId&) = default;
  friend std::ostream& operator<<(std::ostream& out, const NameId& id) { return out << id.value_; }

 private:
  std::string value_;
};

using JobId = NameId<struct JobTag>;        // chosen by the user, unique among all jobs of a store
using WorkerId = NameId<struct WorkerTag>;  // the daemon's name, as in its certificate: worker/<name>

using Rank = Id<struct RankTag, int32_t>;              // 0..N-1 in one generation
using NodeId = Id<struct NodeTag, int32_t>;            // 0..nodes-1 in one generation's Topology
using LayerId = Id<struct LayerTag, int32_t>;          // MoE layer, 0..L-1
using ExpertId = Id<struct ExpertTag, int32_t>;        // expert of one layer, 0..E-1
using BlockId = Id<struct BlockTag, int32_t>;          // parameter block, in global parameter order
using Term = Id<struct TermTag, int64_t>;              // coordinator leadership
using Generation = Id<struct GenerationTag, int64_t>;  // membership of a job
using PlanVersion = Id<struct PlanVersionTag, int64_t>;
using Step = Id<struct StepTag, int64_t>;                 // training step, the first is 1
using Incarnation = Id<struct IncarnationTag, uint64_t>;  // random per worker process
using RequestId = Id<struct RequestTag, int64_t>;         // of requests that ride in the step header
using PlanDigest = Id<struct PlanDigestTag, uint64_t>;    // first 8 bytes of the plan's SHA-256, big-endian

}  // namespace ballast

template <class Tag, class Rep>
struct std::hash<ballast::Id<Tag, Rep>> {
  size_t operator()(ballast::Id<Tag, Rep> id) const { return std::hash<Rep>()(id.value()); }
};
template <class Tag>
struct std::hash<ballast::NameId<Tag>> {
  size_t operator()(const ballast::NameId<Tag>& id) const { return std::hash<std::string>()(id.value()); }
};

// LinkTable: what the probes of a job say of the links between its nodes.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "plan/topology.h"
#include "protocol/messages.h"

namespace ballast {

// One direction between two nodes.
struct LinkRecord {
  LinkSpeed speed;           // as last measured; zeros = never
  Time measured;             // when; meaningful with a speed
  int64_t failures = 0;      // probes without a result
  std::string last_failure;  // since the last result; empty = none
};

// By node names, so that what was measured stays true for the next generation.
class LinkTable {
 public:
  // InvalidArgument names the field that cannot be; nothing is taken then. `members` are those of the
  // generation that the report is of.
  absl::Status OnReport(const LinkReport& report, const std::vector<Member>& members, Time now);

  // Writes what is known of the topology's links into it.
  void Fill(Topology& topology) const;

  // Names of the nodes -> what was measured from the first to the second.
  const std::map<std::pair<std::string, std::string>, LinkRecord>& links() const { return links_; }

 private:
  std::map<std::pair<std::string, std::string>, LinkRecord> links_;
};

}  // namespace ballast

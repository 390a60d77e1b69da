// Which address peers should use for this machine, and whether they can.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "protocol/messages.h"

namespace ballast {

// The local address that packets to `host_port` leave from: what the coordinator sees, peers can usually
// reach too. Nothing is sent.
absl::StatusOr<std::string> AddressTowards(const std::string& host_port);

// "127.0.0.0/8", "::1" and "localhost".
bool IsLoopback(const std::string& host);

// InvalidArgument if a member advertises a loopback address though another member is on another host, with
// both of them and what to do. Members that all advertise loopback addresses are on one host, whatever their
// nodes are called.
absl::Status CheckReachable(const std::vector<Member>& members);

}  // namespace ballast

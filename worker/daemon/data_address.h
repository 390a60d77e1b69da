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

// Who can reach this process through its loopback addresses: the boot and the network namespace. Two
// containers of one machine have two; Unavailable if the kernel does not tell.
absl::StatusOr<std::string> HostIdentity();

// InvalidArgument if a member advertises a loopback address though another member is on another host, with
// both of them and what to do. Whether they are on one host is what their host identities say; where one is
// not known, two loopback addresses are taken for one host's. Nodes are names alone.
absl::Status CheckReachable(const std::vector<Member>& members);

}  // namespace ballast

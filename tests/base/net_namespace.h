// Network namespaces that `ip netns add` has made, entered without touching mounts: `ip netns exec` and `ip
// -n` want to change them, which a chroot cannot.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

namespace ballast {

// Runs a shell command; true when it succeeds.
inline bool Sh(const std::string& command) { return std::system((command + " 2>/dev/null").c_str()) == 0; }

// What to put before a program that is to run in the namespace.
inline std::vector<std::string> InNamespace(const std::string& name) {
  return {"/usr/bin/nsenter", "--net=/run/netns/" + name};
}

// The same in a shell command; "" is this process's own namespace.
inline bool ShIn(const std::string& name, const std::string& command) {
  return Sh(name.empty() ? command : "nsenter --net=/run/netns/" + name + " " + command);
}

// Gives the link its address (with its prefix length) and brings it up.
inline bool LinkUp(const std::string& name, const std::string& link, const std::string& address) {
  return ShIn(name, "ip addr add " + address + " dev " + link) && ShIn(name, "ip link set " + link + " up");
}

}  // namespace ballast

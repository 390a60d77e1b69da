#include "tests/e2e/two_hosts.h"

#include <unistd.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace ballast {
namespace {

bool Sh(const std::string& command) { return std::system((command + " 2>/dev/null").c_str()) == 0; }

bool Up(const std::string& where, const std::string& link, const std::string& address) {
  std::string in = "ip " + where;
  return Sh(in + " addr add " + address + " dev " + link) && Sh(in + " link set " + link + " up");
}

}  // namespace

TwoHosts::TwoHosts()
    : tag_(absl::StrCat("blst", getpid() % 100000)), net_(absl::StrCat(getpid() % 250, ".")) {
  made_ =
      Sh("ip netns add " + near()) && Sh("ip netns add " + far()) &&
      Sh("ip link add " + tag_ + "a netns " + near() + " type veth peer name " + tag_ + "b netns " + far()) &&
      Sh("ip link add " + tag_ + "c netns " + near() + " type veth peer name " + tag_ + "d") &&
      Up("-n " + near(), "lo", "127.0.0.2/8") && Up("-n " + far(), "lo", "127.0.0.2/8") &&
      Up("-n " + near(), tag_ + "a", address(1) + "/24") &&
      Up("-n " + far(), tag_ + "b", address(2) + "/24") &&
      Up("-n " + near(), tag_ + "c", operator_address() + "/24") &&
      Up("", tag_ + "d", "10.78." + net_ + "3/24");
}

TwoHosts::~TwoHosts() {  // their links go with them
  Sh("ip netns del " + near());
  Sh("ip netns del " + far());
}

std::string TwoHosts::near() const { return tag_ + "-near"; }
std::string TwoHosts::far() const { return tag_ + "-far"; }
std::string TwoHosts::address(int host) const { return absl::StrCat("10.77.", net_, host); }
std::string TwoHosts::operator_address() const { return absl::StrCat("10.78.", net_, 1); }
bool TwoHosts::CutLink() const { return Sh("ip -n " + far() + " link set " + tag_ + "b down"); }
bool TwoHosts::MendLink() const { return Sh("ip -n " + far() + " link set " + tag_ + "b up"); }

}  // namespace ballast

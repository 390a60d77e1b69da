#include "tests/e2e/two_hosts.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "tests/base/net_namespace.h"

namespace ballast {

TwoHosts::TwoHosts()
    : tag_(absl::StrCat("blst", getpid() % 100000)), net_(absl::StrCat(getpid() % 250, ".")) {
  made_ =
      Sh("ip netns add " + near()) && Sh("ip netns add " + far()) &&
      Sh("ip link add " + tag_ + "a netns " + near() + " type veth peer name " + tag_ + "b netns " + far()) &&
      Sh("ip link add " + tag_ + "c netns " + near() + " type veth peer name " + tag_ + "d") &&
      LinkUp(near(), "lo", "127.0.0.2/8") && LinkUp(far(), "lo", "127.0.0.2/8") &&
      LinkUp(near(), tag_ + "a", address(1) + "/24") && LinkUp(far(), tag_ + "b", address(2) + "/24") &&
      LinkUp(near(), tag_ + "c", operator_address() + "/24") &&
      LinkUp("", tag_ + "d", "10.78." + net_ + "3/24");
}

TwoHosts::~TwoHosts() {  // their links go with them
  Sh("ip netns del " + near());
  Sh("ip netns del " + far());
}

std::string TwoHosts::near() const { return tag_ + "-near"; }
std::string TwoHosts::far() const { return tag_ + "-far"; }
std::string TwoHosts::address(int host) const { return absl::StrCat("10.77.", net_, host); }
std::string TwoHosts::operator_address() const { return absl::StrCat("10.78.", net_, 1); }
bool TwoHosts::CutLink() const { return ShIn(far(), "ip link set " + tag_ + "b down"); }
bool TwoHosts::MendLink() const { return ShIn(far(), "ip link set " + tag_ + "b up"); }

}  // namespace ballast

// Two machines joined by a link whose directions have different rates: the prober must find them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "tests/base/net_namespace.h"
#include "worker/probes/link_prober.h"

namespace ballast {
namespace {

constexpr double kThereMbit = 160;  // 20 MB/s
constexpr double kBackMbit = 40;    // 5 MB/s

// Network namespaces "near" and "far" with the addresses 10.79.x.1 and 10.79.x.2.
class TwoHosts {
 public:
  TwoHosts()
      : tag_(absl::StrCat("blpr", getpid() % 100000)), net_(absl::StrCat("10.79.", getpid() % 250, ".")) {
    made_ = Sh("ip netns add " + near()) && Sh("ip netns add " + far()) &&
            Sh("ip link add " + tag_ + "a netns " + near() + " type veth peer name " + tag_ + "b netns " +
               far()) &&
            LinkUp(near(), tag_ + "a", address(1) + "/24") && LinkUp(far(), tag_ + "b", address(2) + "/24") &&
            Shape(near(), tag_ + "a", kThereMbit) && Shape(far(), tag_ + "b", kBackMbit);
  }
  ~TwoHosts() {
    Sh("ip netns del " + near());
    Sh("ip netns del " + far());
  }
  bool made() const { return made_; }
  std::string near() const { return tag_ + "-near"; }
  std::string far() const { return tag_ + "-far"; }
  std::string address(int host) const { return absl::StrCat(net_, host); }
  bool CutLink() const { return ShIn(far(), "ip link set " + tag_ + "b down"); }

  // Runs `work` on a thread inside the namespace; threads that it starts stay there.
  static void Inside(const std::string& name, const std::function<void()>& work) {
    std::thread([&] {
      const int fd = open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
      BALLAST_CHECK(fd >= 0 && setns(fd, CLONE_NEWNET) == 0) << name;
      close(fd);
      work();
    }).join();
  }

 private:
  static bool Shape(const std::string& where, const std::string& link, double mbit) {
    return ShIn(where, absl::StrCat("tc qdisc add dev ", link, " root tbf rate ", mbit,
                                    "mbit burst 16kb latency 200ms"));
  }
  const std::string tag_;
  const std::string net_;
  bool made_ = false;
};

TEST(LinkRates, OfBothDirectionsAreFound) {
  TwoHosts hosts;
  if (!hosts.made()) {
    GTEST_SKIP() << "network namespaces with shaped links cannot be made here (needs root, veth and tbf)";
  }
  std::unique_ptr<LinkProber> far;
  TwoHosts::Inside(hosts.far(), [&] { far = LinkProber::Listen(hosts.address(2)).value(); });
  const std::string address = absl::StrCat(hosts.address(2), ":", far->port());
  absl::StatusOr<LinkFigures> figures;
  TwoHosts::Inside(hosts.near(), [&] { figures = ProbePeer(address, {}, [] { return false; }); });
  ASSERT_TRUE(figures.ok()) << figures.status();
  const double there = figures->there.bytes_per_second * 8e-6;
  const double back = figures->back.bytes_per_second * 8e-6;
  std::printf("there %.1f of %g Mbit/s, back %.1f of %g Mbit/s, ratio %.2f\n", there, kThereMbit, back,
              kBackMbit, there / back);
  // Headers of Ethernet, IP and TCP take some 5 %.
  EXPECT_NEAR(there / kThereMbit, 0.95, 0.15);
  EXPECT_NEAR(back / kBackMbit, 0.95, 0.15);
  EXPECT_NEAR(there / back, kThereMbit / kBackMbit, 0.15 * kThereMbit / kBackMbit);

  ASSERT_TRUE(hosts.CutLink());
  TwoHosts::Inside(hosts.near(),
                   [&] { figures = ProbePeer(address, {.dial_max = Seconds(0.5)}, [] { return false; }); });
  EXPECT_EQ(figures.status().message(), "no answer for 0.5 s") << figures.status();
}

}  // namespace
}  // namespace ballast

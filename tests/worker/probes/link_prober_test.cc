// Probers against each other, and against peers that do not answer, over loopback.
#include "worker/probes/link_prober.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/mutex.h"
#include "worker/neighbours/socket.h"

namespace ballast {
namespace {

const ProbeTimes kFast{
    .period = Seconds(0.3), .pause = Seconds(0.01), .dial_max = Seconds(0.3), .visit_max = Seconds(5)};

std::unique_ptr<LinkProber> Listen() {
  auto prober = LinkProber::Listen("127.0.0.1", kFast);
  BALLAST_CHECK_OK(prober.status());
  return *std::move(prober);
}
std::string AddressOf(const LinkProber& prober) { return absl::StrCat("127.0.0.1:", prober.port()); }

// Gathers results until there are enough.
class Results {
 public:
  LinkProber::OnResult Sink() {
    return [this](std::vector<LinkProbe> links) {
      MutexLock lock(mutex_);
      for (LinkProbe& link : links) links_.push_back(std::move(link));
      changed_.SignalAll();
    };
  }
  std::vector<LinkProbe> WaitFor(size_t count, double seconds = 20) {
    MutexLock lock(mutex_);
    const Time deadline = SteadyClock().Now() + Seconds(seconds);
    while (links_.size() < count && SteadyClock().Now() < deadline) changed_.WaitUntil(mutex_, deadline);
    return links_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<LinkProbe> links_ GUARDED_BY(mutex_);
};

TEST(LinkProber, MeasuresBothDirectionsAgainAndAgain) {
  auto near = Listen(), far = Listen();
  Results results;
  near->Begin({Rank(0), {{Rank(4), AddressOf(*far)}}}, results.Sink());
  const std::vector<LinkProbe> links = results.WaitFor(4);
  near->Stop();
  ASSERT_GE(links.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(links[i].failure, "");
    EXPECT_EQ(links[i].from, i % 2 == 0 ? Rank(0) : Rank(4));
    EXPECT_EQ(links[i].to, i % 2 == 0 ? Rank(4) : Rank(0));
    EXPECT_GT(links[i].bytes_per_second, 1e6);  // loopback, on however busy a machine
    EXPECT_LT(links[i].bytes_per_second, 1e12);
    EXPECT_LT(links[i].latency_seconds, 1);
  }
}

TEST(LinkProber, APeerThatDoesNotAnswerIsToldOfAndTheNextOneIsProbed) {
  auto near = Listen(), far = Listen();
  // Its kernel accepts; nobody reads.
  auto deaf = ListenOn(ResolveHost("127.0.0.1", 0).value(), 4);
  ASSERT_TRUE(deaf.ok());
  const std::string deaf_address = absl::StrCat("127.0.0.1:", LocalPort(*deaf).value());
  std::string nobody;
  {
    auto gone = Listen();
    nobody = AddressOf(*gone);
  }
  Results results;
  near->Begin({Rank(0), {{Rank(1), deaf_address}, {Rank(2), nobody}, {Rank(3), AddressOf(*far)}}},
              results.Sink());
  const std::vector<LinkProbe> links = results.WaitFor(4);
  near->Stop();
  ASSERT_GE(links.size(), 4u);
  EXPECT_EQ(links[0].to, Rank(1));
  EXPECT_EQ(links[0].failure, "no answer for 0.3 s");
  EXPECT_EQ(links[1].to, Rank(2));
  EXPECT_EQ(links[1].failure, "connect: Connection refused");
  EXPECT_EQ(links[2].failure, "");
  EXPECT_EQ(links[3].failure, "");
}

TEST(LinkProber, AStrangerCostsAVisitAtMost) {
  auto far = Listen();
  auto stranger = StartConnect(ResolveHostPort(AddressOf(*far)).value());
  ASSERT_TRUE(stranger.ok());
  auto garbage = StartConnect(ResolveHostPort(AddressOf(*far)).value());
  ASSERT_TRUE(garbage.ok());
  while (!SendAll(*garbage, std::string(64, 'x')).ok()) {
  }
  // Both are before us in the queue; the first says nothing, for dial_max.
  ProbeTimes patient = kFast;
  patient.dial_max = Seconds(10);
  auto figures = ProbePeer(AddressOf(*far), patient, [] { return false; });
  ASSERT_TRUE(figures.ok()) << figures.status();
  EXPECT_GT(figures->there.bytes_per_second, 0);
}

TEST(LinkProber, NoResultComesAfterStop) {
  auto near = Listen(), far = Listen();
  for (int round = 0; round < 20; ++round) {
    auto results = std::make_unique<Results>();
    near->Begin({Rank(0), {{Rank(1), AddressOf(*far)}}}, results->Sink());
    if (round % 2 == 0) results->WaitFor(1);
    near->Stop();
    results.reset();  // a late call would be a use after free
  }
}

}  // namespace
}  // namespace ballast

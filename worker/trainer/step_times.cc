#include "worker/trainer/step_times.h"

#include <algorithm>
#include <utility>

namespace ballast {
namespace {

int64_t Bytes(const LinkUse& link) { return link.bytes_sent + link.bytes_received; }

// Fills in the traffic between two states of the counters.
void FillLinks(const std::vector<PeerStats>& before, const std::vector<PeerStats>& after, RankStep& step) {
  std::vector<LinkUse>& links = step.links;
  for (size_t peer = 0; peer < after.size(); ++peer) {
    LinkUse link{.peer = Rank(static_cast<int32_t>(peer)),
                 .bytes_sent = after[peer].bytes_sent - before[peer].bytes_sent,
                 .bytes_received = after[peer].bytes_received - before[peer].bytes_received,
                 .receive_seconds = after[peer].receive_seconds - before[peer].receive_seconds};
    step.bytes_sent += link.bytes_sent;
    step.bytes_received += link.bytes_received;
    if (Bytes(link) > 0) links.push_back(link);
  }
  if (links.size() <= kRankLinksMax) return;
  std::nth_element(links.begin(), links.begin() + kRankLinksMax, links.end(),
                   [](const LinkUse& a, const LinkUse& b) {
                     return Bytes(a) != Bytes(b) ? Bytes(a) > Bytes(b) : a.peer < b.peer;
                   });
  links.resize(kRankLinksMax);
  std::sort(links.begin(), links.end(), [](const LinkUse& a, const LinkUse& b) { return a.peer < b.peer; });
}

}  // namespace

StepTimes::StepTimes(const Clock& clock, const Communicator& communicator)
    : clock_(clock), communicator_(communicator) {
  Begin();
}

void StepTimes::Begin() {
  begin_ = entered_ = clock_.Now();
  phase_ = Phase::kOther;
  spent_ = {};
  wait_before_ = communicator_.stats().wait_seconds;
  peers_before_ = communicator_.peers();
}

Phase StepTimes::Enter(Phase phase) {
  const Time now = clock_.Now();
  spent_[static_cast<size_t>(phase_)] += now - entered_;
  entered_ = now;
  return std::exchange(phase_, phase);
}

RankStep StepTimes::End(Step step, int64_t assignments) {
  Enter(Phase::kOther);
  RankStep done;
  done.step = step;
  done.seconds = ToSeconds(entered_ - begin_);
  done.wait_seconds = communicator_.stats().wait_seconds - wait_before_;
  done.assignments = assignments;
  for (size_t phase = 0; phase < kPhases; ++phase) done.phase_seconds[phase] = ToSeconds(spent_[phase]);
  FillLinks(peers_before_, communicator_.peers(), done);
  return done;
}

}  // namespace ballast

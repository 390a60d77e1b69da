#include "worker/trainer/step_times.h"

#include <algorithm>
#include <numeric>
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
                 .receive_seconds = after[peer].receive_seconds - before[peer].receive_seconds,
                 .timed_messages = after[peer].timed_messages - before[peer].timed_messages,
                 .timed_bytes = after[peer].timed_bytes - before[peer].timed_bytes,
                 .timed_seconds = after[peer].timed_seconds - before[peer].timed_seconds};
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

StepTimes::StepTimes(const Clock& clock, const Communicator& communicator, std::unique_ptr<StreamMarks> marks)
    : clock_(clock), communicator_(communicator), marks_(std::move(marks)) {}

void StepTimes::Begin(Stream& stream) {
  stream_ = &stream;
  begin_ = entered_ = clock_.Now();
  phase_ = Phase::kOther;
  spent_ = {};
  if (marks_ != nullptr) {
    marks_->Clear();
    marks_->Set(stream);
    marked_ = {phase_};
  }
  wait_before_ = communicator_.stats().wait_seconds;
  peers_before_ = communicator_.peers();
}

Phase StepTimes::Enter(Phase phase) {
  if (marks_ != nullptr) {
    marks_->Set(*stream_);
    marked_.push_back(phase);
  } else {
    const Time now = clock_.Now();
    spent_[static_cast<size_t>(phase_)] += ToSeconds(now - entered_);
    entered_ = now;
  }
  return std::exchange(phase_, phase);
}

void StepTimes::On(Stream& stream) { stream_ = &stream; }

void StepTimes::ReadMarks(double step_seconds) {
  for (size_t mark = 0; mark + 1 < marks_->count(); ++mark) {
    spent_[static_cast<size_t>(marked_[mark])] += marks_->Seconds(mark, mark + 1);
  }
  // What lies behind the last mark is the host's.
  const double marked = std::accumulate(spent_.begin(), spent_.end(), 0.0);
  spent_[static_cast<size_t>(Phase::kOther)] += std::max(0.0, step_seconds - marked);
}

RankStep StepTimes::End(Step step, int64_t assignments) {
  RankStep done;
  done.step = step;
  if (marks_ != nullptr) {
    done.seconds = ToSeconds(clock_.Now() - begin_);
    ReadMarks(done.seconds);
  } else {
    Enter(Phase::kOther);
    done.seconds = ToSeconds(entered_ - begin_);
  }
  done.phase_seconds = spent_;
  done.wait_seconds = communicator_.stats().wait_seconds - wait_before_;
  done.assignments = assignments;
  FillLinks(peers_before_, communicator_.peers(), done);
  return done;
}

}  // namespace ballast

#include "worker/comm/thread_communicator.h"

#include <cstring>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/mutex.h"
#include "worker/comm/lost_peer.h"

namespace ballast {

// Mailboxes between all pairs of ranks. A message is found by the number of the operation it belongs to, so
// that operations may be waited for in any order.
class ThreadCommunicatorGroup::Shared {
 public:
  explicit Shared(int ranks) : ranks_(ranks), ends_(ranks), boxes_(static_cast<size_t>(ranks) * ranks) {}

  int ranks() const { return ranks_; }

  void Post(Rank from, Rank to, int64_t operation, const void* data, size_t bytes) EXCLUDES(mutex_) {
    auto* begin = static_cast<const char*>(data);
    std::vector<char> copy(begin, begin + bytes);
    MutexLock lock(mutex_);
    if (ends_[from.index()].has_value()) return;
    Box& box = box_of(from, to);
    ++box.stats.messages_sent;
    box.stats.bytes_sent += static_cast<int64_t>(bytes);
    box.messages[operation] = std::move(copy);
    arrived_.SignalAll();
  }

  // Blocks until the message is there, `self` or `from` has ended, or the deadline has passed.
  absl::StatusOr<std::vector<char>> Take(Rank self, Rank from, int64_t operation, Time deadline)
      EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (true) {
      if (ends_[self.index()].has_value()) return absl::AbortedError(*ends_[self.index()]);
      Box& box = box_of(from, self);
      if (auto it = box.messages.find(operation); it != box.messages.end()) {
        std::vector<char> message = std::move(it->second);
        box.messages.erase(it);
        return message;
      }
      if (ends_[from.index()].has_value()) {
        return LostPeerError(from, *ends_[from.index()]);
      }
      if (std::chrono::steady_clock::now() >= deadline) {
        return absl::DeadlineExceededError(
            absl::StrCat("nothing came from rank ", from.value(), " in operation ", operation));
      }
      arrived_.WaitUntil(mutex_, deadline);
    }
  }

  // The first reason stays.
  void End(Rank rank, const std::string& reason) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (!ends_[rank.index()].has_value()) ends_[rank.index()] = reason;
    arrived_.SignalAll();
  }

  std::optional<std::string> EndOf(Rank rank) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return ends_[rank.index()];
  }

  CommStats PairStats(Rank from, Rank to) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return box_of(from, to).stats;
  }

 private:
  struct Box {
    std::map<int64_t, std::vector<char>> messages;  // by operation
    CommStats stats;
  };
  Box& box_of(Rank from, Rank to) REQUIRES(mutex_) { return boxes_[from.index() * ranks_ + to.index()]; }

  const int ranks_;
  Mutex mutex_;
  CondVar arrived_;
  std::vector<std::optional<std::string>> ends_ GUARDED_BY(mutex_);  // [rank] why it has ended
  std::vector<Box> boxes_ GUARDED_BY(mutex_);                        // [from * ranks + to]
};

namespace {

using Shared = ThreadCommunicatorGroup::Shared;

struct ThreadPending final : Pending {
  int64_t operation = 0;
  Time begin;
  std::vector<RecvOp> recvs;  // from other ranks, more than 0 bytes
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<Shared> shared, Rank rank)
      : shared_(std::move(shared)), rank_(rank), peers_(static_cast<size_t>(shared_->ranks())) {}
  ~ThreadCommunicator() override { shared_->End(rank_, "it has left"); }

  Rank rank() const override { return rank_; }
  int size() const override { return shared_->ranks(); }

  std::unique_ptr<Pending> Exchange(Stream&, std::vector<SendOp> sends, std::vector<RecvOp> recvs) override {
    auto pending = std::make_unique<ThreadPending>();
    pending->operation = stats_.operations++;
    pending->begin = SteadyClock().Now();
    const SendOp* to_self = nullptr;
    for (const SendOp& send : sends) {
      if (send.bytes == 0) continue;
      if (send.to == rank_) {
        to_self = &send;
        continue;
      }
      shared_->Post(rank_, send.to, pending->operation, send.data, send.bytes);
      ++stats_.messages_sent;
      stats_.bytes_sent += static_cast<int64_t>(send.bytes);
      peers_[send.to.index()].bytes_sent += static_cast<int64_t>(send.bytes);
    }
    for (const RecvOp& recv : recvs) {
      if (recv.bytes == 0) continue;
      if (recv.from != rank_) {
        pending->recvs.push_back(recv);
        peers_[recv.from.index()].bytes_received += static_cast<int64_t>(recv.bytes);
        continue;
      }
      BALLAST_CHECK(to_self != nullptr && to_self->bytes == recv.bytes)
          << "an op to itself has no counterpart";
      std::memmove(recv.data, to_self->data, recv.bytes);
    }
    return pending;
  }

  absl::Status Wait(Pending& pending, Time deadline) override {
    auto& mine = static_cast<ThreadPending&>(pending);
    const Time waiting_since = SteadyClock().Now();
    for (const RecvOp& recv : mine.recvs) {
      absl::StatusOr<std::vector<char>> message = shared_->Take(rank_, recv.from, mine.operation, deadline);
      if (!message.ok()) return Fail(message.status());
      if (message->size() != recv.bytes) {
        return Fail(absl::InternalError(absl::StrCat("rank ", recv.from.value(), " sent ", message->size(),
                                                     " bytes in operation ", mine.operation, ", expected ",
                                                     recv.bytes)));
      }
      std::memcpy(recv.data, message->data(), recv.bytes);
      peers_[recv.from.index()].receive_seconds += ToSeconds(SteadyClock().Now() - mine.begin);
    }
    stats_.wait_seconds += ToSeconds(SteadyClock().Now() - waiting_since);
    if (auto end = shared_->EndOf(rank_)) return failure_.ok() ? absl::AbortedError(*end) : failure_;
    return absl::OkStatus();
  }

  void Abort(const std::string& reason) override { shared_->End(rank_, reason); }

  CommStats stats() const override { return stats_; }
  const std::vector<PeerStats>& peers() const override { return peers_; }

 private:
  // A communicator that has failed once is dead, for its peers too.
  absl::Status Fail(absl::Status status) {
    if (failure_.ok()) failure_ = status;
    shared_->End(rank_, std::string(status.message()));
    return failure_;
  }

  const std::shared_ptr<Shared> shared_;
  const Rank rank_;
  absl::Status failure_;          // rank thread alone
  CommStats stats_;               // rank thread alone
  std::vector<PeerStats> peers_;  // rank thread alone
};

}  // namespace

ThreadCommunicatorGroup::ThreadCommunicatorGroup(int ranks) : shared_(std::make_shared<Shared>(ranks)) {}

std::unique_ptr<Communicator> ThreadCommunicatorGroup::Take(Rank rank) {
  return std::make_unique<ThreadCommunicator>(shared_, rank);
}

void ThreadCommunicatorGroup::Kill(Rank rank) { shared_->End(rank, "it was killed"); }

CommStats ThreadCommunicatorGroup::PairStats(Rank from, Rank to) const {
  return shared_->PairStats(from, to);
}

}  // namespace ballast

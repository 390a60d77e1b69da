#include "worker/comm/gloo_communicator.h"

#include <gloo/context.h>
#include <gloo/transport/unbound_buffer.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <list>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "worker/comm/gloo_connect.h"
#include "worker/comm/lost_peer.h"
#include "worker/comm/timed_messages.h"

namespace ballast {
namespace {

using gloo::transport::UnboundBuffer;

Time Now() { return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now()); }

// The buffers that a wait may hang on, and whether it still may.
class Outstanding {
 public:
  using Handle = std::list<UnboundBuffer*>::iterator;

  Handle Add(UnboundBuffer* buffer) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (aborted_.has_value()) Wake(buffer);
    return buffers_.insert(buffers_.end(), buffer);
  }
  void Remove(Handle handle) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    buffers_.erase(handle);
  }
  // True for the first call.
  bool Abort(const std::string& reason) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (aborted_.has_value()) return false;
    aborted_ = reason;
    for (UnboundBuffer* buffer : buffers_) Wake(buffer);
    return true;
  }
  std::optional<std::string> aborted() const EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return aborted_;
  }

 private:
  // A wake-up before the wait counts for it.
  static void Wake(UnboundBuffer* buffer) {
    buffer->abortWaitRecv();
    buffer->abortWaitSend();
  }

  mutable Mutex mutex_;
  std::list<UnboundBuffer*> buffers_ GUARDED_BY(mutex_);
  std::optional<std::string> aborted_ GUARDED_BY(mutex_);
};

// One message under way. Its destruction waits until Gloo has let go of the memory.
class Message {
 public:
  Message(std::shared_ptr<Outstanding> outstanding, std::unique_ptr<UnboundBuffer> buffer, Rank peer)
      : outstanding_(std::move(outstanding)),
        buffer_(std::move(buffer)),
        peer_(peer),
        handle_(outstanding_->Add(buffer_.get())) {}
  ~Message() { outstanding_->Remove(handle_); }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

  UnboundBuffer& buffer() { return *buffer_; }
  Rank peer() const { return peer_; }

 private:
  const std::shared_ptr<Outstanding> outstanding_;
  const std::unique_ptr<UnboundBuffer> buffer_;
  const Rank peer_;
  const Outstanding::Handle handle_;
};

struct GlooPending final : Pending {
  Time begin;
  std::vector<std::unique_ptr<Message>> recvs, sends;
  int64_t timed_bytes = 0;  // beside the first of `recvs`; 0: it is not timed
};

class GlooCommunicator final : public Communicator {
 public:
  GlooCommunicator(Rank rank, int size, std::shared_ptr<gloo::Context> context)
      : rank_(rank),
        size_(size),
        context_(std::move(context)),
        outstanding_(std::make_shared<Outstanding>()),
        peers_(static_cast<size_t>(size)) {}

  Rank rank() const override { return rank_; }
  int size() const override { return size_; }

  std::unique_ptr<Pending> Exchange(Stream&, std::vector<SendOp> sends, std::vector<RecvOp> recvs) override {
    auto pending = std::make_unique<GlooPending>();
    pending->begin = Now();
    const uint64_t tag = static_cast<uint64_t>(stats_.operations++);
    const SendOp* to_self = nullptr;
    if (const Topology* together = std::exchange(together_, nullptr)) {
      pending->timed_bytes = MoveTimedFirst(recvs, *together);
    }
    // Receives first: a peer's data then finds its place at once.
    for (const RecvOp& recv : recvs) {
      if (recv.bytes == 0 || recv.from == rank_) continue;
      peers_[recv.from.index()].bytes_received += static_cast<int64_t>(recv.bytes);
      if (Message* message = Make(recv.from, recv.data, recv.bytes, pending->recvs)) {
        Enqueue(recv.from, [&] { message->buffer().recv(recv.from.value(), tag); });
      }
    }
    for (const SendOp& send : sends) {
      if (send.bytes == 0) continue;
      if (send.to == rank_) {
        to_self = &send;
        continue;
      }
      if (Message* message = Make(send.to, const_cast<void*>(send.data), send.bytes, pending->sends)) {
        Enqueue(send.to, [&] { message->buffer().send(send.to.value(), tag); });
      }
      ++stats_.messages_sent;
      stats_.bytes_sent += static_cast<int64_t>(send.bytes);
      peers_[send.to.index()].bytes_sent += static_cast<int64_t>(send.bytes);
    }
    for (const RecvOp& recv : recvs) {
      if (recv.bytes == 0 || recv.from != rank_) continue;
      BALLAST_CHECK(to_self != nullptr && to_self->bytes == recv.bytes)
          << "an op to itself has no counterpart";
      std::memmove(recv.data, to_self->data, recv.bytes);
    }
    return pending;
  }

  absl::Status Wait(Pending& pending, Time deadline) override {
    auto& mine = static_cast<GlooPending&>(pending);
    const Time waiting_since = Now();
    for (auto& message : mine.recvs) {
      WaitFor(message->peer(), deadline, [&](auto timeout) { return message->buffer().waitRecv(timeout); });
      const double seconds = ToSeconds(Now() - mine.begin);
      PeerStats& peer = peers_[message->peer().index()];
      peer.receive_seconds += seconds;
      if (message != mine.recvs.front() || mine.timed_bytes == 0 || !failure_.ok()) continue;
      ++peer.timed_messages;
      peer.timed_bytes += mine.timed_bytes;
      peer.timed_seconds += seconds;
    }
    for (auto& message : mine.sends) {
      WaitFor(message->peer(), deadline, [&](auto timeout) { return message->buffer().waitSend(timeout); });
    }
    stats_.wait_seconds += ToSeconds(Now() - waiting_since);
    if (auto reason = outstanding_->aborted(); reason.has_value() && failure_.ok()) {
      failure_ = absl::AbortedError(*reason);
    }
    // The caller may free its memory from here on.
    mine.recvs.clear();
    mine.sends.clear();
    return failure_;
  }

  void NextBeginsTogether(const Topology& topology) override { together_ = &topology; }

  void Abort(const std::string& reason) override {
    // Closing tells the peers; it would not wake a wait of our own.
    if (outstanding_->Abort(reason) && context_ != nullptr && met_) context_->closeConnections();
  }

  CommStats stats() const override { return stats_; }
  const std::vector<PeerStats>& peers() const override { return peers_; }

  // One byte from everybody to everybody; not counted. Once, before any operation. Until a peer has accepted,
  // a connection that is reset ends the peer's process inside Gloo: so nobody leaves before all have heard
  // from each other, and when that fails the connections are not closed, but end with the communicator, which
  // resets none that was not accepted.
  absl::Status MeetAll(Time deadline) {
    struct NoStream final : Stream {
    } stream;
    const char here = 1;
    std::vector<char> all(static_cast<size_t>(size_));
    std::unique_ptr<Pending> pending =
        AllGather(stream, &here, std::vector<size_t>(static_cast<size_t>(size_), 1), all.data());
    absl::Status status = Wait(*pending, deadline);
    stats_ = CommStats();
    met_ = status.ok();
    peers_.assign(peers_.size(), {});
    return status;
  }

 private:
  // Of one message it is seen when it comes: of the one that is waited for first. Peers take turns. Returns
  // what comes beside it.
  int64_t MoveTimedFirst(std::vector<RecvOp>& recvs, const Topology& topology) {
    std::vector<size_t> others;
    for (size_t i = 0; i < recvs.size(); ++i) {
      if (recvs[i].from != rank_ && recvs[i].bytes > 0) others.push_back(i);
    }
    if (others.empty()) return 0;
    const size_t chosen = others[turn_++ % others.size()];
    const int64_t bytes = BytesBeside(recvs, chosen, rank_, topology);
    std::swap(recvs[0], recvs[chosen]);
    return bytes;
  }

  // Null when the communicator is dead already.
  Message* Make(Rank peer, void* data, size_t bytes, std::vector<std::unique_ptr<Message>>& to) {
    if (!failure_.ok()) return nullptr;
    to.push_back(std::make_unique<Message>(outstanding_, context_->createUnboundBuffer(data, bytes), peer));
    return to.back().get();
  }

  // Gloo reports by exceptions; they end here.
  template <class Function>
  void Enqueue(Rank peer, const Function& function) {
    try {
      function();
    } catch (const std::exception& error) {
      Fail(peer, error.what(), /*late=*/false);
    }
  }

  template <class Function>
  void WaitFor(Rank peer, Time deadline, const Function& wait) {
    if (!failure_.ok()) return;
    try {
      // 0 would mean no limit.
      auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Now());
      if (!wait(std::max(left, std::chrono::milliseconds(1)))) Fail(peer, "aborted", /*late=*/false);
    } catch (const std::exception& error) {
      Fail(peer, error.what(), Now() >= deadline);
    }
  }

  void Fail(Rank peer, const std::string& what, bool late) {
    if (!failure_.ok()) return;
    if (auto reason = outstanding_->aborted()) {
      failure_ = absl::AbortedError(*reason);
    } else if (late) {
      failure_ =
          absl::DeadlineExceededError(absl::StrCat("rank ", peer.value(), " did not answer in time: ", what));
    } else {
      failure_ = LostPeerError(peer, what);
    }
    Abort(std::string(failure_.message()));
  }

  const Rank rank_;
  const int size_;
  const std::shared_ptr<gloo::Context> context_;  // null with one rank
  const std::shared_ptr<Outstanding> outstanding_;
  std::atomic<bool> met_{false};
  absl::Status failure_;                // rank thread alone
  const Topology* together_ = nullptr;  // rank thread alone
  size_t turn_ = 0;                     // rank thread alone
  CommStats stats_;                     // rank thread alone
  std::vector<PeerStats> peers_;        // rank thread alone
};

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> ConnectGloo(const GlooOptions& options,
                                                          RendezvousStore& store) {
  BALLAST_ASSIGN_OR_RETURN(std::shared_ptr<gloo::Context> context, ConnectGlooMesh(options, store));
  auto communicator = std::make_unique<GlooCommunicator>(options.rank, options.size, std::move(context));
  AbortSignal::Watch watch(store.aborted(), [&](const std::string& reason) { communicator->Abort(reason); });
  BALLAST_RETURN_IF_ERROR(communicator->MeetAll(options.deadline));
  return communicator;
}

}  // namespace ballast

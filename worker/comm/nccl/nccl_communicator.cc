#include "worker/comm/nccl/nccl_communicator.h"

#include <cstring>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/device_error.h"
#include "base/status_macros.h"
#include "kernels/check.h"
#include "worker/backend/cuda/cuda_stream.h"
#include "worker/backend/cuda/device.h"
#include "worker/comm/abort_signal.h"
#include "worker/comm/nccl/exchange_times.h"
#include "worker/comm/nccl/nccl_handle.h"
#include "worker/comm/nccl/staging.h"

namespace ballast {
namespace {

constexpr int kVersionMin = NCCL_VERSION(2, 28, 0);
// NCCL takes an operation in at once, or it is broken.
constexpr std::chrono::seconds kEnqueueTime(30);
// Kernels of an aborted communicator end within milliseconds, and then those that were enqueued behind them;
// memory is not let go before.
constexpr std::chrono::seconds kAbortedKernelTime(20);
// A wait polls without sleeping at first: most transfers take less.
constexpr std::chrono::microseconds kSpin(200);
constexpr std::chrono::microseconds kPoll(20);

Time Now() { return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now()); }

// A message of an operation, with the device memory that stands for its buffer.
struct Staged {
  StagingPool::Piece piece;
  void* host = nullptr;  // to be filled after a receive; null for a send
  size_t bytes = 0;
};

struct NcclPending final : Pending {
  ~NcclPending() override {
    if (done != nullptr) cudaEventDestroy(done);
  }
  cudaEvent_t done = nullptr;  // null: nothing was enqueued
  std::vector<Staged> staged;
  PortMessages together;
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(Rank rank, int size, int device)
      : rank_(rank),
        size_(size),
        device_(device),
        handle_(std::make_unique<NcclHandle>()),
        times_(device),
        peers_(static_cast<size_t>(size)) {}

  ~NcclCommunicator() override {
    // Frees what the destructors of its members free.
    cudaSetDevice(device_);
    handle_.reset();
    if (copies_ != nullptr) cudaStreamDestroy(copies_);
  }

  absl::Status Join(const ncclUniqueId& id, const DeviceCommunicatorOptions& options) {
    UseCudaDevice(device_);
    BALLAST_CUDA_CHECK(cudaStreamCreateWithFlags(&copies_, cudaStreamNonBlocking));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    if (options.thread_blocks_max > 0) config.maxCTAs = options.thread_blocks_max;
    auto join = [&](ncclComm_t& communicator) {
      return ncclCommInitRankConfig(&communicator, size_, id, rank_.value(), &config);
    };
    BALLAST_RETURN_IF_ERROR(handle_->Call(join, options.deadline));
    return Meet(options.deadline);
  }

  Rank rank() const override { return rank_; }
  int size() const override { return size_; }

  std::unique_ptr<Pending> Exchange(Stream& stream, std::vector<SendOp> sends,
                                    std::vector<RecvOp> recvs) override {
    ++stats_.operations;
    auto pending = std::make_unique<NcclPending>();
    if (!handle_->failure().ok()) return pending;  // the device may be dead as well
    UseCudaDevice(device_);
    const kernels::Stream on = static_cast<CudaStream&>(stream).get();
    CopyToItself(sends, recvs, on);
    if (const Topology* together = std::exchange(together_, nullptr)) {
      pending->together = SlowestPort(recvs, rank_, *together);
    }
    for (SendOp& send : sends) StageSend(send, on, *pending);
    for (RecvOp& recv : recvs) StageRecv(recv, *pending);
    // Wait reports what fails here.
    Enqueue(sends, recvs, on, Now() + kEnqueueTime, *pending).IgnoreError();
    return pending;
  }

  void NextBeginsTogether(const Topology& topology) override { together_ = &topology; }

  absl::Status Wait(Pending& pending, Time deadline) override {
    auto& mine = static_cast<NcclPending&>(pending);
    const Time waiting_since = Now();
    absl::Status status = WaitForEvent(mine, deadline);
    stats_.wait_seconds += ToSeconds(Now() - waiting_since);
    if (!status.ok()) {
      handle_->Fail(status);
      LetKernelsEnd(mine);
      return handle_->failure();
    }
    times_.Collect(peers_);
    for (Staged& staged : mine.staged) {
      if (staged.host != nullptr) {
        BALLAST_CUDA_CHECK(
            cudaMemcpyAsync(staged.host, staged.piece.data, staged.bytes, cudaMemcpyDeviceToHost, copies_));
      }
    }
    if (!mine.staged.empty()) BALLAST_CUDA_CHECK(cudaStreamSynchronize(copies_));
    for (Staged& staged : mine.staged) staging_.Give(staged.piece);
    mine.staged.clear();
    return absl::OkStatus();
  }

  absl::Status Follow(Pending& pending, Time deadline) override {
    auto& mine = static_cast<NcclPending&>(pending);
    // Host memory is filled by Wait.
    if (!mine.staged.empty() || mine.done == nullptr || !handle_->Health().ok())
      return Wait(pending, deadline);
    return absl::OkStatus();
  }

  absl::Status Drain(Stream& stream, Time deadline) override {
    NcclPending all;
    UseCudaDevice(device_);
    BALLAST_CUDA_CHECK(cudaEventCreateWithFlags(&all.done, cudaEventDisableTiming));
    BALLAST_CUDA_CHECK(cudaEventRecord(all.done, static_cast<CudaStream&>(stream).get()));
    return Wait(all, deadline);
  }

  void Abort(const std::string& reason) override { handle_->Abort(reason); }

  CommStats stats() const override { return stats_; }
  // With the exchanges that have ended by now.
  const std::vector<PeerStats>& peers() const override {
    UseCudaDevice(device_);
    times_.Collect(peers_);
    return peers_;
  }

 private:
  // One byte to and from every other rank. NCCL connects two ranks, and loads its kernels, at their first
  // message; from here on enqueueing waits for nobody. An abort that came upon first messages
  // without a counterpart made NCCL 2.28's kernels fault.
  absl::Status Meet(Time deadline) {
    if (size_ == 1) return absl::OkStatus();
    StagingPool::Piece bytes = staging_.Take(2 * static_cast<size_t>(size_));
    char* data = static_cast<char*>(bytes.data);
    std::vector<SendOp> sends;
    std::vector<RecvOp> recvs;
    for (int r = 0; r < size_; ++r) {
      if (Rank(r) == rank_) continue;
      sends.push_back({Rank(r), data + r, 1});
      recvs.push_back({Rank(r), data + size_ + r, 1});
    }
    NcclPending met;
    BALLAST_RETURN_IF_ERROR(Enqueue(sends, recvs, copies_, deadline, met));
    absl::Status status = WaitForEvent(met, deadline);
    if (!status.ok()) {
      handle_->Fail(status);
      LetKernelsEnd(met);
      return handle_->failure();
    }
    staging_.Give(bytes);
    return absl::OkStatus();
  }

  absl::Status Enqueue(const std::vector<SendOp>& sends, const std::vector<RecvOp>& recvs, kernels::Stream on,
                       Time deadline, NcclPending& pending) {
    if (!sends.empty() || !recvs.empty()) {
      auto group = [&](ncclComm_t& communicator) { return Group(communicator, sends, recvs, on); };
      times_.Begin(on);
      BALLAST_RETURN_IF_ERROR(handle_->Call(group, deadline));
      times_.End(recvs, std::move(pending.together), on);
    }
    BALLAST_CUDA_CHECK(cudaEventCreateWithFlags(&pending.done, cudaEventDisableTiming));
    BALLAST_CUDA_CHECK(cudaEventRecord(pending.done, on));
    return absl::OkStatus();
  }

  // Takes the op to itself out of both lists and carries it out; empty ops go, too. Counts the rest.
  void CopyToItself(std::vector<SendOp>& sends, std::vector<RecvOp>& recvs, kernels::Stream on) {
    const void* from = nullptr;
    size_t bytes = 0;
    std::erase_if(sends, [&](const SendOp& send) {
      if (send.to == rank_ && send.bytes > 0) {
        from = send.data;
        bytes = send.bytes;
      }
      return send.bytes == 0 || send.to == rank_;
    });
    std::erase_if(recvs, [&](const RecvOp& recv) {
      if (recv.from == rank_ && recv.bytes > 0) {
        BALLAST_CHECK(recv.bytes == bytes) << "an op to itself has no counterpart";
        if (recv.data != from) {
          BALLAST_CUDA_CHECK(cudaMemcpyAsync(recv.data, from, bytes, cudaMemcpyDefault, on));
        }
      }
      return recv.bytes == 0 || recv.from == rank_;
    });
    for (const SendOp& send : sends) {
      ++stats_.messages_sent;
      stats_.bytes_sent += static_cast<int64_t>(send.bytes);
      peers_[send.to.index()].bytes_sent += static_cast<int64_t>(send.bytes);
    }
    for (const RecvOp& recv : recvs) {
      peers_[recv.from.index()].bytes_received += static_cast<int64_t>(recv.bytes);
    }
  }

  void StageSend(SendOp& send, kernels::Stream on, NcclPending& pending) {
    if (OnDevice(send.data)) return;
    pending.staged.push_back({.piece = staging_.Take(send.bytes), .host = nullptr, .bytes = send.bytes});
    void* to = pending.staged.back().piece.data;
    BALLAST_CUDA_CHECK(cudaMemcpyAsync(to, send.data, send.bytes, cudaMemcpyHostToDevice, on));
    send.data = to;
  }

  // The copy to the host is Wait's: a copy to pageable memory on the stream would block until the peer has
  // sent, and nobody could abort that.
  void StageRecv(RecvOp& recv, NcclPending& pending) {
    if (OnDevice(recv.data)) return;
    pending.staged.push_back({.piece = staging_.Take(recv.bytes), .host = recv.data, .bytes = recv.bytes});
    recv.data = pending.staged.back().piece.data;
  }

  static ncclResult_t Group(ncclComm_t communicator, const std::vector<SendOp>& sends,
                            const std::vector<RecvOp>& recvs, kernels::Stream on) {
    ncclResult_t result = ncclGroupStart();
    auto add = [&result](ncclResult_t next) {
      if (result == ncclSuccess && next != ncclInProgress) result = next;
    };
    for (const SendOp& send : sends) {
      add(ncclSend(send.data, send.bytes, ncclUint8, send.to.value(), communicator, on));
    }
    for (const RecvOp& recv : recvs) {
      add(ncclRecv(recv.data, recv.bytes, ncclUint8, recv.from.value(), communicator, on));
    }
    const ncclResult_t ended = ncclGroupEnd();
    return result == ncclSuccess ? ended : result;
  }

  absl::Status WaitForEvent(NcclPending& pending, Time deadline) {
    const Time begin = Now();
    while (true) {
      BALLAST_RETURN_IF_ERROR(handle_->Health());
      UseCudaDevice(device_);
      const cudaError_t state = cudaEventQuery(pending.done);
      // An abort ends kernels as well, and then not all has come.
      if (state == cudaSuccess) return handle_->failure();
      if (state != cudaErrorNotReady) {
        // As when a peer's memory goes away under a transfer.
        cudaGetLastError();
        return absl::UnavailableError(
            absl::StrCat("a transfer failed on CUDA device ", device_, ": ", cudaGetErrorString(state)));
      }
      const Time now = Now();
      if (now >= deadline) {
        return absl::DeadlineExceededError("the other ranks did not answer in time; NCCL does not say which");
      }
      if (now - begin > kSpin) std::this_thread::sleep_for(kPoll);
    }
  }

  // After an abort: until no kernel uses the operation's memory.
  void LetKernelsEnd(const NcclPending& pending) {
    if (pending.done == nullptr) return;
    const Time deadline = Now() + kAbortedKernelTime;
    while (cudaEventQuery(pending.done) == cudaErrorNotReady) {
      if (Now() >= deadline) throw DeviceError("kernels of an aborted NCCL communicator do not end");
      std::this_thread::sleep_for(kPoll);
    }
    cudaGetLastError();
  }

  const Rank rank_;
  const int size_;
  const int device_;
  std::unique_ptr<NcclHandle> handle_;
  kernels::Stream copies_ = nullptr;      // from staging to the host
  StagingPool staging_;                   // rank thread alone
  mutable ExchangeTimes times_;           // rank thread alone; read out by peers()
  const Topology* together_ = nullptr;    // rank thread alone
  CommStats stats_;                       // rank thread alone
  mutable std::vector<PeerStats> peers_;  // rank thread alone
};

// "<version> <id in hexadecimal>"
std::string Invitation(int version, const ncclUniqueId& id) {
  return absl::StrCat(version, " ",
                      absl::BytesToHexString(absl::string_view(id.internal, sizeof(id.internal))));
}

absl::StatusOr<ncclUniqueId> Accept(const std::string& invitation, int version) {
  const std::string begin = absl::StrCat(version, " ");
  if (invitation.compare(0, begin.size(), begin) != 0) {
    return absl::FailedPreconditionError(absl::StrCat("this rank has NCCL ", version, " and rank 0 has NCCL ",
                                                      invitation.substr(0, invitation.find(' ')),
                                                      "; all ranks need the same"));
  }
  const std::string bytes = absl::HexStringToBytes(invitation.substr(begin.size()));
  ncclUniqueId id;
  if (bytes.size() != sizeof(id.internal)) {
    return absl::FailedPreconditionError(
        absl::StrCat("rank 0's NCCL id has ", bytes.size(), " bytes, not ", sizeof(id.internal)));
  }
  std::memcpy(id.internal, bytes.data(), bytes.size());
  return id;
}

absl::StatusOr<ncclUniqueId> AgreeOnId(const DeviceCommunicatorOptions& options, RendezvousStore& store) {
  const std::string key = absl::StrCat("generation ", options.generation.value(), "/nccl ", options.name);
  int version = 0;
  if (ncclGetVersion(&version) != ncclSuccess)
    return absl::UnavailableError("NCCL does not tell its version");
  if (version < kVersionMin) {
    return absl::FailedPreconditionError(
        absl::StrCat("libnccl: found version ", version, ", allowed is ", kVersionMin, " (2.28) or later"));
  }
  if (options.rank != Rank(0)) {
    BALLAST_ASSIGN_OR_RETURN(std::string invitation, store.Get(key, options.deadline));
    return Accept(invitation, version);
  }
  ncclUniqueId id;
  if (ncclResult_t result = ncclGetUniqueId(&id); result != ncclSuccess) {
    return absl::UnavailableError(
        absl::StrCat("NCCL makes no id: ", ncclGetErrorString(result), ": ", ncclGetLastError(nullptr)));
  }
  BALLAST_RETURN_IF_ERROR(store.Put(key, Invitation(version, id)));
  return id;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> ConnectNccl(const DeviceCommunicatorOptions& options,
                                                          RendezvousStore& store) {
  BALLAST_RETURN_IF_ERROR(CheckCudaDevice(options.device));
  BALLAST_ASSIGN_OR_RETURN(ncclUniqueId id, AgreeOnId(options, store));
  auto communicator = std::make_unique<NcclCommunicator>(options.rank, options.size, options.device);
  // By its address: what is returned has left `communicator` while this still watches.
  const AbortSignal::Watch watch(
      store.aborted(), [made = communicator.get()](const std::string& reason) { made->Abort(reason); });
  BALLAST_RETURN_IF_ERROR(communicator->Join(id, options));
  return communicator;
}

}  // namespace ballast

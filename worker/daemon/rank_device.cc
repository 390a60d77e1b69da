#include "worker/daemon/rank_device.h"

#include "base/status_macros.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/comm/communicator_pair.h"
#include "worker/comm/gloo_communicator.h"
#include "worker/daemon/nccl_status.h"

namespace ballast {
namespace {

// An allowance for CUDA's context with its kernels, NCCL's buffers and the workspaces of matrix products: without
// peers they take 1.4 GiB on an H200.
constexpr size_t kCudaFixedBytes = size_t{2} << 30;

// NCCL asks its peers for at most 5 s.
constexpr std::chrono::seconds kStatusTime(6);

// Transfers of weights and states get so many of a device's thread blocks.
constexpr int kRefreshThreadBlocks = 8;

absl::StatusOr<std::unique_ptr<Communicator>> ConnectDevices(DevicePlugin& plugin, int device,
                                                             const RankContext& context,
                                                             RendezvousStore& rendezvous, Time deadline) {
  const Assign& assign = *context.assign;
  DeviceCommunicatorOptions options{.rank = context.rank,
                                    .size = static_cast<int>(assign.members.size()),
                                    .generation = assign.stamp.generation,
                                    .device = device,
                                    .deadline = deadline};
  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> main, plugin.Connect(options, rendezvous));
  if (options.size == 1) return main;
  options.name = "refresh";
  options.thread_blocks_max = kRefreshThreadBlocks;
  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> refresh, plugin.Connect(options, rendezvous));
  return std::make_unique<CommunicatorPair>(std::move(main), std::move(refresh));
}

}  // namespace

RankDevice CpuDevice() {
  return {.make_backend = [](int, DType compute) { return MakeCpuBackend(compute); },
          .connect =
              [](const RankContext& context, RendezvousStore& rendezvous, Time deadline) {
                const Assign& assign = *context.assign;
                return ConnectGloo({.rank = context.rank,
                                    .size = static_cast<int>(assign.members.size()),
                                    .generation = assign.stamp.generation,
                                    .data_address = assign.members[context.rank.index()].data_address,
                                    .deadline = deadline},
                                   rendezvous);
              },
          .compute_types = {DType::kFloat32, DType::kBFloat16},
          .bytes_by_rank = {},
          .attention_saved_bytes = CpuAttentionSavedBytes};
}

absl::StatusOr<RankDevice> CudaDevice(DevicePlugin& plugin, const std::vector<int>& devices,
                                      size_t bytes_max) {
  BALLAST_ASSIGN_OR_RETURN(std::vector<DeviceInfo> present, plugin.Devices());
  std::vector<size_t> bytes;
  for (int device : devices) {
    const size_t whole = present.at(static_cast<size_t>(device)).memory_bytes;
    bytes.push_back(bytes_max == 0 ? whole : std::min(bytes_max, whole));
  }
  const std::string status_address = NcclStatusAddress();
  std::shared_ptr<NcclStatusLog> status;
  if (!status_address.empty()) status = std::make_shared<NcclStatusLog>(status_address, kStatusTime);
  return RankDevice{
      .make_backend =
          [&plugin, devices, bytes](int local_rank, DType compute) {
            const size_t i = static_cast<size_t>(local_rank);
            return plugin.MakeBackend(devices[i], compute, bytes[i]);
          },
      .connect =
          [&plugin, devices](const RankContext& context, RendezvousStore& rendezvous, Time deadline) {
            return ConnectDevices(plugin, devices[static_cast<size_t>(context.local_rank)], context,
                                  rendezvous, deadline);
          },
      .compute_types = {DType::kFloat32, DType::kBFloat16},
      .bytes_by_rank = bytes,
      .attention_saved_bytes =
          [](const AttentionShape& shape, DType) {
            return static_cast<size_t>(shape.sequences * shape.heads * shape.length) * sizeof(float);
          },
      .fixed_bytes = kCudaFixedBytes,
      .on_failure =
          [status] {
            if (status != nullptr) status->Ask();
          }};
}

}  // namespace ballast

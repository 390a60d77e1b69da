#include "worker/optimizer/step_exchange.h"

#include <memory>
#include <utility>
#include <vector>

#include "base/status_macros.h"

namespace ballast {
namespace {

size_t BlockBytes(const ExchangeContext& context, BlockId block) {
  return context.layout.block(block).elements * context.backend.element_bytes();
}

size_t MessageBytes(const Backend& backend, const RefreshMessage& message) {
  return message.weight_elements * backend.element_bytes() +
         message.state_elements * 3 * backend.master_bytes();
}

void SumContributions(const ExchangeContext& context, const ReduceTransfers& transfers) {
  for (size_t i = 0; i < transfers.owned.size(); ++i) {
    const BlockId block = transfers.owned[i];
    HomeBlock& home = context.homes.at(block);
    bool first = true;
    for (const Contribution& part : transfers.contributions[i]) {
      void* from = part.own ? context.slots.BlockGradient(block)
                            : context.recv.data() + part.offset * context.backend.element_bytes();
      context.backend.SumIntoMaster(context.stream, from, home.elements, /*add=*/!first,
                                    home.gradient.data());
      first = false;
    }
  }
}

// Packs one message and returns where the next one begins.
char* PackRefresh(const ExchangeContext& context, const RefreshMessage& message, char* to) {
  for (BlockId block : message.weights) {
    context.backend.Copy(context.stream, to, context.homes.at(block).updated.data(),
                         BlockBytes(context, block));
    to += BlockBytes(context, block);
  }
  for (BlockId block : message.states) {
    const size_t bytes = context.homes.StateBytes(block);
    context.backend.Copy(context.stream, to, context.homes.at(block).state.data(), bytes);
    to += bytes;
  }
  return to;
}

const char* UnpackRefresh(const ExchangeContext& context, const RefreshMessage& message, const char* from) {
  for (BlockId block : message.weights) {
    context.backend.Copy(context.stream, context.slots.BlockWeight(block), from, BlockBytes(context, block));
    from += BlockBytes(context, block);
  }
  for (BlockId block : message.states) {
    const size_t bytes = context.homes.StateBytes(block);
    context.backend.Copy(context.stream, context.homes.at(block).state.data(), from, bytes);
    from += bytes;
  }
  return from;
}

}  // namespace

absl::Status ReduceGradients(const ExchangeContext& context, const ReduceTransfers& transfers,
                             Time deadline) {
  std::vector<SendOp> sends;
  char* out = context.send.data();
  for (const BlockMessage& message : transfers.sends) {
    const char* begin = out;
    for (BlockId block : message.blocks) {
      context.backend.Copy(context.stream, out, context.slots.BlockGradient(block),
                           BlockBytes(context, block));
      out += BlockBytes(context, block);
    }
    sends.push_back({message.peer, begin, static_cast<size_t>(out - begin)});
  }
  std::vector<RecvOp> recvs;
  char* in = context.recv.data();
  for (const BlockMessage& message : transfers.recvs) {
    const size_t bytes = message.elements * context.backend.element_bytes();
    recvs.push_back({message.peer, in, bytes});
    in += bytes;
  }
  std::unique_ptr<Pending> pending =
      context.communicator.Exchange(context.stream, std::move(sends), std::move(recvs));
  BALLAST_RETURN_IF_ERROR(context.communicator.Wait(*pending, deadline));
  SumContributions(context, transfers);
  return absl::OkStatus();
}

absl::Status RefreshSlots(const ExchangeContext& context, const RefreshTransfers& transfers, Time deadline) {
  std::vector<SendOp> sends;
  char* out = context.send.data();
  for (const RefreshMessage& message : transfers.sends) {
    char* end = PackRefresh(context, message, out);
    sends.push_back({message.peer, out, static_cast<size_t>(end - out)});
    out = end;
  }
  std::vector<RecvOp> recvs;
  char* in = context.recv.data();
  for (const RefreshMessage& message : transfers.recvs) {
    const size_t bytes = MessageBytes(context.backend, message);
    recvs.push_back({message.peer, in, bytes});
    in += bytes;
  }
  Communicator& communicator = context.communicator.refresh();
  std::unique_ptr<Pending> pending =
      communicator.Exchange(context.stream, std::move(sends), std::move(recvs));
  for (BlockId block : transfers.local_weights) {
    context.backend.Copy(context.stream, context.slots.BlockWeight(block),
                         context.homes.at(block).updated.data(), BlockBytes(context, block));
  }
  BALLAST_RETURN_IF_ERROR(communicator.Wait(*pending, deadline));
  const char* from = context.recv.data();
  for (const RefreshMessage& message : transfers.recvs) from = UnpackRefresh(context, message, from);
  return absl::OkStatus();
}

size_t SendBytes(const Backend& backend, const RefreshTransfers& transfers) {
  size_t bytes = 0;
  for (const RefreshMessage& message : transfers.sends) bytes += MessageBytes(backend, message);
  return bytes;
}

size_t RecvBytes(const Backend& backend, const RefreshTransfers& transfers) {
  size_t bytes = 0;
  for (const RefreshMessage& message : transfers.recvs) bytes += MessageBytes(backend, message);
  return bytes;
}

}  // namespace ballast

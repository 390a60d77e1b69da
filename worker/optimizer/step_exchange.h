// The two packed exchanges of a step: gradients to homes, weights and moving states to where the next plan
// wants them.
#pragma once

#include "absl/status/status.h"
#include "base/clock.h"
#include "plan/layout.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"
#include "worker/optimizer/home_store.h"
#include "worker/optimizer/slot_store.h"
#include "worker/optimizer/transfers.h"
#include "worker/optimizer/window.h"

namespace ballast {

// What both exchanges work on. All of the calling rank's thread.
struct ExchangeContext {
  const ParameterLayout& layout;
  Backend& backend;
  Stream& stream;
  Communicator& communicator;
  SlotStore& slots;
  HomeStore& homes;
  Window& send;  // at least as large as the transfers need
  Window& recv;
};

// Leaves in every owned block's `gradient` the sum of its holders' gradients, which travel in the compute
// type and are added up in the master type in the order of ranks.
absl::Status ReduceGradients(const ExchangeContext& context, const ReduceTransfers& transfers, Time deadline);

// Brings every block's `updated` weights to the slots of the next plan, which `context.slots` must have been
// switched to, and the states of `arriving` blocks, which must have been added, to their new home. Blocks
// that leave are still owned.
absl::Status RefreshSlots(const ExchangeContext& context, const RefreshTransfers& transfers, Time deadline);

size_t SendBytes(const Backend& backend, const RefreshTransfers& transfers);
size_t RecvBytes(const Backend& backend, const RefreshTransfers& transfers);

}  // namespace ballast

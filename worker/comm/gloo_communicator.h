// The CPU communicator between processes: a full mesh of TCP connections by Gloo.
//
// Only Gloo's unbound-buffer sends and receives are used: its own collectives hide their buffers, and a wait
// that nobody can reach cannot be aborted. A communicator that has failed closes its connections, so its
// peers fail at once as well.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "worker/comm/communicator.h"
#include "worker/comm/rendezvous.h"

namespace ballast {

struct GlooOptions {
  Rank rank;
  int size = 0;
  Generation generation;  // prefix of all keys: a late rank of an older generation meets nobody
  std::string
      data_address;  // host name or address of this rank that its listeners bind to and peers connect to
  Time deadline;     // for the mesh to be complete
};

// Blocks until this rank is connected to all others. DeadlineExceeded or Unavailable naming what is missing;
// Aborted as soon as the store is; InvalidArgument when the data address cannot be bound; the store's own
// errors as they are. From then on the process ignores SIGPIPE, unless it handles it in a way of its own:
// without that, writing to a peer that has closed would end it.
absl::StatusOr<std::unique_ptr<Communicator>> ConnectGloo(const GlooOptions& options, RendezvousStore& store);

}  // namespace ballast

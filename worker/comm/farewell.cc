#include "worker/comm/farewell.h"

#include <memory>
#include <vector>

#include "base/status_macros.h"

namespace ballast {

absl::Status Farewell(Communicator& communicator, Stream& stream, Time deadline) {
  const std::vector<size_t> bytes(communicator.size(), 1);
  std::vector<char> all(communicator.size());
  const char mine = 1;
  std::unique_ptr<Pending> done = communicator.AllGather(stream, &mine, bytes, all.data());
  BALLAST_RETURN_IF_ERROR(communicator.Wait(*done, deadline));
  // A rank that has heard all of the first round may close while a slower one still reads it. The second
  // round ends only when all have read the first; it may itself be cut short, and that is no error.
  std::unique_ptr<Pending> gone = communicator.AllGather(stream, &mine, bytes, all.data());
  communicator.Wait(*gone, deadline).IgnoreError();
  return absl::OkStatus();
}

}  // namespace ballast

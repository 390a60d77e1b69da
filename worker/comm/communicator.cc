#include "worker/comm/communicator.h"

#include <utility>

#include "base/check.h"

namespace ballast {

std::unique_ptr<Pending> Communicator::AllGather(Stream& stream, const void* in,
                                                 const std::vector<size_t>& bytes, void* out) {
  BALLAST_CHECK(static_cast<int>(bytes.size()) == size()) << "one part per rank";
  std::vector<SendOp> sends;
  std::vector<RecvOp> recvs;
  char* to = static_cast<char*>(out);
  for (int r = 0; r < size(); ++r) {
    sends.push_back({Rank(r), in, bytes[rank().index()]});
    recvs.push_back({Rank(r), to, bytes[static_cast<size_t>(r)]});
    to += bytes[static_cast<size_t>(r)];
  }
  return Exchange(stream, std::move(sends), std::move(recvs));
}

}  // namespace ballast

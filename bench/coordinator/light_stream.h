// A session stream that looks at no more of a message than a simulated worker answers with: reading whole
// plans hundreds of times on the machine of the coordinator would be most of what is measured.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ballast/v1/session.pb.h"

namespace ballast {

struct LightMessage {
  v1::CoordinatorMessage::MessageCase kind = v1::CoordinatorMessage::MESSAGE_NOT_SET;
  v1::Stamp stamp;
  int64_t version = 0;  // of the plan in Assign and Stage, of Commit
  uint64_t digest = 0;  // of Stage
  std::string assign;   // the whole message of an Assign, which is read in full
  std::string reason;   // of Refused and Abort
};

struct LightEnded {
  grpc::Status status;
};
// A message, a write that is over (monostate), or the end.
using LightEvent = std::variant<std::monostate, LightMessage, LightEnded>;

// One write is under way at most. The last event is LightEnded; the object may go some time after it.
class LightStream {
 public:
  using Tell = std::function<void(LightEvent)>;
  static std::unique_ptr<LightStream> Begin(const std::string& target,
                                            const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                                            Tell tell);
  virtual ~LightStream() = default;
  virtual void Write(v1::WorkerMessage message) = 0;
  virtual void Cancel() = 0;
};

// Nothing when the bytes are no message.
std::optional<LightMessage> ReadLight(const std::string& bytes);

}  // namespace ballast

#include "bench/coordinator/light_stream.h"

#include <google/protobuf/io/coded_stream.h>
#include <grpcpp/generic/generic_stub.h>

#include <utility>

#include "net/limits.h"

namespace ballast {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// Calls `take` with the number and wire type of every field; it reads the field and returns true, or returns
// false to have it skipped. False when the bytes are no message.
template <class Take>
bool EachField(CodedInputStream& in, const Take& take) {
  while (const uint32_t tag = in.ReadTag()) {
    const int field = WireFormatLite::GetTagFieldNumber(tag);
    if (take(field)) continue;
    if (!WireFormatLite::SkipField(&in, tag)) return false;
  }
  return in.ConsumedEntireMessage();
}

// The bytes of the field that begins here.
std::string_view Part(CodedInputStream& in, const std::string& bytes) {
  uint32_t size = 0;
  if (!in.ReadVarint32(&size)) return {};
  const auto at = static_cast<size_t>(in.CurrentPosition());
  if (!in.Skip(static_cast<int>(size))) return {};
  return std::string_view(bytes).substr(at, size);
}

CodedInputStream Over(std::string_view bytes) {
  return CodedInputStream(reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
}

bool ReadPlanVersion(std::string_view plan, int64_t& version) {
  CodedInputStream in = Over(plan);
  return EachField(in, [&](int field) {
    uint64_t value = 0;
    if (field != v1::Plan::kVersionFieldNumber || !in.ReadVarint64(&value)) return false;
    version = static_cast<int64_t>(value);
    return true;
  });
}

bool ReadStage(const std::string& bytes, LightMessage& message) {
  CodedInputStream in = Over(bytes);
  bool ok = true;
  return EachField(in,
                   [&](int field) {
                     if (field == v1::Stage::kStampFieldNumber) {
                       const std::string_view part = Part(in, bytes);
                       ok = ok && message.stamp.ParseFromArray(part.data(), static_cast<int>(part.size()));
                       return true;
                     }
                     if (field == v1::Stage::kPlanFieldNumber) {
                       ok = ok && ReadPlanVersion(Part(in, bytes), message.version);
                       return true;
                     }
                     return field == v1::Stage::kDigestFieldNumber && in.ReadLittleEndian64(&message.digest);
                   }) &&
         ok;
}

class Stream final : public LightStream, public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Stream(const std::string& target, const std::shared_ptr<grpc::ChannelCredentials>& credentials, Tell tell)
      : tell_(std::move(tell)) {
    grpc::ChannelArguments arguments;
    ApplyLimits(arguments);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
    stub_ = std::make_unique<grpc::GenericStub>(grpc::CreateCustomChannel(target, credentials, arguments));
    stub_->PrepareBidiStreamingCall(&context_, "/ballast.v1.Session/Attach", {}, this);
    AddHold();
    StartRead(&incoming_);
    StartCall();
  }
  void Write(v1::WorkerMessage message) override {
    const grpc::Slice slice(message.SerializeAsString());
    outgoing_ = grpc::ByteBuffer(&slice, 1);
    StartWrite(&outgoing_);
  }
  void Cancel() override { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (!ok) return RemoveHold();
    std::vector<grpc::Slice> slices;
    std::string bytes;
    if (incoming_.Dump(&slices).ok()) {
      for (const grpc::Slice& slice : slices) {
        bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
      }
    }
    if (std::optional<LightMessage> message = ReadLight(bytes)) tell_(*std::move(message));
    incoming_.Clear();
    StartRead(&incoming_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) tell_(std::monostate());
  }
  void OnDone(const grpc::Status& status) override { tell_(LightEnded{status}); }

 private:
  const Tell tell_;
  std::unique_ptr<grpc::GenericStub> stub_;
  grpc::ClientContext context_;
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
};

}  // namespace

std::optional<LightMessage> ReadLight(const std::string& bytes) {
  LightMessage message;
  CodedInputStream in = Over(bytes);
  bool ok = true;
  std::string inner;
  const bool whole = EachField(in, [&](int field) {
    message.kind = static_cast<v1::CoordinatorMessage::MessageCase>(field);
    inner = std::string(Part(in, bytes));
    return true;
  });
  if (!whole) return std::nullopt;
  switch (message.kind) {
    case v1::CoordinatorMessage::kStage:
      ok = ReadStage(inner, message);
      break;
    case v1::CoordinatorMessage::kAssign:
      message.assign = std::move(inner);
      break;
    case v1::CoordinatorMessage::kCommit: {
      v1::Commit commit;
      ok = commit.ParseFromString(inner);
      message.version = commit.version();
      break;
    }
    case v1::CoordinatorMessage::kRefused: {
      v1::Refused refused;
      ok = refused.ParseFromString(inner);
      message.reason = refused.reason();
      break;
    }
    case v1::CoordinatorMessage::kAbort: {
      v1::Abort abort;
      ok = abort.ParseFromString(inner);
      message.reason = abort.reason();
      break;
    }
    default:
      break;
  }
  if (!ok) return std::nullopt;
  return message;
}

std::unique_ptr<LightStream> LightStream::Begin(const std::string& target,
                                                const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                                                Tell tell) {
  return std::make_unique<Stream>(target, credentials, std::move(tell));
}

}  // namespace ballast

#include "worker/agent/attach_client.h"

#include <utility>

#include "net/grpc_status.h"
#include "net/limits.h"

namespace ballast {
namespace {

class CallbackClient final : public AttachClient,
                             public grpc::ClientBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage> {
 public:
  CallbackClient(const std::string& target, const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                 Tell tell)
      : tell_(std::move(tell)) {
    grpc::ChannelArguments arguments;
    ApplyLimits(arguments);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel_ = grpc::CreateCustomChannel(target, credentials, arguments);
    stub_ = v1::Session::NewStub(channel_);
    stub_->async()->Attach(&context_, this);
    AddHold();  // the agent's thread writes whenever it likes, until it cancels or lets go
    StartRead(&incoming_);
    StartCall();
  }

  void ReadNext() override { StartRead(&incoming_); }
  void Write(v1::WorkerMessage message) override {
    outgoing_ = std::move(message);
    StartWrite(&outgoing_);
  }
  void WritesDone() override { StartWritesDone(); }
  void Cancel() override {
    context_.TryCancel();
    RemoveHold();
  }
  void LetGo() override { RemoveHold(); }

  void OnReadDone(bool ok) override {
    if (ok) {
      tell_(StreamRead{std::move(incoming_)});
    } else {
      tell_(StreamEnded{});
    }
  }
  void OnWriteDone(bool) override { tell_(StreamWritten{}); }  // a failure also ends the reading
  void OnDone(const grpc::Status& status) override { tell_(StreamDone{FromGrpc(status)}); }

 private:
  const Tell tell_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Session::Stub> stub_;
  grpc::ClientContext context_;
  v1::CoordinatorMessage incoming_;  // of the read under way
  v1::WorkerMessage outgoing_;       // of the write under way
};

}  // namespace

std::unique_ptr<AttachClient> AttachClient::Begin(
    const std::string& target, const std::shared_ptr<grpc::ChannelCredentials>& credentials, Tell tell) {
  return std::make_unique<CallbackClient>(target, credentials, std::move(tell));
}

}  // namespace ballast

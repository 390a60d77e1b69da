// The agent against a coordinator that the test plays, over plaintext on loopback.
#include "worker/agent/agent.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "ballast/v1/session.grpc.pb.h"
#include "plan/contiguous.h"
#include "plan/layout.h"
#include "tests/coordinator/small_job.h"
#include "wire/convert_session.h"

namespace ballast {
namespace {

using ServerStream = grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::WorkerMessage>;

// Plays its role on the first stream, which ends when the role returns; further ones end at once.
class PlayedCoordinator final : public v1::Session::Service {
 public:
  explicit PlayedCoordinator(std::function<void(ServerStream&)> role) : role_(std::move(role)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~PlayedCoordinator() override { server_->Shutdown(std::chrono::system_clock::now()); }
  int port() const { return port_; }
  int streams() const { return streams_; }

  grpc::Status Attach(grpc::ServerContext*, ServerStream* stream) override {
    if (++streams_ == 1) role_(*stream);
    return grpc::Status::OK;
  }

 private:
  const std::function<void(ServerStream&)> role_;
  int port_ = 0;
  std::atomic<int> streams_{0};
  std::unique_ptr<grpc::Server> server_;
};

class NoRanks final : public Ranks {
 public:
  void Start(StartGeneration, std::shared_ptr<StreamRendezvous>) override {}
  void Abort(const RunId&, const std::string&) override {}
  void Forget(const RunId&) override {}
};

Assign AssignAlone() {
  std::shared_ptr<JobConfig> job = SmallJob("demo", 1);
  job->optimizer.learning_rate = 0.01;  // what travels is checked as a job file is
  job->training.evaluation_sequences = 1;
  ParameterLayout layout = ParameterLayout::Make(job->model, job->placement.block_elements).value();
  auto plan = std::make_shared<Plan>();
  plan->stamp = {.job = job->name,
                 .generation = Generation(1),
                 .version = PlanVersion(1),
                 .base_version = {},
                 .not_before_step = Step(1)};
  plan->body = ContiguousPlan(*job, layout, 1).value();
  Member self;
  self.worker = WorkerId("w0");
  self.incarnation = Incarnation(7);
  return {.stamp = {.term = Term(1), .job = job->name, .generation = Generation(1)},
          .job = job,
          .members = {self},
          .plan = plan,
          .start_step = Step(1),
          .checkpoint = {},
          .retained = {}};
}

// The next message that says something; an empty one when the stream ended.
v1::WorkerMessage Next(ServerStream& stream) {
  v1::WorkerMessage message;
  while (stream.Read(&message)) {
    if (!message.has_heartbeat()) return message;
  }
  return {};
}

TEST(Agent, APlanThatCannotBeReadIsRejectedAndTheStreamStays) {
  const Assign assign = AssignAlone();
  auto next = std::make_shared<Plan>(*assign.plan);
  next->stamp.version = PlanVersion(2);
  next->stamp.base_version = PlanVersion(1);
  v1::CoordinatorMessage good = ToProto(CoordinatorMessage(Stage{assign.stamp, next}));
  v1::CoordinatorMessage bad = good;
  bad.mutable_stage()->mutable_plan()->mutable_body()->add_homes(-1);

  std::promise<std::pair<v1::WorkerMessage, v1::WorkerMessage>> answers;
  PlayedCoordinator coordinator([&](ServerStream& stream) {
    Next(stream);  // Hello
    stream.Write(ToProto(CoordinatorMessage(Welcome{Term(1)})));
    stream.Write(ToProto(CoordinatorMessage(assign)));
    stream.Write(bad);
    v1::WorkerMessage rejected = Next(stream);
    if (rejected.has_rejected()) stream.Write(good);
    answers.set_value({rejected, rejected.has_rejected() ? Next(stream) : v1::WorkerMessage()});
    Next(stream);  // until the agent stops
  });

  SessionOptions options;
  options.identity.worker = WorkerId("w0");
  options.identity.incarnation = Incarnation(7);
  options.identity.ranks = 1;
  Agent* wake = nullptr;
  SessionHost host(options, 8, [&wake] { wake->Wake(); });
  NoRanks ranks;
  host.SetRanks(&ranks);
  Agent agent({.target = absl::StrCat("127.0.0.1:", coordinator.port()),
               .credentials = grpc::InsecureChannelCredentials()},
              &host);
  wake = &agent;
  std::thread thread([&agent] { EXPECT_TRUE(agent.Run().ok()); });
  auto answered = answers.get_future();
  if (answered.wait_for(std::chrono::seconds(15)) == std::future_status::ready) {
    auto [first, second] = answered.get();
    EXPECT_TRUE(first.has_rejected()) << first.ShortDebugString();
    EXPECT_EQ(first.rejected().version(), 2);
    EXPECT_EQ(first.rejected().incarnation(), 7u);
    EXPECT_EQ(first.rejected().stamp().term(), 1);
    EXPECT_TRUE(first.rejected().lasting());
    EXPECT_EQ(first.rejected().digest(), Digest(*next).value());
    EXPECT_NE(first.rejected().reason().find("plan.body.homes["), std::string::npos)
        << first.rejected().reason();
    EXPECT_TRUE(second.has_staged()) << "nothing was promised by the bad one: " << second.ShortDebugString();
  } else {
    ADD_FAILURE() << "no answer";
  }
  agent.Stop();
  thread.join();
  EXPECT_EQ(coordinator.streams(), 1);
}

}  // namespace
}  // namespace ballast

// Both services in one process, over mutual TLS on loopback.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "ballast/v1/control.grpc.pb.h"
#include "ballast/v1/session.grpc.pb.h"
#include "coordinator/driver.h"
#include "coordinator/memory_store.h"
#include "coordinator/server.h"
#include "coordinator/strategies.h"
#include "ctl/certs.h"
#include "net/limits.h"
#include "plan/layout.h"
#include "plan/validate.h"
#include "protocol/version.h"
#include "tests/base/temp_dir.h"
#include "tests/coordinator/small_job.h"
#include "tests/daemons/slow_relay.h"
#include "wire/job_reader.h"

namespace ballast {
namespace {

void WriteCertificates(const std::string& folder, bool force = false) {
  DevCertificates request;
  request.folder = folder;
  request.workers = {"w0", "w1"};
  request.operators = {"me"};
  request.force = force;
  BALLAST_CHECK_OK(WriteDevCertificates(request).status());
}

CertificateFiles Files(const std::string& folder, const std::string& name) {
  return {.ca = folder + "/ca.pem",
          .cert = absl::StrCat(folder, "/", name, ".pem"),
          .key = absl::StrCat(folder, "/", name, ".key")};
}

class Services : public testing::Test {
 protected:
  Services() {
    WriteCertificates(certs());
    DriverOptions fast;
    fast.tick = Seconds(0.05);
    driver_ = std::make_unique<Driver>(std::make_unique<MemoryStore>(), fast, [](const std::string&) {});
    BALLAST_CHECK_OK(driver_->Start());
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    options.http = "127.0.0.1:0";
    options.certificates = Files(certs(), "coordinator");
    options.control.planners = KnownPlanners();
    options.control.strategies = ListStrategies();
    options.session.heartbeat_period = Seconds(0.2);
    options.session.lease = Seconds(1);
    auto server = CoordinatorServer::Start(driver_.get(), options);
    BALLAST_CHECK_OK(server.status());
    server_ = *std::move(server);
  }
  ~Services() override {
    driver_->Stop();
    server_->Shutdown();
  }

  std::string certs() const { return dir_ / "certs"; }
  std::shared_ptr<grpc::Channel> Channel(const std::shared_ptr<grpc::ChannelCredentials>& credentials) const {
    grpc::ChannelArguments own;  // no connection is shared between two identities
    own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", server_->port()), credentials, own);
  }
  std::shared_ptr<grpc::Channel> As(const std::string& name) const {
    return Channel(MakeChannelCredentials(Files(certs(), name)).value());
  }
  static void Deadline(grpc::ClientContext& context, int seconds = 10) {
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(seconds));
  }
  static grpc::Status List(const std::shared_ptr<grpc::Channel>& channel) {
    grpc::ClientContext context;
    Deadline(context, 3);
    v1::ListJobsResponse response;
    return v1::Control::NewStub(channel)->ListJobs(&context, {}, &response);
  }

  TempDir dir_;
  std::unique_ptr<Driver> driver_;
  std::unique_ptr<CoordinatorServer> server_;
};

// One Attach call with its own context.
struct Stream {
  explicit Stream(const std::shared_ptr<grpc::Channel>& channel) : stub(v1::Session::NewStub(channel)) {
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    stream = stub->Attach(&context);
  }
  void Hello(const std::string& name, uint64_t incarnation = 1, int version = kProtocolVersion) {
    v1::WorkerMessage message;
    message.mutable_hello()->set_protocol_version(version);
    message.mutable_hello()->set_worker(name);
    message.mutable_hello()->set_incarnation(incarnation);
    message.mutable_hello()->set_node("node0");
    message.mutable_hello()->set_device("cpu");
    message.mutable_hello()->set_ranks(1);
    message.mutable_hello()->set_data_address("127.0.0.1");
    message.mutable_hello()->set_neighbour_address("127.0.0.1:9");
    stream->Write(message);
  }
  // The next message that is no heartbeat; an empty one when the stream ended.
  v1::CoordinatorMessage Next() {
    v1::CoordinatorMessage message;
    while (stream->Read(&message)) {
      if (!message.has_heartbeat()) return message;
    }
    return {};
  }
  std::unique_ptr<v1::Session::Stub> stub;
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerMessage, v1::CoordinatorMessage>> stream;
};

// On a slow link, or a machine that is busy, connecting takes its time: the first attempt must wait for it.
TEST_F(Services, AConnectionMayTakeLonger) {
  SlowRelay relay(server_->port(), std::chrono::milliseconds(600));
  grpc::ChannelArguments limits;
  ApplyLimits(limits);
  limits.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  grpc::Status status =
      List(grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", relay.port()),
                                     MakeChannelCredentials(Files(certs(), "operator-me")).value(), limits));
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(Services, AnOperatorIsServedAndNobodyElse) {
  EXPECT_TRUE(List(As("operator-me")).ok());
  grpc::Status worker = List(As("worker-w0"));
  EXPECT_EQ(worker.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(worker.error_message(), "/ballast.v1.Control/ListJobs: called by worker/w0; allowed: operator");

  grpc::SslCredentialsOptions no_certificate;
  std::ifstream ca(certs() + "/ca.pem");
  no_certificate.pem_root_certs.assign(std::istreambuf_iterator<char>(ca), {});
  EXPECT_EQ(List(Channel(grpc::SslCredentials(no_certificate))).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(List(Channel(grpc::InsecureChannelCredentials())).error_code(), grpc::StatusCode::UNAVAILABLE);

  WriteCertificates(dir_ / "other");
  CertificateFiles stranger = Files(dir_ / "other", "operator-me");
  EXPECT_EQ(List(Channel(MakeChannelCredentials(stranger).value())).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  stranger.ca = certs() + "/ca.pem";  // it trusts us; we do not trust it
  EXPECT_EQ(List(Channel(MakeChannelCredentials(stranger).value())).error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

// Calls `method` with one message and returns how it ended and what came first.
grpc::Status CallRaw(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                     const std::string& request, std::string* answer) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
  grpc::Slice slice(request);
  grpc::ByteBuffer out(&slice, 1);
  grpc::ByteBuffer in;
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, method, {}, &out, &in,
                 [&done](grpc::Status status) { done.set_value(std::move(status)); });
  grpc::Status status = done.get_future().get();
  std::vector<grpc::Slice> slices;
  in.Dump(&slices);
  for (const grpc::Slice& part : slices) answer->append(part.begin(), part.end());
  return status;
}

TEST_F(Services, EveryControlRpcAsksTheRoleTable) {
  const google::protobuf::ServiceDescriptor* service = v1::GetJobRequest::descriptor()->file()->service(0);
  ASSERT_EQ(service->full_name(), "ballast.v1.Control");
  std::shared_ptr<grpc::Channel> worker = As("worker-w0");
  for (int m = 0; m < service->method_count(); ++m) {
    std::string method = absl::StrCat("/", service->full_name(), "/", service->method(m)->name());
    std::string answer;
    grpc::Status status = CallRaw(worker, method, "", &answer);
    bool open = absl::EndsWith(method, "/GetVersion") || absl::EndsWith(method, "/ListStrategies");
    EXPECT_EQ(status.error_code(), open ? grpc::StatusCode::OK : grpc::StatusCode::PERMISSION_DENIED)
        << method;
  }
}

TEST_F(Services, TheSessionTakesWorkersUnderTheirOwnName) {
  Stream person(As("operator-me"));
  person.Hello("me");
  EXPECT_EQ(person.stream->Finish().error_code(), grpc::StatusCode::PERMISSION_DENIED);

  Stream liar(As("worker-w1"));
  liar.Hello("w0");
  EXPECT_EQ(liar.Next().message_case(), v1::CoordinatorMessage::MESSAGE_NOT_SET);
  grpc::Status lied = liar.stream->Finish();
  EXPECT_EQ(lied.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(lied.error_message(), "the worker calls itself \"w0\" and its certificate is of worker/w1");

  Stream good(As("worker-w0"));
  good.Hello("w0");
  v1::CoordinatorMessage welcome = good.Next();
  ASSERT_TRUE(welcome.has_welcome()) << welcome.ShortDebugString();
  EXPECT_EQ(welcome.welcome().term(), 1);
  EXPECT_EQ(welcome.welcome().heartbeat_ms(), 200);
  EXPECT_EQ(welcome.welcome().lease_ms(), 1000);
  good.Hello("w0");
  EXPECT_EQ(good.stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT) << "a second Hello";

  Stream rude(As("worker-w0"));
  v1::WorkerMessage started;
  started.mutable_started()->mutable_stamp()->set_job("demo");
  rude.stream->Write(started);
  EXPECT_EQ(rude.stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT) << "no Hello first";
}

TEST_F(Services, AnotherProtocolVersionIsRefusedInWordsAndTheStreamEnds) {
  Stream other(As("worker-w0"));
  other.Hello("w0", 1, 99);
  v1::CoordinatorMessage message = other.Next();
  ASSERT_TRUE(message.has_refused()) << message.ShortDebugString();
  EXPECT_TRUE(absl::StrContains(message.refused().reason(), "99"));
  EXPECT_FALSE(message.refused().retry());
  EXPECT_EQ(other.Next().message_case(), v1::CoordinatorMessage::MESSAGE_NOT_SET);
  EXPECT_TRUE(other.stream->Finish().ok());
}

TEST_F(Services, ASilentStreamLosesItsLeaseAndATalkingOneKeepsIt) {
  Stream silent(As("worker-w0"));
  silent.Hello("w0");
  Stream talking(As("worker-w1"));
  talking.Hello("w1");
  auto begin = std::chrono::steady_clock::now();
  int heartbeats = 0;
  std::thread talk([&talking] {
    for (int i = 0; i < 12; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      v1::WorkerMessage heartbeat;
      heartbeat.mutable_heartbeat();
      EXPECT_TRUE(talking.stream->Write(heartbeat)) << i;
    }
    talking.stream->WritesDone();
  });
  v1::CoordinatorMessage message;
  while (silent.stream->Read(&message)) heartbeats += message.has_heartbeat();
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  EXPECT_EQ(silent.stream->Finish().error_message(), "lease expired");
  EXPECT_GE(seconds, 0.9);
  EXPECT_LT(seconds, 3.0);
  EXPECT_GE(heartbeats, 2);
  talk.join();
  while (talking.stream->Read(&message)) {
  }
  EXPECT_TRUE(talking.stream->Finish().ok());
}

TEST_F(Services, AWatcherSeesTheStateFirstAndTheStopOfTheCoordinatorLast) {
  std::shared_ptr<grpc::Channel> channel = As("operator-me");
  std::unique_ptr<v1::Control::Stub> control = v1::Control::NewStub(channel);
  v1::WatchJobRequest request;
  request.set_name("demo");
  v1::JobEvent event;
  {
    grpc::ClientContext context;
    Deadline(context);
    auto watch = control->WatchJob(&context, request);
    EXPECT_FALSE(watch->Read(&event));
    EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
  }
  v1::SubmitJobRequest submit;
  v1::SubmitJobResponse submitted;
  std::shared_ptr<JobConfig> job = SmallJob("demo", 2);
  job->optimizer.learning_rate = 0.01;
  job->training.evaluation_sequences = 1;
  *submit.mutable_job() = SpecFromJob(*job);
  {
    grpc::ClientContext context;
    Deadline(context);
    grpc::Status status = control->SubmitJob(&context, submit, &submitted);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(submitted.job().state(), v1::JOB_STATE_QUEUED);
  }
  grpc::ClientContext context;
  Deadline(context);
  auto watch = control->WatchJob(&context, request);
  ASSERT_TRUE(watch->Read(&event));
  EXPECT_EQ(event.state().state(), v1::JOB_STATE_QUEUED);
  driver_->Stop();
  while (watch->Read(&event)) {
  }
  EXPECT_EQ(watch->Finish().error_message(), "the coordinator is stopping");
  EXPECT_EQ(List(channel).error_code(), grpc::StatusCode::UNAVAILABLE) << "answered, not hanging";
}

TEST_F(Services, HealthReflectionAndProbes) {
  std::shared_ptr<grpc::Channel> channel = As("operator-me");
  std::string answer;
  ASSERT_TRUE(CallRaw(channel, "/grpc.health.v1.Health/Check", "", &answer).ok());
  EXPECT_EQ(answer, std::string("\x08\x01", 2)) << "status: SERVING";
  answer.clear();
  // ServerReflectionRequest{list_services: ""}
  ASSERT_TRUE(CallRaw(channel, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                      std::string("\x3a\x00", 2), &answer)
                  .ok());
  EXPECT_TRUE(absl::StrContains(answer, "ballast.v1.Control"));
  EXPECT_TRUE(absl::StrContains(answer, "ballast.v1.Session"));

  httplib::Client http("127.0.0.1", server_->http_port());
  EXPECT_EQ(http.Get("/healthz")->status, 200);
  EXPECT_EQ(http.Get("/readyz")->status, 200);
  EXPECT_EQ(http.Get("/metrics-not-here")->status, 404);
  server_->Drain();
  answer.clear();
  ASSERT_TRUE(CallRaw(channel, "/grpc.health.v1.Health/Check", "", &answer).ok());
  EXPECT_EQ(answer, std::string("\x08\x02", 2)) << "status: NOT_SERVING";
  driver_->Stop();
  EXPECT_EQ(http.Get("/readyz")->status, 503);
}

TEST_F(Services, CertificatesAreReadAgainWhenTheFilesChange) {
  std::filesystem::copy(certs(), dir_ / "old", std::filesystem::copy_options::recursive);
  auto old_person = MakeChannelCredentials(Files(dir_ / "old", "operator-me")).value();
  ASSERT_TRUE(List(Channel(old_person)).ok());
  WriteCertificates(certs(), /*force=*/true);  // another authority, by rename
  auto begin = std::chrono::steady_clock::now();
  double seconds = 0;
  grpc::Status status;
  // New handshakes must use the new files within 2.5 s; three times that is the deadline.
  while (seconds < 7.5) {
    status = List(As("operator-me"));
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (status.ok()) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_TRUE(status.ok()) << status.error_message();
  std::printf("new certificates served after %.2f s\n", seconds);
  EXPECT_EQ(List(Channel(old_person)).error_code(), grpc::StatusCode::UNAVAILABLE)
      << "the old authority is gone";
}

TEST(Certificates, FilesAreCheckedBeforeAnyHandshake) {
  TempDir dir;
  WriteCertificates(dir / "certs");
  CertificateFiles good = Files(dir / "certs", "worker-w0");
  EXPECT_TRUE(CheckCertificateFiles(good).ok());
  EXPECT_EQ(IdentityInCertificate(good.cert).value(), "worker/w0");
  CertificateFiles bad = good;
  bad.key = dir / "certs/worker-w1.key";
  EXPECT_TRUE(absl::StrContains(CheckCertificateFiles(bad).message(), "is not the key of the certificate"));
  bad = good;
  bad.cert = good.key;
  EXPECT_TRUE(absl::StrContains(CheckCertificateFiles(bad).message(), "no PEM certificate in it"));
  bad = good;
  bad.ca = dir / "none.pem";
  EXPECT_EQ(CheckCertificateFiles(bad).code(), absl::StatusCode::kNotFound);
  bad = good;
  bad.insecure = true;
  EXPECT_EQ(CheckCertificateFiles(bad).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckCertificateFiles({}).code(), absl::StatusCode::kInvalidArgument);
}

TEST(Strategies, CoverWhatAPlanMayCarry) {
  std::shared_ptr<JobConfig> job = SmallJob("demo", 2);
  ParameterLayout layout = ParameterLayout::Make(job->model, job->placement.block_elements).value();
  PlanLimits limits = LimitsFor(*job, layout, 2);
  std::multimap<std::string, std::string> listed;
  v1::ListStrategiesResponse strategies = ListStrategies();
  for (const v1::Strategy& strategy : strategies.strategies()) {
    listed.emplace(strategy.kind(), strategy.name());
    EXPECT_FALSE(strategy.description().empty()) << strategy.name();
  }
  std::multimap<std::string, std::string> expected;
  for (const std::string& name : KnownPlanners()) expected.emplace("planner strategy", name);
  for (const std::string& name : limits.all_to_alls) expected.emplace("all-to-all", name);
  for (const std::string& name : limits.compressors) expected.emplace("compressor", name);
  for (const std::string& name : limits.task_orders) expected.emplace("task order", name);
  EXPECT_EQ(listed, expected);
}

}  // namespace
}  // namespace ballast

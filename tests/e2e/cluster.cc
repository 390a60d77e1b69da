#include "tests/e2e/cluster.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/rng.h"
#include "ctl/certs.h"
#include "net/certificates.h"
#include "net/grpc_status.h"
#include "net/limits.h"
#include "wire/job_reader.h"
#include "worker/model/indexed_dataset.h"

namespace ballast {
namespace {

constexpr int kWorkersMax = 8;
constexpr int kVocabulary = 17;
constexpr double kCallSeconds = 15;

// Text with structure, so that there is something to learn: each token depends on the one before.
void WriteText(const std::string& prefix) {
  Rng rng(5);
  IndexedDatasetWriter writer = IndexedDatasetWriter::Create(prefix).value();
  for (int document = 0; document < 40; ++document) {
    std::vector<uint16_t> tokens;
    uint64_t token = rng.Below(kVocabulary);
    for (int i = 0; i < 200; ++i) {
      tokens.push_back(static_cast<uint16_t>(token));
      token = rng.Chance(0.8) ? (3 * token + 1) % kVocabulary : rng.Below(kVocabulary);
    }
    BALLAST_CHECK_OK(writer.AddDocument(tokens));
  }
  BALLAST_CHECK_OK(writer.Finish());
}

void Sleep(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

std::chrono::steady_clock::time_point After(double seconds) {
  return std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                                                std::chrono::duration<double>(seconds));
}

}  // namespace

JobConfig SmallJob(const std::string& name, int ranks, int64_t steps) {
  JobConfig job;
  job.name = JobId(name);
  job.model = {.vocabulary_size = kVocabulary,
               .hidden_size = 12,
               .layers = 2,
               .attention_heads = 2,
               .key_value_heads = 1,
               .head_size = 6,
               .initializer_range = 0.1,
               .moe = {.experts = 8,
                       .top_k = 2,
                       .intermediate_size = 9,
                       .load_balance_coefficient = 0.01,
                       .z_loss_coefficient = 0.001}};
  job.data.sources = {{.name = "text", .prefix = ""}};
  job.data.mixture = {{.from_step = Step(1), .weights = {1.0}}};
  job.data.sequence_length = 12;
  job.optimizer.learning_rate = 0.01;
  job.optimizer.learning_rate_min = 0.001;
  job.optimizer.warmup_steps = 5;
  job.training.steps = steps;
  job.training.global_batch_sequences = 6;
  job.training.microbatch_sequences = 2;
  job.training.seed = 3;
  job.training.evaluation_sequences = 2;
  job.placement.ranks = ranks;
  job.placement.slots_per_rank = 8;
  job.placement.block_elements = 40;
  job.planner.strategy = "contiguous";
  return job;
}

Cluster::Cluster(const std::vector<std::string>& hosts) : plaintext_(false) {
  DevCertificates request;
  request.folder = dir_ / "certs";
  request.operators = {"me"};
  request.hosts = hosts;
  for (int i = 0; i < kWorkersMax; ++i) request.workers.push_back(absl::StrCat("w", i));
  BALLAST_CHECK_OK(WriteDevCertificates(request).status());
  WriteText(data_prefix());
}

Cluster::Cluster(Plaintext) : plaintext_(true) { WriteText(data_prefix()); }

Cluster::~Cluster() {
  if (testing::Test::HasFailure()) PrintLogs();
}

std::string Cluster::binary(const std::string& name) const {
  return absl::StrCat(BALLAST_BINARY_DIR, "/", name);
}

void Cluster::StartCoordinator(std::vector<std::string> extra) {
  std::string port_file = dir_ / "ports";
  std::filesystem::remove(port_file);
  std::vector<std::string> command = {binary("ballast-coordinator"),
                                      "--listen",
                                      absl::StrCat(listen_host_, ":", port_),
                                      "--port-file",
                                      port_file,
                                      "--data-dir",
                                      dir_ / "state"};
  for (const std::string& option : Files("coordinator")) command.push_back(option);
  command.insert(command.end(), extra.begin(), extra.end());
  StartCoordinatorBy(command, port_file);
}

void Cluster::StartCoordinatorBy(const std::vector<std::string>& command, const std::string& port_file) {
  coordinator_ = Start(command, "coordinator");
  auto deadline = After(20);
  while (port_ == 0 || !std::filesystem::exists(port_file)) {
    BALLAST_CHECK(coordinator_->running()) << coordinator_->Output();
    BALLAST_CHECK(std::chrono::steady_clock::now() < deadline) << coordinator_->Output();
    std::sscanf(ReadFile(port_file).c_str(), "grpc=%d", &port_);
    Sleep(0.01);
  }
  if (control_ != nullptr) return;
  CertificateFiles files;
  files.insecure = plaintext_;
  if (!plaintext_) {
    files.ca = Certificate("ca.pem");
    files.cert = Certificate("operator-me.pem");
    files.key = Certificate("operator-me.key");
  }
  auto credentials = MakeChannelCredentials(files);
  BALLAST_CHECK_OK(credentials.status());
  grpc::ChannelArguments arguments;
  ApplyLimits(arguments);
  control_ = v1::Control::NewStub(
      grpc::CreateCustomChannel(absl::StrCat(operator_host_, ":", port_), *credentials, arguments));
}

std::vector<std::string> Cluster::Files(const std::string& name) const {
  if (plaintext_) return {"--insecure"};
  return {"--ca",  Certificate("ca.pem"),     "--cert", Certificate(name + ".pem"),
          "--key", Certificate(name + ".key")};
}

std::unique_ptr<Process> Cluster::Start(std::vector<std::string> command, const std::string& log) const {
  command.insert(command.begin(), prefix_.begin(), prefix_.end());
  return std::make_unique<Process>(command, LogPath(log));
}

std::vector<std::string> Cluster::WorkerCommand(int i) const {
  auto own = coordinator_of_.find(i);
  std::vector<std::string> command = {
      binary("ballast-worker"), "--coordinator",
      own != coordinator_of_.end() ? own->second : absl::StrCat(worker_host_, ":", port_), "--node",
      absl::StrCat("node", i / 2)};
  if (plaintext_) command.insert(command.end(), {"--name", absl::StrCat("w", i)});
  for (const std::string& option : Files(absl::StrCat("worker-w", i))) command.push_back(option);
  return command;
}

void Cluster::StartWorker(int i, std::vector<std::string> extra) {
  std::vector<std::string> command = WorkerCommand(i);
  command.insert(command.end(), extra.begin(), extra.end());
  StartWorkerBy(i, command);
}

void Cluster::StartWorkerBy(int i, const std::vector<std::string>& command) {
  if (workers_.size() <= static_cast<size_t>(i)) workers_.resize(static_cast<size_t>(i) + 1);
  workers_[static_cast<size_t>(i)] = Start(command, absl::StrCat("w", i));
}

void Cluster::StartWorkers(int n, std::vector<std::string> extra) {
  for (int i = 0; i < n; ++i) StartWorker(i, extra);
  EXPECT_TRUE(WaitForWorkers(n, 20));
}

std::unique_ptr<grpc::ClientContext> Cluster::Within(double seconds) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() +
                        std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000)));
  context->set_wait_for_ready(true);
  return context;
}

absl::StatusOr<v1::JobStatus> Cluster::Submit(const JobConfig& job) {
  JobConfig with_data = job;
  for (DataSource& source : with_data.data.sources) source.prefix = data_prefix();
  v1::SubmitJobRequest request;
  v1::SubmitJobResponse response;
  *request.mutable_job() = SpecFromJob(with_data);
  grpc::Status status = control_->SubmitJob(Within(kCallSeconds).get(), request, &response);
  if (!status.ok()) return FromGrpc(status);
  return response.job();
}

absl::StatusOr<v1::JobStatus> Cluster::Job(const std::string& name) {
  v1::GetJobRequest request;
  v1::GetJobResponse response;
  request.set_name(name);
  grpc::Status status = control_->GetJob(Within(kCallSeconds).get(), request, &response);
  if (!status.ok()) return FromGrpc(status);
  return response.job();
}

absl::StatusOr<v1::PushPlanResponse> Cluster::Push(const std::string& job, const v1::PlanFile& plan,
                                                   bool dry_run) {
  v1::PushPlanRequest request;
  v1::PushPlanResponse response;
  request.set_job(job);
  *request.mutable_plan() = plan;
  request.set_dry_run(dry_run);
  grpc::Status status = control_->PushPlan(Within(kCallSeconds).get(), request, &response);
  if (!status.ok()) return FromGrpc(status);
  return response;
}

absl::StatusOr<v1::GetPlanResponse> Cluster::Plan(const std::string& job, int64_t version) {
  v1::GetPlanRequest request;
  v1::GetPlanResponse response;
  request.set_job(job);
  request.set_version(version);
  grpc::Status status = control_->GetPlan(Within(kCallSeconds).get(), request, &response);
  if (!status.ok()) return FromGrpc(status);
  return response;
}

std::vector<v1::WorkerStatus> Cluster::Workers() {
  v1::ListWorkersResponse response;
  grpc::Status status = control_->ListWorkers(Within(kCallSeconds).get(), {}, &response);
  if (!status.ok()) return {};
  return {response.workers().begin(), response.workers().end()};
}

bool Cluster::WaitForWorkers(int n, double seconds) {
  auto deadline = After(seconds);
  int attached = 0;
  while (std::chrono::steady_clock::now() < deadline) {
    attached = 0;
    for (const v1::WorkerStatus& worker : Workers()) attached += worker.attached();
    if (attached == n) return true;
    Sleep(0.02);
  }
  std::printf("%d workers are attached after %g s, expected %d\n", attached, seconds, n);
  return false;
}

bool Cluster::WaitForJob(const std::string& name, double seconds,
                         const std::function<bool(const v1::JobStatus&)>& done) {
  auto deadline = After(seconds);
  absl::StatusOr<v1::JobStatus> job;
  while (std::chrono::steady_clock::now() < deadline) {
    job = Job(name);
    if (job.ok() && done(*job)) return true;
    Sleep(0.02);
  }
  if (job.ok()) job->clear_recent_steps();
  std::printf("after %g s the job is: %s\n", seconds,
              job.ok() ? job->ShortDebugString().c_str() : job.status().ToString().c_str());
  return false;
}

bool Cluster::WaitForPlan(const std::string& job, int64_t version, v1::PlanState state, double seconds) {
  auto deadline = After(seconds);
  absl::StatusOr<v1::GetPlanResponse> plan;
  while (std::chrono::steady_clock::now() < deadline) {
    plan = Plan(job, version);
    if (plan.ok() && plan->status().state() == state) return true;
    Sleep(0.02);
  }
  std::printf("after %g s the plan is: %s\n", seconds,
              plan.ok() ? plan->status().ShortDebugString().c_str() : plan.status().ToString().c_str());
  return false;
}

void Cluster::PrintLogs() const {
  for (const auto& entry : std::filesystem::directory_iterator(dir_.path())) {
    if (entry.path().extension() != ".log") continue;
    std::string text = ReadFile(entry.path());
    std::printf("---- %s\n%s\n", entry.path().filename().c_str(),
                text.substr(text.size() > 6000 ? text.size() - 6000 : 0).c_str());
  }
}

}  // namespace ballast

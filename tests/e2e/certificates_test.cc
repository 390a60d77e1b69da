// Certificates that are replaced on disk while everything runs.
#include "net/certificates.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "ctl/certs.h"
#include "tests/e2e/cluster.h"
#include "tests/e2e/elastic_job.h"
#include "tests/e2e/plan_edits.h"
#include "tests/e2e/proxy.h"

namespace ballast {
namespace {

// Every file of `to` that `from` has too, each replaced at one moment, as a certificate manager does.
void ReplaceFiles(const std::filesystem::path& from, const std::filesystem::path& to) {
  for (const auto& entry : std::filesystem::directory_iterator(from)) {
    const std::filesystem::path file = to / entry.path().filename();
    if (!std::filesystem::exists(file)) continue;
    std::filesystem::path partial = file;
    partial += ".partial";
    std::filesystem::copy_file(entry.path(), partial, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::rename(partial, file);
  }
}

std::string TextOf(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

// At one moment.
void Write(const std::string& text, const std::filesystem::path& file) {
  std::filesystem::path partial = file;
  partial += ".partial";
  std::ofstream(partial) << text;
  std::filesystem::rename(partial, file);
}

// Whether the coordinator lets in an operator with the certificate in `own`, on a connection of its own.
bool LetsIn(const Cluster& cluster, const std::filesystem::path& own) {
  CertificateFiles files;
  files.ca = cluster.Certificate("ca.pem");
  files.cert = own / "operator-me.pem";
  files.key = own / "operator-me.key";
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  auto control = v1::Control::NewStub(grpc::CreateCustomChannel(
      absl::StrCat("127.0.0.1:", cluster.port()), MakeChannelCredentials(files).value(), arguments));
  v1::ListWorkersRequest request;
  v1::ListWorkersResponse response;
  return control->ListWorkers(Cluster::Within(5).get(), request, &response).ok();
}

// Certificates of another authority, for the same names.
DevCertificates WriteRenewed(const std::filesystem::path& folder) {
  DevCertificates renewed;
  renewed.folder = folder;
  renewed.operators = {"me"};
  for (int i = 0; i < 3; ++i) renewed.workers.push_back("w" + std::to_string(i));
  EXPECT_TRUE(WriteDevCertificates(renewed).ok());
  return renewed;
}

// The steps of docs/operate.md, section 3, under a job that trains: a bundle of both authorities, then new
// certificates, then the new authority alone. No process is restarted; connections are cut in between, so
// that every step has handshakes of its own.
TEST(Certificates, TheAuthorityIsChangedUnderARunningJob) {
  Cluster cluster;
  cluster.StartCoordinator();
  Proxy proxy(cluster.port());
  for (int i = 0; i < 2; ++i) cluster.SetCoordinatorOf(i, absl::StrCat("127.0.0.1:", proxy.port()));
  cluster.StartWorkers(2);
  const JobConfig job = SmallJob("demo", 2, 100'000);  // stopped by request
  ASSERT_TRUE(cluster.Submit(job).ok());
  const pid_t coordinator = cluster.coordinator().pid();
  const std::vector<pid_t> workers = {cluster.worker(0).pid(), cluster.worker(1).pid()};
  const auto trains_on = [&] {
    const int64_t step = cluster.Job("demo").value().step();
    return cluster.WaitForJob("demo", 60,
                              [step](const v1::JobStatus& status) { return status.step() >= step + 5; });
  };
  ASSERT_TRUE(trains_on());
  const auto attach_again = [&] {
    proxy.Cut();
    ASSERT_TRUE(cluster.WaitForWorkers(0, 20));
    proxy.Mend();
    ASSERT_TRUE(cluster.WaitForWorkers(2, 30));
    ASSERT_TRUE(trains_on());
  };

  const std::filesystem::path files = cluster.dir() / "certs", old = cluster.dir() / "old";
  std::filesystem::copy(files, old);
  const DevCertificates renewed = WriteRenewed(cluster.dir() / "renewed");
  const std::filesystem::path next(renewed.folder);
  const std::string both = TextOf(old / "ca.pem") + TextOf(next / "ca.pem");

  Write(both, files / "ca.pem");
  attach_again();

  ReplaceFiles(next, files);
  Write(both, files / "ca.pem");
  attach_again();

  Write(TextOf(next / "ca.pem"), files / "ca.pem");
  // The coordinator has it when an old certificate is worth nothing any more, while a new one is let in.
  const auto begin = std::chrono::steady_clock::now();
  while (LetsIn(cluster, old)) {
    ASSERT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_TRUE(LetsIn(cluster, next));
  for (const char* name : {"worker-w2.pem", "worker-w2.key"}) Write(TextOf(old / name), files / name);
  cluster.StartWorker(2);
  EXPECT_EQ(cluster.worker(2).Wait(30), 6) << cluster.worker(2).Output();
  for (const char* name : {"worker-w2.pem", "worker-w2.key"}) Write(TextOf(next / name), files / name);
  cluster.StartWorker(2);
  ASSERT_TRUE(cluster.WaitForWorkers(3, 30));
  // And so have the workers that were there all the time: they come back.
  proxy.Cut();
  ASSERT_TRUE(cluster.WaitForWorkers(1, 20));
  proxy.Mend();
  ASSERT_TRUE(cluster.WaitForWorkers(3, 30));
  ASSERT_TRUE(trains_on());

  EXPECT_EQ(cluster.coordinator().pid(), coordinator);
  EXPECT_TRUE(cluster.coordinator().running());
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(cluster.worker(static_cast<int>(i)).running());
    EXPECT_EQ(cluster.worker(static_cast<int>(i)).pid(), workers[i]);
  }
  v1::StopJobRequest stop;
  v1::StopJobResponse stopping;
  stop.set_name("demo");
  ASSERT_TRUE(cluster.control().StopJob(Cluster::Within(10).get(), stop, &stopping).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, IsFinal));
  const v1::JobStatus status = cluster.Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_SUCCEEDED) << status.reason();
  EXPECT_EQ(status.generation(), 1) << "training did not notice";
  ExpectUndisturbed(cluster, job, status);
}

// All certificates, the authority's too, are replaced: after the coordinator's restart nobody can be attached
// with an old one.
TEST(Certificates, RunningWorkersAttachWithTheReplacedOnesAfterACoordinatorRestart) {
  Cluster cluster;
  cluster.StartCoordinator();
  cluster.StartWorkers(2);
  ASSERT_TRUE(cluster.Submit(SmallJob("demo", 2, 100'000)).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, [](const v1::JobStatus& job) { return job.step() >= 10; }));
  const std::vector<pid_t> pids = {cluster.worker(0).pid(), cluster.worker(1).pid()};

  const std::filesystem::path files = cluster.dir() / "certs", old = cluster.dir() / "old";
  std::filesystem::copy(files, old);
  const DevCertificates renewed = WriteRenewed(cluster.dir() / "renewed");
  ReplaceFiles(renewed.folder, files);

  cluster.coordinator().Kill();
  const auto begin = std::chrono::steady_clock::now();
  cluster.StartCoordinator();
  ASSERT_TRUE(cluster.WaitForWorkers(2, 30));
  std::printf("attached %.2f s after the coordinator's start\n",
              std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(cluster.worker(i).running());
    EXPECT_EQ(cluster.worker(i).pid(), pids[static_cast<size_t>(i)]) << "the process was not restarted";
  }
  // The job went on, and a plan can be pushed.
  ASSERT_TRUE(cluster.WaitForJob("demo", 30, [](const v1::JobStatus& job) {
    return job.state() == v1::JOB_STATE_RUNNING && job.recent_steps_size() > 0;
  }));
  absl::StatusOr<v1::PushPlanResponse> pushed =
      cluster.Push("demo", RotateExperts(cluster.Plan("demo").value().plan()));
  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_TRUE(cluster.WaitForPlan("demo", pushed->plan().version(), v1::PLAN_STATE_ACTIVE, 30));

  // An old certificate is worth nothing any more, even to one who knows the new authority.
  std::filesystem::copy_file(old / "worker-w2.pem", files / "worker-w2.pem",
                             std::filesystem::copy_options::overwrite_existing);
  std::filesystem::copy_file(old / "worker-w2.key", files / "worker-w2.key",
                             std::filesystem::copy_options::overwrite_existing);
  cluster.StartWorker(2);
  EXPECT_EQ(cluster.worker(2).Wait(30), 6) << cluster.worker(2).Output();
}

}  // namespace
}  // namespace ballast

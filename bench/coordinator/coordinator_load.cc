// The coordinator's cost with many workers: CPU and memory while each reports once a second, and the time
// from a push to the moment at which every worker knows that all have promised the plan. Workers are
// simulated, but for their streams (mutual TLS, a connection each); they share the machine with the
// coordinator.
//
//   build/bench/coordinator_load --workers 512      (--help has the other options)
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <future>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "bench/coordinator/simulated_worker.h"
#include "ctl/certs.h"
#include "net/limits.h"
#include "tests/e2e/cluster.h"
#include "tests/e2e/plan_edits.h"

namespace ballast {
namespace {

using Clock = std::chrono::steady_clock;
double Since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

constexpr int kWave = 64;  // workers that attach at once

struct Options {
  int workers = 512;
  double seconds = 20;
  int pushes = 30;
  int layers = 8;
  int experts = 128;
  int slots = 2;
};

// CPU seconds of a process so far.
double CpuSeconds(pid_t pid) {
  const std::string stat = ReadFile(absl::StrCat("/proc/", pid, "/stat"));
  unsigned long user = 0, system = 0;
  BALLAST_CHECK(std::sscanf(stat.c_str() + stat.rfind(')') + 1,
                            " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2);
  return static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// "VmRSS" or "VmHWM", in MiB.
double Mebibytes(pid_t pid, const std::string& key) {
  const std::string status = ReadFile(absl::StrCat("/proc/", pid, "/status"));
  const size_t at = status.find(key + ":");
  BALLAST_CHECK(at != std::string::npos);
  return std::stod(status.substr(at + key.size() + 1)) / 1024;
}

JobConfig Job(const Options& options) {
  JobConfig job = SmallJob("demo", options.workers, 1000000);
  job.model.layers = options.layers;
  job.model.moe.experts = options.experts;
  job.placement.slots_per_rank = options.slots;
  job.placement.block_elements = 100000;
  job.training.global_batch_sequences = options.workers;
  return job;
}

std::string Percentiles(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  auto at = [&](double p) {
    return 1000 * seconds[static_cast<size_t>(p * static_cast<double>(seconds.size() - 1))];
  };
  char text[100];
  std::snprintf(text, sizeof text, "p50 %.0f ms, p90 %.0f ms, max %.0f ms", at(0.5), at(0.9), at(1));
  return text;
}

class Run {
 public:
  explicit Run(const Options& options) : options_(options) {}

  void Go() {
    StartAll();
    Steady();
    Push();
    for (auto& worker : workers_) {
      worker->Detach();
      worker.release();  // the last callback may still be returning
    }
  }

 private:
  pid_t coordinator() { return cluster_.coordinator().pid(); }

  void StartAll() {
    DevCertificates request;
    request.folder = cluster_.dir() / "certs";
    request.operators = {"me"};
    request.force = true;
    for (int i = 0; i < options_.workers; ++i) request.workers.push_back(SimulatedWorker::Name(i));
    BALLAST_CHECK_OK(WriteDevCertificates(request).status());
    cluster_.StartCoordinator();
    std::printf("coordinator alone: %.0f MiB\n", Mebibytes(coordinator(), "VmRSS"));

    const auto begin = Clock::now();
    const std::string ca = ReadFile(cluster_.Certificate("ca.pem"));
    auto attach = [&](int i) {
      const std::string file = cluster_.Certificate("worker-" + SimulatedWorker::Name(i));
      workers_[static_cast<size_t>(i)]->Attach(
          absl::StrCat("127.0.0.1:", cluster_.port()),
          grpc::SslCredentials({ca, ReadFile(file + ".key"), ReadFile(file + ".pem")}));
    };
    int retries = 0;
    for (int i = 0; i < options_.workers; ++i) {
      workers_.push_back(std::make_unique<SimulatedWorker>(i, &progress_));
      attach(i);
      // Both ends of every handshake are on this machine.
      if ((i + 1) % kWave != 0 && i + 1 < options_.workers) continue;
      if (i % (8 * kWave) == 8 * kWave - 1) {
        for (auto& worker : workers_) worker->Heartbeat();
      }
      while (!progress_.WaitWelcomed(i + 1, 0.2)) {
        BALLAST_CHECK(progress_.broken().empty() && Since(begin) < 300) << progress_.broken();
        for (int other = 0; other <= i; ++other) {
          if (!workers_[static_cast<size_t>(other)]->refused()) continue;
          attach(other);
          ++retries;
        }
      }
    }
    std::printf("all %d attached after %.2f s, %d at a time, %d tried again\n", options_.workers,
                Since(begin), kWave, retries);
    for (auto& worker : workers_) worker->Heartbeat();
    const auto submitted = Clock::now();
    BALLAST_CHECK_OK(cluster_.Submit(Job(options_)).status());
    while (!progress_.WaitStarted(options_.workers, 2)) {
      BALLAST_CHECK(progress_.broken().empty() && Since(submitted) < 300) << progress_.broken();
      for (auto& worker : workers_) worker->Heartbeat();
    }
    BALLAST_CHECK(cluster_.WaitForJob(
        "demo", 120, [](const v1::JobStatus& job) { return job.state() == v1::JOB_STATE_RUNNING; }));
    std::printf(
        "all assigned and started %.2f s after the submission; coordinator %.0f MiB, at most %.0f MiB\n",
        Since(submitted), Mebibytes(coordinator(), "VmRSS"), Mebibytes(coordinator(), "VmHWM"));
  }

  // Every worker reports step after step, once a second, spread over the second.
  void ReportFor(double seconds) {
    const auto begin = Clock::now();
    int sent = 0;
    while (Since(begin) < seconds) {
      const double due = Since(begin) * options_.workers;
      for (; sent < due; ++sent) ReportOf(sent % options_.workers);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

  void ReportOf(int worker) {
    if (worker == 0) {
      ++step_;
      workers_[0]->Report(StepReportOf());
    }
    RankReport report;
    RankStep& step = report.steps.emplace_back();
    step.step = Step(step_);
    step.seconds = 1;
    step.assignments = 1000;
    step.phase_seconds.fill(1.0 / kPhases);
    // As many as a rank tells of.
    for (int peer = 0; peer <= std::min<int>(kRankLinksMax, options_.workers - 1); ++peer) {
      if (peer == worker || step.links.size() == kRankLinksMax) continue;
      step.links.push_back({Rank(peer), 100000, 100000, 0.01});
      step.bytes_sent += 100000;
      step.bytes_received += 100000;
    }
    workers_[static_cast<size_t>(worker)]->Report(std::move(report));
  }

  StepReport StepReportOf() const {
    StepReport report;
    report.step = Step(step_);
    report.loss = 3;
    report.gradient_norm = 1;
    report.step_seconds = 1;
    report.tokens = int64_t{options_.workers} * 64;
    report.load.step = report.step;
    const auto layers = static_cast<size_t>(options_.layers);
    report.load.tokens.assign(layers,
                              std::vector<int64_t>(static_cast<size_t>(options_.experts), options_.workers));
    report.rank_tokens.assign(layers,
                              std::vector<int64_t>(static_cast<size_t>(options_.workers), options_.experts));
    return report;
  }

  void Steady() {
    ReportFor(3);
    const double cpu = CpuSeconds(coordinator()), own = CpuSeconds(getpid());
    const auto begin = Clock::now();
    ReportFor(options_.seconds);
    const double took = Since(begin);
    std::printf(
        "steady, one report a second and worker: coordinator %.1f %% of a core, %.0f MiB; workers %.1f %%\n",
        100 * (CpuSeconds(coordinator()) - cpu) / took, Mebibytes(coordinator(), "VmRSS"),
        100 * (CpuSeconds(getpid()) - own) / took);
  }

  void Push() {
    std::vector<double> answered, first, promised, known;
    const double cpu = CpuSeconds(coordinator()), own = CpuSeconds(getpid());
    std::thread reporting([this] {
      while (!pushed_) ReportFor(1);
    });
    for (int push = 0; push < options_.pushes; ++push) {
      const v1::PlanFile file = RotateExperts(cluster_.Plan("demo")->plan());
      const PlanVersion version(file.base_version() + 1);
      if (push == 0) std::printf("a plan: %zu bytes\n", cluster_.Plan("demo")->plan().ByteSizeLong());
      progress_.Expect(version);
      const auto begin = Clock::now();
      // The answer has to find its way through the same traffic as the promises.
      std::future<double> answer = std::async(std::launch::async, [&] {
        BALLAST_CHECK_OK(cluster_.Push("demo", file).status());
        return Since(begin);
      });
      BALLAST_CHECK(progress_.WaitPromised(version, 1, 30)) << progress_.broken();
      first.push_back(Since(begin));
      BALLAST_CHECK(progress_.WaitPromised(version, options_.workers, 30)) << progress_.broken();
      promised.push_back(Since(begin));
      BALLAST_CHECK(progress_.WaitCommitted(version, options_.workers, 30)) << progress_.broken();
      known.push_back(Since(begin));
      const Step from(step_ + 2);
      answered.push_back(answer.get());
      for (auto& worker : workers_) worker->Switch(version, from);
      BALLAST_CHECK(cluster_.WaitForPlan("demo", version.value(), v1::PLAN_STATE_ACTIVE, 60));
    }
    pushed_ = true;
    reporting.join();
    std::printf("%d pushes: until the operator has the answer: %s\n", options_.pushes,
                Percentiles(answered).c_str());
    std::printf("%d pushes: until one worker has promised: %s\n", options_.pushes,
                Percentiles(first).c_str());
    std::printf("%d pushes: until every worker has promised: %s\n", options_.pushes,
                Percentiles(promised).c_str());
    std::printf("%d pushes: until every worker has the Commit: %s\n", options_.pushes,
                Percentiles(known).c_str());
    const auto each = [&](double seconds) { return 1000 * seconds / options_.pushes; };
    std::printf(
        "CPU time of a push with its switch and the reports meanwhile: coordinator %.0f ms, workers %.0f "
        "ms\n",
        each(CpuSeconds(coordinator()) - cpu), each(CpuSeconds(getpid()) - own));
    std::printf("at the end: coordinator %.0f MiB, at most %.0f MiB\n", Mebibytes(coordinator(), "VmRSS"),
                Mebibytes(coordinator(), "VmHWM"));
    const absl::StatusOr<v1::JobStatus> job = cluster_.Job("demo");
    BALLAST_CHECK_OK(job.status());
    std::printf("the job is at step %ld of reports sent: %ld\n", static_cast<long>(job->step()),
                static_cast<long>(step_.load()));
  }

  const Options options_;
  Cluster cluster_;
  Progress progress_;
  std::vector<std::unique_ptr<SimulatedWorker>> workers_;
  std::atomic<int64_t> step_{0};
  std::atomic<bool> pushed_{false};
};

}  // namespace
}  // namespace ballast

int main(int argc, char** argv) {
  CLI::App app("Measures ballast-coordinator under many simulated workers.");
  ballast::Options options;
  app.add_option("--workers", options.workers)->check(CLI::Range(1, 4096))->capture_default_str();
  app.add_option("--seconds", options.seconds, "of the steady part")->capture_default_str();
  app.add_option("--pushes", options.pushes)->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--layers", options.layers)->capture_default_str();
  app.add_option("--experts", options.experts)->capture_default_str();
  app.add_option("--slots", options.slots)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  setvbuf(stdout, nullptr, _IOLBF, 0);
  ballast::TrustLocks();
  // A connection each.
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  ballast::Run(options).Go();
  return 0;
}

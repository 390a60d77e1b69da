// A cluster of real processes on this machine: one coordinator, workers, and an operator's connection; mutual
// TLS.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/control.grpc.pb.h"
#include "plan/job_config.h"
#include "tests/base/temp_dir.h"
#include "tests/e2e/process.h"

namespace ballast {

// A model of a few thousand parameters on `ranks` ranks, with a planner that never moves anything.
JobConfig SmallJob(const std::string& name, int ranks, int64_t steps);

class Cluster {
 public:
  enum Plaintext { kPlaintext };
  // Makes certificates for workers w0..w7 and operator "me", and a small data set. The coordinator's
  // certificate is good for `hosts` too.
  explicit Cluster(const std::vector<std::string>& hosts = {});
  explicit Cluster(Plaintext);
  ~Cluster();

  // Where workers and the operator dial the coordinator, which then listens on all addresses; if not called,
  // all use 127.0.0.1. Before it is started.
  void SetHosts(const std::string& for_workers, const std::string& for_operator) {
    listen_host_ = "0.0.0.0";
    worker_host_ = for_workers;
    operator_host_ = for_operator;
  }
  // Where worker `i` alone dials the coordinator, as HOST:PORT. Before it is started.
  void SetCoordinatorOf(int i, const std::string& host_port) { coordinator_of_[i] = host_port; }
  // Put before the command of every process that is started from now on.
  void SetPrefix(std::vector<std::string> prefix) { prefix_ = std::move(prefix); }

  const TempDir& dir() const { return dir_; }
  std::string Certificate(const std::string& name) const { return dir_ / ("certs/" + name); }

  // ---- processes; every call returns when the process serves or has been started ----
  // The first call takes a free port; later ones take the same again.
  void StartCoordinator(std::vector<std::string> extra = {});
  // The same by a command line of the caller's, which writes the ports to `port_file`.
  void StartCoordinatorBy(const std::vector<std::string>& command, const std::string& port_file);
  Process& coordinator() { return *coordinator_; }
  int port() const { return port_; }
  void StartWorker(int i, std::vector<std::string> extra = {});
  void StartWorkerBy(int i, const std::vector<std::string>& command);
  void StartWorkers(int n, std::vector<std::string> extra = {});
  Process& worker(int i) { return *workers_.at(static_cast<size_t>(i)); }
  // ballast-worker's command line with the files of worker `i`; for processes that should not come up.
  std::vector<std::string> WorkerCommand(int i) const;
  std::string LogPath(const std::string& name) const { return dir_ / (name + ".log"); }

  // ---- what an operator does; each with a deadline ----
  absl::StatusOr<v1::JobStatus> Submit(
      const JobConfig& job);  // data source names are replaced by the cluster's
  absl::StatusOr<v1::JobStatus> Job(const std::string& name);
  absl::StatusOr<v1::PushPlanResponse> Push(const std::string& job, const v1::PlanFile& plan,
                                            bool dry_run = false);
  absl::StatusOr<v1::GetPlanResponse> Plan(const std::string& job, int64_t version = 0);
  std::vector<v1::WorkerStatus> Workers();
  v1::Control::Stub& control() { return *control_; }
  // A context with a deadline of `seconds`.
  static std::unique_ptr<grpc::ClientContext> Within(double seconds);

  // ---- waiting; each returns false and prints what it saw when `seconds` pass ----
  bool WaitForWorkers(int n, double seconds);
  // Until `done` holds of the job's status. Errors of the coordinator are waited over.
  bool WaitForJob(const std::string& name, double seconds,
                  const std::function<bool(const v1::JobStatus&)>& done);
  bool WaitForPlan(const std::string& job, int64_t version, v1::PlanState state, double seconds);

  // The data source of every job.
  std::string data_prefix() const { return dir_ / "text"; }
  std::string binary(const std::string& name) const;
  // Prints the end of every log; call it when a test has failed.
  void PrintLogs() const;

 private:
  std::unique_ptr<Process> Start(std::vector<std::string> command, const std::string& log) const;
  // --ca, --cert and --key, or --insecure.
  std::vector<std::string> Files(const std::string& name) const;

  TempDir dir_;
  const bool plaintext_;
  std::string listen_host_ = "127.0.0.1";
  std::string worker_host_ = "127.0.0.1";
  std::string operator_host_ = "127.0.0.1";
  std::vector<std::string> prefix_;
  std::map<int, std::string> coordinator_of_;
  int port_ = 0;
  std::unique_ptr<Process> coordinator_;
  std::vector<std::unique_ptr<Process>> workers_;
  std::unique_ptr<v1::Control::Stub> control_;
};

inline bool IsFinal(const v1::JobStatus& job) {
  return job.state() == v1::JOB_STATE_SUCCEEDED || job.state() == v1::JOB_STATE_FAILED;
}

}  // namespace ballast

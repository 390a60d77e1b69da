// ballast-worker: wires the session, the ranks and the agent, and waits.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "metrics/page_server.h"
#include "net/process_metrics.h"
#include "worker/agent/agent.h"
#include "worker/backend/cpu/blas.h"
#include "worker/backend/plugin.h"
#include "worker/daemon/checkpoint_keeper.h"
#include "worker/daemon/data_address.h"
#include "worker/daemon/generation_manager.h"
#include "worker/daemon/rank_device.h"
#include "worker/daemon/train_rank.h"
#include "worker/device_choice.h"
#include "worker/device_health/nvml.h"
#include "worker/metrics/device_metrics.h"
#include "worker/metrics/worker_metrics.h"
#include "worker/neighbours/neighbour_watch.h"
#include "worker/probes/link_prober.h"
#include "worker/settings.h"

namespace ballast {
namespace {

constexpr size_t kReportsMax = 4096;  // step and evaluation reports kept while no coordinator listens

uint64_t RandomBits() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

std::string HostName() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

size_t PhysicalMemory() {
  return static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

std::string HostPort(const std::string& host, int port) {
  return host.find(':') == std::string::npos ? absl::StrCat(host, ":", port)
                                             : absl::StrCat("[", host, "]:", port);
}

// Null when nobody asked for it.
absl::StatusOr<std::unique_ptr<PageServer>> ServeMetrics(const DaemonOptions& options, SessionHost& host,
                                                         WorkerMetrics& metrics, const Nvml* nvml) {
  if (options.metrics.listen.empty()) return std::unique_ptr<PageServer>();
  Page page = [&host, &metrics, nvml, files = options.certificates] {
    MetricSet process;
    FillProcessMetrics("worker", files, process);
    if (nvml != nullptr) FillDeviceMetrics(nvml->Read(), process);
    return PageReply{.status = 200,
                     .text = metrics.Text(host.attached(), host.reports_dropped(), process),
                     .content_type = kMetricsContentType};
  };
  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<PageServer> server,
                           PageServer::Start("--metrics-listen", options.metrics.listen, options.metrics.tls,
                                             {{"/metrics", page}}));
  Log(LogLevel::kInfo, "serving metrics", {{"metrics_port", server->port()}});
  return server;
}

// Null, and a line in the log, where NVML cannot be read; training does not need it.
std::unique_ptr<Nvml> OpenNvml(const std::vector<NvmlDevice>& devices) {
  absl::StatusOr<std::unique_ptr<Nvml>> nvml = Nvml::Open(devices);
  if (nvml.ok()) return *std::move(nvml);
  Log(LogLevel::kInfo, "no device readings", {{"reason", std::string(nvml.status().message())}});
  return nullptr;
}

// What --device names, how many ranks it is for, and, on GPUs, what reads their state.
absl::StatusOr<RankDevice> OpenDevice(const WorkerSettings& settings, int& ranks,
                                      std::unique_ptr<Nvml>& nvml) {
  BALLAST_ASSIGN_OR_RETURN(DeviceChoice choice, ParseDevice(settings.device));
  if (choice.kind == DeviceChoice::Kind::kCpu) {
    BALLAST_RETURN_IF_ERROR(LoadBlas());
    ranks = std::max(settings.ranks, 1);
    return CpuDevice();
  }
  BALLAST_ASSIGN_OR_RETURN(DevicePlugin * plugin, LoadCudaPlugin());
  BALLAST_ASSIGN_OR_RETURN(std::vector<DeviceInfo> present, plugin->Devices());
  BALLAST_ASSIGN_OR_RETURN(std::vector<int> devices,
                           ChooseDevices(choice, settings.ranks, static_cast<int>(present.size())));
  std::vector<NvmlDevice> to_read;
  for (size_t i = 0; i < devices.size(); ++i) {
    const DeviceInfo& info = present[static_cast<size_t>(devices[i])];
    Log(LogLevel::kInfo, "device",
        {{"local_rank", static_cast<int64_t>(i)},
         {"device", absl::StrCat("cuda:", devices[i])},
         {"name", info.name},
         {"compute_capability", info.compute_capability},
         {"memory_bytes", info.memory_bytes}});
    to_read.push_back({.number = devices[i], .pci_bus_id = info.pci_bus_id});
  }
  if (!settings.daemon.metrics.listen.empty()) nvml = OpenNvml(to_read);
  ranks = static_cast<int>(devices.size());
  return CudaDevice(*plugin, devices, settings.memory_max);
}

// Asks the coordinator to move this worker's ranks, and waits until they are not needed any more.
void Drain(SessionHost& host, double seconds, const std::string& reason) {
  if (host.run().job.empty() || seconds <= 0) return;
  host.OnLeaving(reason);
  SteadyClock clock;
  const Time deadline = clock.Now() + Seconds(seconds);
  while (!host.run().job.empty() && clock.Now() < deadline) {
    if (WaitForStop(Seconds(0.05))) return;  // told again: at once
  }
}

absl::Status Run(const WorkerSettings& settings) {
  BALLAST_ASSIGN_OR_RETURN(Failpoint failpoint, Failpoint::Parse(settings.failpoint, SessionPlaces()));
  // Before certificates, connections and other threads.
  int ranks = 0;
  std::unique_ptr<Nvml> nvml;
  BALLAST_ASSIGN_OR_RETURN(RankDevice device, OpenDevice(settings, ranks, nvml));
  const CertificateFiles& certificates = settings.daemon.certificates;
  BALLAST_ASSIGN_OR_RETURN(auto credentials, MakeChannelCredentials(certificates));
  std::string identity;
  if (!certificates.insecure) {
    BALLAST_ASSIGN_OR_RETURN(identity, IdentityInCertificate(certificates.cert));
  }

  Hello hello;
  BALLAST_ASSIGN_OR_RETURN(std::string name, ChooseName(settings.name, identity));
  BALLAST_ASSIGN_OR_RETURN(hello.labels, ParseLabels(settings.labels));
  hello.worker = WorkerId(name);
  hello.incarnation = Incarnation(RandomBits());
  hello.node = settings.node.empty() ? HostName() : settings.node;
  hello.device = settings.device.substr(0, settings.device.find(':'));
  hello.ranks = ranks;
  hello.data_address = settings.data_address;
  if (hello.data_address.empty()) {
    BALLAST_ASSIGN_OR_RETURN(hello.data_address, AddressTowards(settings.coordinator));
  }
  BALLAST_ASSIGN_OR_RETURN(hello.host, HostIdentity());
  // Later than the ranks' own deadline, whose error names the peers that are missing.
  const NeighbourTimes times{.meet_max = Seconds(settings.rendezvous_timeout_s + 5)};
  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<NeighbourWatch> watch,
                           NeighbourWatch::Listen(hello.data_address, 0, times));
  hello.neighbour_address = HostPort(hello.data_address, watch->port());

  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<LinkProber> prober, LinkProber::Listen(hello.data_address));
  hello.probe_address = HostPort(hello.data_address, prober->port());

  // --memory-max is of each device where ranks have their own; checkpoints are written from the host's memory,
  // and what is kept between two generations lies there.
  const bool on_host = device.bytes_by_rank.empty();
  const size_t host_bytes_max = on_host && settings.memory_max > 0 ? settings.memory_max : PhysicalMemory();
  Agent* wake = nullptr;
  SessionHost host({.identity = hello,
                    .memory_check =
                        [&device, host_bytes_max](const JobConfig& job, const ParameterLayout& layout,
                                                  const std::vector<const PlanBody*>& plans,
                                                  const std::vector<Rank>& local_ranks) {
                          auto needs = CheckRanks(job, layout, plans, local_ranks, device, host_bytes_max);
                          // Alone: the first plan of a generation, before the job starts.
                          if (needs.ok() && plans.size() == 1)
                            Log(LogLevel::kInfo, "memory", {{"needs", *needs}});
                          return needs.status();
                        },
                    .bugs = {}},
                   kReportsMax, [&wake] { wake->Wake(); });
  Agent agent({.target = settings.coordinator,
               .credentials = credentials,
               .protocol_version = settings.protocol_version,
               .seed = hello.incarnation.value()},
              &host);
  wake = &agent;
  // The first failure of a device ends the process: what supervises it starts a new one.
  Mutex mutex;
  absl::Status broken;
  auto on_device_error = [&mutex, &broken](const std::string& what) {
    MutexLock lock(mutex);
    if (broken.ok()) broken = absl::InternalError(what);
    RequestStop();
  };
  GenerationManager generations(hello.worker,
                                MakeRankParts({.rendezvous_timeout = Seconds(settings.rendezvous_timeout_s),
                                               .exchange_timeout = Seconds(settings.exchange_timeout_s),
                                               .on_device_error = on_device_error},
                                              device),
                                &host, watch.get(), prober.get());
  host.SetRanks(&generations);
  host.SetFailpoint(std::move(failpoint));
  CheckpointKeeper checkpoints(&host);
  host.SetCheckpoints(&checkpoints);
  WorkerMetrics metrics(hello);
  host.SetObserver(&metrics);
  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<PageServer> page,
                           ServeMetrics(settings.daemon, host, metrics, nvml.get()));

  Log(LogLevel::kInfo, "worker starts",
      {{"worker", name},
       {"node", hello.node},
       {"device", hello.device},
       {"ranks", hello.ranks},
       {"coordinator", settings.coordinator},
       {"data_address", hello.data_address}});
  absl::Status result;
  std::thread agent_thread([&agent, &result] {
    result = agent.Run();
    RequestStop();
  });
  WaitForStop();
  Log(LogLevel::kInfo, "stopping", {{"worker", name}});
  std::string reason = absl::StrCat("worker ", name, " was stopped");
  Drain(host, settings.drain_timeout_s, reason);
  host.OnFailure(host.run(), Step(), reason, /*retry=*/true);  // ignored when no rank runs
  generations.Shutdown(reason);
  agent.Stop();
  agent_thread.join();
  Log(LogLevel::kInfo, "stopped", {{"worker", name}});
  MutexLock lock(mutex);
  return broken.ok() ? result : broken;
}

}  // namespace
}  // namespace ballast

int main(int argc, char** argv) {
  CLI::App app("Trains ranks of a Mixture-of-Experts job as the ballast-coordinator plans it.");
  ballast::WorkerSettings settings;
  ballast::AddWorkerOptions(app, settings);
  return ballast::DaemonMain(argc, argv, app, settings.daemon, [&] { return ballast::Run(settings); });
}

#include "coordinator/job_schedule.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

#include "coordinator/planner/schedule/all_to_all_time.h"
#include "coordinator/planner/schedule/task_order.h"
#include "plan/apportion.h"
#include "plan/split.h"

namespace ballast {
namespace {

// Dispatch and combine, forward and backward.
constexpr double kExchanges = 4;
constexpr bool kRanksComputeMeanwhile = false;

int ElementBytes(const JobEntry& job) {
  return job.config().training.compute_dtype == DType::kBFloat16 ? 2 : 4;
}

double RowBytes(const JobEntry& job) {
  return static_cast<double>(ElementBytes(job)) * job.config().model.hidden_size;
}

// Rows of a layer in one microbatch of all ranks.
int64_t MicrobatchRows(const JobEntry& job) {
  const JobConfig& config = job.config();
  const int64_t sequences =
      std::min<int64_t>(config.training.global_batch_sequences,
                        int64_t{config.training.microbatch_sequences} * job.topology.ranks());
  return sequences * config.data.sequence_length * config.model.moe.top_k;
}

// [node] mean slowdown of its links, both ways; empty when none is slow.
std::vector<double> SlowNodes(const JobEntry& job) {
  const std::vector<double> links = job.calibration.link_slowdowns();
  if (std::all_of(links.begin(), links.end(), [](double slowdown) { return slowdown <= 1; })) return {};
  const auto nodes = static_cast<size_t>(job.topology.nodes());
  std::vector<double> slow(nodes, 0);
  for (size_t from = 0; from < nodes; ++from) {
    for (size_t to = 0; to < nodes; ++to) {
      if (from == to) continue;
      slow[from] += links[from * nodes + to] / (2 * static_cast<double>(nodes - 1));
      slow[to] += links[from * nodes + to] / (2 * static_cast<double>(nodes - 1));
    }
  }
  return slow;
}

// [rank] of ports to other nodes, by exchanges and by probes; empty when none is slow.
std::vector<double> SlowPorts(const JobEntry& job) {
  std::vector<double> slow = job.calibration.ports().slowdowns();
  const std::vector<double> nodes = SlowNodes(job);
  for (size_t r = 0; r < slow.size() && !nodes.empty(); ++r)
    slow[r] = std::max(slow[r], nodes[job.topology.node_of_rank[r].index()]);
  if (std::all_of(slow.begin(), slow.end(), [](double slowdown) { return slowdown <= 1; })) slow.clear();
  return slow;
}

std::optional<Network> NetworkOf(const JobEntry& job) {
  const PortTimes& ports = job.calibration.ports();
  return NetworkOf(job.topology, MeasuredPorts{ports.between(), ports.inside(), SlowPorts(job)});
}

// Bytes of one microbatch's dispatch under the plan's split, tokens coming from all ranks alike. Nothing
// without tokens, or where the plan's split has no answer.
std::optional<TrafficMatrix> TrafficOf(const JobEntry& job, const std::vector<int64_t>& tokens,
                                       const LayerPlan& layer, const std::vector<uint32_t>& speeds) {
  if (std::accumulate(tokens.begin(), tokens.end(), int64_t{0}) == 0) return std::nullopt;
  const std::vector<int64_t> rows = Apportion(MicrobatchRows(job), tokens);
  const size_t ranks = speeds.size();
  CountMatrix counts(ranks, std::vector<int64_t>(rows.size(), 0));
  for (size_t e = 0; e < rows.size(); ++e) {
    const std::vector<int64_t> parts = Apportion(rows[e], std::vector<int64_t>(ranks, 1));
    for (size_t r = 0; r < ranks; ++r) counts[r][e] = parts[r];
  }
  const absl::StatusOr<Split> split =
      ComputeSplit(counts, layer, static_cast<int>(rows.size()), speeds, job.topology);
  if (!split.ok()) return std::nullopt;
  TrafficMatrix bytes(ranks, std::vector<double>(ranks, 0));
  for (const Share& share : split->shares) {
    bytes[share.source.index()][share.host.index()] += RowBytes(job) * static_cast<double>(share.count);
  }
  return bytes;
}

}  // namespace

void FillPrices(const JobEntry& job, PlanInput& input) {
  const std::optional<Network> network = NetworkOf(job);
  const double row_seconds = job.calibration.row_seconds();
  if (!network || row_seconds <= 0) return;
  input.port_slowdowns = SlowPorts(job);
  double bandwidth = 0;
  for (const PortSpeed& port : network->between)
    bandwidth += port.bytes_per_second / static_cast<double>(network->between.size());
  // Of healthy ports: who is slow is told apart.
  bandwidth = job.calibration.ports().between().value_or(bandwidth);
  input.nic_byte_cost = 1 / bandwidth / row_seconds;
  input.node_byte_cost = 1 / network->inside.bytes_per_second / row_seconds;
  input.element_bytes = ElementBytes(job);
  // Where every rank is a node of its own and no link is slow, no placement spares the ports anything.
  const bool spared = job.topology.nodes() > 1 && job.topology.nodes() != job.topology.ranks();
  if (!input.port_slowdowns.empty() || spared)
    input.port_cost = kExchanges * RowBytes(job) * input.nic_byte_cost;
}

void ChooseSchedules(const JobEntry& job, PlanBody& body) {
  const std::optional<Network> network = NetworkOf(job);
  const double row_seconds = job.calibration.row_seconds();
  const auto& measured = job.telemetry.history().samples();
  if (!network || row_seconds <= 0 || measured.empty()) return;
  for (size_t l = 0; l < body.layers.size(); ++l) {
    LayerPlan& layer = body.layers[l];
    const std::optional<TrafficMatrix> bytes = TrafficOf(job, measured.back().tokens[l], layer, body.speeds);
    if (!bytes) continue;
    LayerSchedule& schedule = layer.schedule;
    schedule.all_to_all =
        ChooseAllToAll(job.limits.all_to_alls, schedule.all_to_all, *bytes, job.topology, *network);
    const std::optional<double> seconds =
        AllToAllSeconds(schedule.all_to_all, *bytes, job.topology, *network);
    if (!seconds) continue;
    const double latency = network->between[0].latency;
    const double rows = static_cast<double>(MicrobatchRows(job)) / static_cast<double>(body.speeds.size());
    LayerTasks tasks;
    tasks.dispatch = tasks.combine = {latency, std::max(0.0, *seconds - latency)};
    tasks.experts = {0, row_seconds / 3 * rows};  // backward takes twice as long as forward
    schedule.chunks = ChooseChunks(tasks, job.limits.chunks_max, kRanksComputeMeanwhile);
  }
}

}  // namespace ballast

#include "coordinator/telemetry_proto.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "coordinator/layer_balance.h"

namespace ballast {
namespace {

constexpr int kHottestShown = 4;

void Fill(const RankTelemetry& rank, v1::RankTelemetry* out) {
  out->set_rank(rank.rank.value());
  out->set_worker(rank.worker.value());
  out->set_node(rank.node);
  out->set_device(rank.device);
  out->set_attached(rank.attached);
  out->set_speed(rank.speed);
  if (rank.last.step.value() == 0) return;
  out->set_step(rank.last.step.value());
  out->set_seconds(rank.last.seconds);
  out->set_wait_seconds(rank.last.wait_seconds);
  out->set_mean_seconds(rank.mean_seconds);
  out->set_mean_wait_seconds(rank.mean_wait_seconds);
  out->set_assignments(rank.last.assignments);
  out->set_bytes_sent(rank.last.bytes_sent);
  out->set_bytes_received(rank.last.bytes_received);
  for (size_t phase = 0; phase < kPhases; ++phase) {
    v1::PhaseTime* time = out->add_phases();
    time->set_phase(ToString(static_cast<Phase>(phase)));
    time->set_seconds(rank.last.phase_seconds[phase]);
  }
  for (const LinkUse& link : rank.last.links) {
    v1::LinkTraffic* traffic = out->add_links();
    traffic->set_peer(link.peer.value());
    traffic->set_bytes_sent(link.bytes_sent);
    traffic->set_bytes_received(link.bytes_received);
    traffic->set_receive_seconds(link.receive_seconds);
  }
}

void Fill(const JobTelemetry& telemetry, Time now, v1::TopologyStatus* out) {
  const Topology& topology = telemetry.topology;
  for (int n = 0; n < topology.nodes(); ++n) {
    v1::NodeStatus* node = out->add_nodes();
    node->set_name(topology.node_names[n]);
    for (Rank rank : topology.RanksOf(NodeId(n))) node->add_ranks(rank.value());
  }
  for (const auto& [nodes, record] : telemetry.links) {
    v1::LinkStatus* link = out->add_links();
    link->set_from_node(nodes.first);
    link->set_to_node(nodes.second);
    link->set_failures(record.failures);
    link->set_last_failure(record.last_failure);
    auto slow = telemetry.slow_links.find(nodes);
    link->set_slowdown(slow == telemetry.slow_links.end() ? 1 : slow->second);
    if (record.speed.bytes_per_second == 0) continue;
    link->set_latency_seconds(record.speed.latency_seconds);
    link->set_bytes_per_second(record.speed.bytes_per_second);
    link->set_age_seconds(ToSeconds(now - record.measured));
  }
}

}  // namespace

v1::GetTelemetryResponse ToProto(const JobStatus& job, const JobTelemetry& telemetry,
                                 const std::vector<WorkerStatus>& workers, Time now) {
  v1::GetTelemetryResponse out;
  out.set_job(job.record.config->name.value());
  out.set_ended(IsFinal(job.record.state));
  out.set_step(job.record.step.value());
  out.set_steps(job.record.config->training.steps);
  out.set_plan_version(job.record.active.value());
  if (!job.recent_steps.empty()) {
    out.set_loss(job.recent_steps.back().loss);
    out.set_tokens_per_s(job.recent_steps.back().tokens_per_s);
  }
  out.set_reports_rejected(telemetry.rejected);
  int64_t dropped = 0;
  for (const WorkerStatus& worker : workers) {
    const bool member = std::find(job.workers.begin(), job.workers.end(), worker.name) != job.workers.end();
    if (member) dropped += worker.reports_dropped;
  }
  out.set_reports_dropped(dropped);
  for (const RankTelemetry& rank : telemetry.ranks) Fill(rank, out.add_ranks());
  for (size_t layer = 0; layer < telemetry.last.load.tokens.size(); ++layer) {
    const LayerBalance balance =
        BalanceOf(telemetry.last.load.tokens[layer], telemetry.last.rank_tokens[layer], kHottestShown);
    v1::LayerTelemetry* to = out.add_layers();
    to->set_layer(static_cast<int>(layer));
    to->set_imbalance(balance.imbalance);
    to->set_variation(balance.variation);
    for (const HotExpert& expert : balance.hottest) {
      v1::HotExpert* hot = to->add_hottest();
      hot->set_expert(expert.expert.value());
      hot->set_share(expert.share);
    }
  }
  Fill(telemetry, now, out.mutable_topology());
  return out;
}

absl::StatusOr<v1::GetLoadResponse> LoadToProto(const std::vector<std::shared_ptr<const StepReport>>& steps,
                                                int layers, std::optional<int> layer) {
  if (layer.has_value() && (*layer < 0 || *layer >= layers)) {
    return absl::InvalidArgumentError(
        absl::StrCat("layer: found ", *layer, ", allowed 0..", layers - 1, " (layers of the job)"));
  }
  v1::GetLoadResponse out;
  for (const auto& kept : steps) {
    const StepReport& report = *kept;
    v1::StepLoadStatus* step = out.add_steps();
    step->set_step(report.step.value());
    step->set_plan_version(report.plan.value());
    for (int l = 0; l < layers; ++l) {
      if (layer.has_value() && *layer != l) continue;
      v1::LayerLoad* to = step->add_layers();
      to->set_layer(l);
      for (int64_t tokens : report.load.tokens[l]) to->add_expert_tokens(tokens);
      for (int64_t tokens : report.rank_tokens[l]) to->add_rank_tokens(tokens);
    }
  }
  return out;
}

v1::GetTokensResponse TokensToProto(const TokenSample& sample, std::pair<Step, Rank> after) {
  v1::GetTokensResponse out;
  out.set_layers(sample.layers());
  out.set_top_k(sample.top_k());
  out.set_tokens(sample.tokens());
  int64_t bytes = 0;
  for (const auto& sequence : sample.sequences()) {
    if (std::pair(sequence->step, sequence->rank) <= after) continue;
    bytes += static_cast<int64_t>(sequence->choices.size()) * kBytesOfChoice;
    if (out.sequences_size() > 0 && bytes > kTokensAnswerBytes) break;
    v1::SampledSequenceStatus* to = out.add_sequences();
    to->set_step(sequence->step.value());
    to->set_rank(sequence->rank.value());
    to->mutable_choices()->Add(sequence->choices.begin(), sequence->choices.end());
  }
  return out;
}

}  // namespace ballast

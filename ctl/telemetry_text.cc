#include "ctl/telemetry_text.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "ctl/output.h"

namespace ballast {
namespace {

std::string Milliseconds(double seconds) { return Fixed(1e3 * seconds, 1); }

// Seconds of the named phases.
double Sum(const v1::RankTelemetry& rank, std::initializer_list<const char*> phases) {
  double seconds = 0;
  for (const v1::PhaseTime& phase : rank.phases()) {
    for (const char* name : phases) {
      if (phase.phase() == name) seconds += phase.seconds();
    }
  }
  return seconds;
}

std::string BytesText(double bytes) {
  if (bytes < 1000) return absl::StrCat(Fixed(bytes, 0), " B");
  for (const char* unit : {"KB", "MB"}) {
    bytes /= 1000;
    if (bytes < 1000) return absl::StrCat(Fixed(bytes, 1), " ", unit);
  }
  return absl::StrCat(Fixed(bytes / 1000, 1), " GB");
}

// The peer whose messages took longest.
std::string SlowestPeer(const v1::RankTelemetry& rank) {
  const auto slowest = std::max_element(rank.links().begin(), rank.links().end(),
                                        [](const v1::LinkTraffic& a, const v1::LinkTraffic& b) {
                                          return a.receive_seconds() < b.receive_seconds();
                                        });
  if (slowest == rank.links().end() || slowest->receive_seconds() <= 0) return "-";
  return absl::StrCat(slowest->peer(), " (", Milliseconds(slowest->receive_seconds()), ")");
}

void PrintRanks(const v1::GetTelemetryResponse& telemetry, std::ostream& out) {
  out << "times in ms, of the step named\n";
  Table table({"RANK", "WORKER", "NODE", "STEP", "TIME", "MEAN", "WAIT", "DENSE", "ROUTER", "DISPATCH",
               "EXPERTS", "SPEED", "COMBINE", "REDUCE", "UPDATE", "REFRESH", "ROWS", "SENT", "SLOWEST PEER"});
  for (const v1::RankTelemetry& rank : telemetry.ranks()) {
    if (rank.step() == 0) {
      table.Add({absl::StrCat(rank.rank()), rank.worker(), rank.node(), "-", "-", "-", "-", "-", "-", "-",
                 "-", "-", "-", "-", "-", "-", "-", "-", rank.attached() ? "-" : "away"});
      continue;
    }
    table.Add(
        {absl::StrCat(rank.rank()), rank.worker(), rank.node(), absl::StrCat(rank.step()),
         Milliseconds(rank.seconds()), Milliseconds(rank.mean_seconds()), Milliseconds(rank.wait_seconds()),
         Milliseconds(Sum(rank, {"data", "dense_forward", "dense_backward"})),
         Milliseconds(Sum(rank, {"router", "counts", "router_backward"})),
         Milliseconds(Sum(rank, {"dispatch", "dispatch_backward"})),
         Milliseconds(Sum(rank, {"experts", "experts_backward"})),
         rank.speed() > 0 ? Fixed(rank.speed(), 2) : "-",
         Milliseconds(Sum(rank, {"combine", "combine_backward"})),
         Milliseconds(Sum(rank, {"reduce", "table"})), Milliseconds(Sum(rank, {"update"})),
         Milliseconds(Sum(rank, {"refresh"})), absl::StrCat(rank.assignments()),
         BytesText(static_cast<double>(rank.bytes_sent())), rank.attached() ? SlowestPeer(rank) : "away"});
  }
  table.Print(out);
}

void PrintLayers(const v1::GetTelemetryResponse& telemetry, std::ostream& out) {
  Table table({"LAYER", "IMBALANCE", "VARIATION", "HOTTEST EXPERTS"});
  for (const v1::LayerTelemetry& layer : telemetry.layers()) {
    std::vector<std::string> hottest;
    for (const v1::HotExpert& expert : layer.hottest()) {
      hottest.push_back(absl::StrCat(expert.expert(), " (", Fixed(100 * expert.share(), 1), "%)"));
    }
    table.Add({absl::StrCat(layer.layer()), Fixed(layer.imbalance(), 3), Fixed(layer.variation(), 3),
               absl::StrJoin(hottest, ", ")});
  }
  table.Print(out);
}

}  // namespace

void PrintTop(const v1::GetTelemetryResponse& telemetry, std::ostream& out) {
  out << "job " << telemetry.job() << ", step " << telemetry.step() << " of " << telemetry.steps()
      << ", plan " << telemetry.plan_version() << ", loss " << Fixed(telemetry.loss(), 4) << ", "
      << Fixed(telemetry.tokens_per_s(), 0) << " tokens/s";
  if (telemetry.reports_dropped() > 0) out << ", " << telemetry.reports_dropped() << " reports dropped";
  if (telemetry.reports_rejected() > 0) out << ", " << telemetry.reports_rejected() << " reports rejected";
  out << "\n\n";
  PrintRanks(telemetry, out);
  out << "\n";
  PrintLayers(telemetry, out);
  if (telemetry.topology().links().empty()) return;
  out << "\n";
  PrintTopology(telemetry.topology(), out);
}

void PrintTopology(const v1::TopologyStatus& topology, std::ostream& out) {
  Table nodes({"NODE", "RANKS"});
  for (const v1::NodeStatus& node : topology.nodes()) {
    nodes.Add({node.name(), absl::StrJoin(node.ranks(), ",")});
  }
  nodes.Print(out);
  if (topology.links().empty()) return;
  out << "\n";
  Table links({"FROM", "TO", "LATENCY", "BANDWIDTH", "SLOW", "AGE", "LAST FAILURE"});
  for (const v1::LinkStatus& link : topology.links()) {
    const bool measured = link.bytes_per_second() > 0;
    links.Add({link.from_node(), link.to_node(),
               measured ? absl::StrCat(Fixed(1e6 * link.latency_seconds(), 0), " us") : "-",
               measured ? absl::StrCat(BytesText(link.bytes_per_second()), "/s") : "-",
               link.slowdown() > 1 ? absl::StrCat(Fixed(link.slowdown(), 1), " times") : "-",
               measured ? DurationText(std::max(1.0, link.age_seconds())) : "-", link.last_failure()});
  }
  links.Print(out);
}

void PrintLoad(const v1::GetLoadResponse& load, std::ostream& out) {
  for (const v1::StepLoadStatus& step : load.steps()) {
    out << "step " << step.step() << ", plan " << step.plan_version() << "\n";
    for (const v1::LayerLoad& layer : step.layers()) {
      out << "  layer " << layer.layer() << "\n    by expert  " << absl::StrJoin(layer.expert_tokens(), " ")
          << "\n    by rank    " << absl::StrJoin(layer.rank_tokens(), " ") << "\n";
    }
  }
}

}  // namespace ballast

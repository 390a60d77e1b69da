#include "ctl/replay_report.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "ctl/output.h"
#include "ctl/svg_chart.h"

namespace ballast {
namespace {

constexpr char kStyle[] = R"(
  :root { color-scheme: light dark; }
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
  table { border-collapse: collapse; margin: 1rem 0; }
  th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #8886; }
  th:first-child, td:first-child { text-align: left; }
  svg { max-width: 100%; height: auto; }
  svg text { fill: currentColor; font-size: 12px; }
  svg .title { font-weight: 600; }
  svg .grid { stroke: #8884; } svg .reference { stroke: currentColor; stroke-dasharray: 4 4; }
  svg polyline { stroke-width: 1.6; }
  .small { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: .5rem; }
  .key span { margin-right: 1.2rem; } .key i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
)";

std::string OrDash(const std::optional<double>& value, int decimals) {
  return value ? Fixed(*value, decimals) : "-";
}

std::string Row(const char* cell, const std::vector<std::string>& cells) {
  std::string row = "<tr>";
  for (const std::string& text : cells)
    absl::StrAppend(&row, "<", cell, ">", EscapeHtml(text), "</", cell, ">");
  return row + "</tr>\n";
}

std::string SummaryTable(const std::vector<ReplayRun>& runs) {
  std::string table = "<table>\n";
  absl::StrAppend(&table,
                  Row("th", {"strategy", "max/mean", "share of oracle's gain", "slot writes per layer",
                             "re-plans per layer", "planning ms, p50 / p99", "hours"}));
  for (const ReplayRun& run : runs) {
    const ReplayFigures& f = run.result.figures;
    absl::StrAppend(&table,
                    Row("td", {run.strategy, Fixed(f.max_over_mean, 4), OrDash(f.share_of_oracle_gain, 4),
                               Fixed(f.slot_writes_per_layer, 1), Fixed(f.replans_per_layer, 1),
                               absl::StrCat(Fixed(f.plan_ms_p50, 2), " / ", Fixed(f.plan_ms_p99, 2)),
                               f.hours ? Fixed(f.hours->total(), 3) : "-"}));
  }
  const ReplayFigures& f = runs[0].result.figures;
  absl::StrAppend(&table, "</table>\n<p>No plan at all (contiguous): ", Fixed(f.static_max_over_mean, 4),
                  ". Oracle, which knows each step's loads: ", OrDash(f.oracle_max_over_mean, 4),
                  ". No placement in these slots is below ", OrDash(f.bound_with_replicas, 4),
                  "; without copies, below ", OrDash(f.bound_no_replicas, 4), ".</p>\n");
  return table;
}

std::string Key(const std::vector<std::string>& names) {
  std::string key = "<p class=\"key\">";
  for (size_t i = 0; i < names.size(); ++i) {
    absl::StrAppend(&key, "<span><i style=\"background:", SeriesColour(i), "\"></i>", EscapeHtml(names[i]),
                    "</span>");
  }
  return key + "</p>\n";
}

// Mean over layers of `of[layer][row]`.
std::vector<double> MeanOverLayers(const std::vector<std::vector<double>>& of) {
  std::vector<double> mean(of.empty() ? 0 : of[0].size(), 0);
  for (const std::vector<double>& layer : of) {
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += layer[i] / static_cast<double>(of.size());
  }
  return mean;
}

std::vector<double> RunningSum(std::vector<double> values) {
  double sum = 0;
  for (double& value : values) value = sum += value;
  return values;
}

}  // namespace

std::string ReplayReport(const std::string& loads, const ReplayOptions& options, const LoadTrace& trace,
                         const std::vector<ReplayRun>& runs) {
  std::string page =
      absl::StrCat("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<title>Replay of ",
                   EscapeHtml(loads), "</title>\n<style>", kStyle, "</style></head><body>\n<h1>Replay of ",
                   EscapeHtml(loads), "</h1>\n");
  absl::StrAppendFormat(
      &page,
      "<p>%d rows of %d layers, %d microbatches and %d experts on %d GPUs with %d slots each; a look every "
      "%d "
      "rows, figures from row %d on. A plan for a row knows the rows before it alone.</p>\n",
      trace.steps(), trace.layers(), trace.microbatches(), trace.experts(), options.ranks, options.slots,
      options.every, options.from);
  absl::StrAppend(&page, SummaryTable(runs));

  std::vector<std::string> names;
  std::vector<Series> imbalance, writes;
  Series writes_per_layer{"slot writes per layer", {}}, step{"step", {}}, sync{"replica sync", {}},
      migration{"migration", {}};
  for (const ReplayRun& run : runs) {
    names.push_back(run.strategy);
    imbalance.push_back({run.strategy, MeanOverLayers(run.result.imbalance)});
    writes.push_back({run.strategy, RunningSum(MeanOverLayers(run.result.slot_writes))});
    const ReplayFigures& f = run.result.figures;
    writes_per_layer.values.push_back(f.slot_writes_per_layer);
    if (!f.hours) continue;
    step.values.push_back(f.hours->step);
    sync.values.push_back(f.hours->sync);
    migration.values.push_back(f.hours->migration);
  }
  absl::StrAppend(&page, "<h2>Strategies side by side</h2>\n", Key(names));
  ChartOptions chart{.title = "Imbalance (busiest GPU / mean), mean over layers", .x_label = "row"};
  chart.first_x = options.from;
  chart.y_floor = 1;
  if (const auto& bound = runs[0].result.figures.bound_with_replicas) {
    chart.reference = *bound;
    chart.reference_name = "bound with replicas";
  }
  absl::StrAppend(&page, LineChart(imbalance, chart));
  chart = {.title = "Slot writes so far, mean over layers", .x_label = "row"};
  chart.first_x = options.from;
  absl::StrAppend(&page, LineChart(writes, chart));
  absl::StrAppend(&page, StackedBars(names, {writes_per_layer}, {.title = "Slot writes per layer"}));
  if (step.values.size() == runs.size()) {
    absl::StrAppend(&page, "<h2>Where the time goes</h2>\n", Key({"step", "replica sync", "migration"}),
                    StackedBars(names, {step, sync, migration}, {.title = "Hours"}));
  }
  absl::StrAppend(&page, "<h2>Imbalance by layer</h2>\n", Key(names), "<div class=\"small\">\n");
  for (size_t l = 0; l < runs[0].result.imbalance.size(); ++l) {
    std::vector<Series> lines;
    for (const ReplayRun& run : runs) lines.push_back({run.strategy, run.result.imbalance[l]});
    ChartOptions small{.title = absl::StrCat("Layer ", l), .x_label = "row", .width = 360, .height = 170};
    small.first_x = options.from;
    small.y_floor = 1;
    absl::StrAppend(&page, LineChart(lines, small));
  }
  return page + "</div>\n</body></html>\n";
}

}  // namespace ballast

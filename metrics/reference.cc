#include "metrics/reference.h"

#include <span>

#include "absl/strings/str_cat.h"
#include "metrics/catalog.h"

namespace ballast {
namespace {

const char* TypeName(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return "counter";
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kHistogram:
      return "histogram";
  }
  return "?";
}

void AppendTable(std::span<const MetricInfo* const> catalog, std::string& text) {
  absl::StrAppend(&text, "| name | type | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n");
  for (const MetricInfo* info : catalog) {
    std::string labels;
    for (size_t i = 0; i < info->label_count(); ++i) {
      absl::StrAppend(&labels, i > 0 ? ", " : "", "`", info->labels[i], "`");
    }
    absl::StrAppend(&text, "| `", info->name, "` | ", TypeName(info->type), " | ", info->unit, " | ", labels,
                    " | ", info->help, " |\n");
  }
}

}  // namespace

std::string MetricsReference() {
  std::string text =
      "# Metrics\n\n"
      "Written from `metrics/catalog.h`, the table that the daemons register from; a test compares.\n\n"
      "Both daemons serve `/metrics` with `--metrics-listen HOST:PORT`; with `--metrics-cert` and "
      "`--metrics-key` over TLS,\nwith `--metrics-client-ca` to clients with a certificate of that authority "
      "alone. The files are read anew for every\nconnection, so they can be rotated by rename.\n\n"
      "The label of the training job is `ballast_job`: `job` is the scrape's own. Series of jobs that have "
      "ended, of ranks and\nworkers that are gone, go. At the coordinator a rank has at most 8 series and a "
      "layer at most 20; histograms and what\nhas both a rank and a layer come from the workers; no metric "
      "has an expert, a layer and a rank: `ballastctl job load`\nshows those.\n\n"
      "## ballast-coordinator\n\n";
  AppendTable(metrics::kCoordinatorCatalog, text);
  absl::StrAppend(&text, "\n## ballast-worker\n\n");
  AppendTable(metrics::kWorkerCatalog, text);
  return text;
}

}  // namespace ballast

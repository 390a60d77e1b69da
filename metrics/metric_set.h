// MetricSet: series of metrics that are in the catalog, and the text in which a scrape gets them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "metrics/metric_info.h"

namespace ballast {

// All methods may be called from any thread. `labels` are the values of info.labels, in their order. A metric
// is made with its first value and goes with the set: series of what is gone are those of a set that is gone.
class MetricSet {
 public:
  MetricSet();
  ~MetricSet();
  MetricSet(const MetricSet&) = delete;
  MetricSet& operator=(const MetricSet&) = delete;

  void Set(const MetricInfo& gauge, const std::vector<std::string>& labels, double value);
  // `increment` is at least 0.
  void Add(const MetricInfo& counter, const std::vector<std::string>& labels, double increment);
  void Observe(const MetricInfo& histogram, const std::vector<std::string>& labels, double value);

 private:
  friend std::string MetricsText(const std::vector<const MetricSet*>& sets);
  struct Families;
  const std::unique_ptr<Families> families_;
};

// In Prometheus's text format 0.0.4. No metric may be in two of the sets.
std::string MetricsText(const std::vector<const MetricSet*>& sets);
inline constexpr char kMetricsContentType[] = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace ballast

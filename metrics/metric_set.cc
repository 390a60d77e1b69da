#include "metrics/metric_set.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <sstream>

#include "base/check.h"

namespace ballast {
namespace {

prometheus::Labels LabelsOf(const MetricInfo& info, MetricType type, const std::vector<std::string>& values) {
  BALLAST_CHECK(info.type == type) << info.name << " is of another type";
  BALLAST_CHECK(values.size() == info.label_count())
      << info.name << " has " << info.label_count() << " labels, " << values.size() << " values were given";
  prometheus::Labels labels;
  for (size_t i = 0; i < values.size(); ++i) labels.emplace(info.labels[i], values[i]);
  return labels;
}

}  // namespace

// The registry finds a family that is registered again, and a family its metric: both merge.
struct MetricSet::Families {
  prometheus::Registry registry;
};

MetricSet::MetricSet() : families_(std::make_unique<Families>()) {}
MetricSet::~MetricSet() = default;

void MetricSet::Set(const MetricInfo& gauge, const std::vector<std::string>& labels, double value) {
  prometheus::BuildGauge()
      .Name(gauge.name)
      .Help(gauge.help)
      .Register(families_->registry)
      .Add(LabelsOf(gauge, MetricType::kGauge, labels))
      .Set(value);
}

void MetricSet::Add(const MetricInfo& counter, const std::vector<std::string>& labels, double increment) {
  BALLAST_CHECK(increment >= 0) << counter.name << " would go down";
  prometheus::BuildCounter()
      .Name(counter.name)
      .Help(counter.help)
      .Register(families_->registry)
      .Add(LabelsOf(counter, MetricType::kCounter, labels))
      .Increment(increment);
}

void MetricSet::Observe(const MetricInfo& histogram, const std::vector<std::string>& labels, double value) {
  const prometheus::Histogram::BucketBoundaries buckets(histogram.buckets.begin(), histogram.buckets.end());
  BALLAST_CHECK(!buckets.empty()) << histogram.name << " has no buckets";
  prometheus::BuildHistogram()
      .Name(histogram.name)
      .Help(histogram.help)
      .Register(families_->registry)
      .Add(LabelsOf(histogram, MetricType::kHistogram, labels), buckets)
      .Observe(value);
}

std::string MetricsText(const std::vector<const MetricSet*>& sets) {
  std::vector<prometheus::MetricFamily> families;
  for (const MetricSet* set : sets) {
    for (prometheus::MetricFamily& family : set->families_->registry.Collect())
      families.push_back(std::move(family));
  }
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, families);
  return text.str();
}

}  // namespace ballast

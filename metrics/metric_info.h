// MetricInfo: what is known of a metric before it has a value. metrics/catalog.h lists them all.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace ballast {

enum class MetricType : uint8_t { kCounter, kGauge, kHistogram };

inline constexpr size_t kMetricLabelsMax = 5;

struct MetricInfo {
  const char* name = nullptr;
  MetricType type = MetricType::kGauge;
  const char* unit = "";  // for people: "seconds", "bytes", "ratio"; empty = a plain number
  std::array<const char*, kMetricLabelsMax> labels{};  // null behind the last
  const char* help = nullptr;                          // one sentence
  std::span<const double> buckets{};                   // rising upper bounds, of histograms alone

  constexpr size_t label_count() const {
    size_t count = 0;
    while (count < labels.size() && labels[count] != nullptr) ++count;
    return count;
  }
};

}  // namespace ballast

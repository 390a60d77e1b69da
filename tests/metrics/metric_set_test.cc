#include "metrics/metric_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <initializer_list>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <string_view>

#include "metrics/catalog.h"
#include "metrics/reference.h"
#include "tests/base/temp_dir.h"
#include "tests/metrics/promtool.h"

namespace ballast {
namespace {

TEST(MetricSet, AddsSetsAndObserves) {
  MetricSet set;
  set.Add(metrics::kReportsRejected, {"demo"}, 2);
  set.Add(metrics::kReportsRejected, {"demo"}, 3);
  set.Set(metrics::kJobStep, {"demo"}, 7);
  set.Set(metrics::kJobStep, {"demo"}, 8);
  set.Observe(metrics::kPlanSwitch, {}, 0.15);
  const std::string text = MetricsText({&set});
  EXPECT_NE(text.find("ballast_reports_rejected_total{ballast_job=\"demo\"} 5\n"), std::string::npos) << text;
  EXPECT_NE(text.find("ballast_job_step{ballast_job=\"demo\"} 8\n"), std::string::npos) << text;
  EXPECT_NE(text.find("ballast_plan_switch_seconds_bucket{le=\"0.1\"} 0\n"), std::string::npos) << text;
  EXPECT_NE(text.find("ballast_plan_switch_seconds_bucket{le=\"0.2\"} 1\n"), std::string::npos) << text;
}

TEST(MetricSetDeathTest, AnotherTypeOrNumberOfLabelsIsOurMistake) {
  MetricSet set;
  EXPECT_DEATH(set.Set(metrics::kReportsRejected, {"demo"}, 1), "another type");
  EXPECT_DEATH(set.Add(metrics::kReportsRejected, {}, 1), "1 labels, 0 values");
  EXPECT_DEATH(set.Add(metrics::kReportsRejected, {"demo"}, -1), "go down");
}

std::vector<std::string> Values(const MetricInfo& info) {
  std::vector<std::string> values;
  for (size_t i = 0; i < info.label_count(); ++i) values.push_back("x");
  return values;
}

void SetAll(std::span<const MetricInfo* const> catalog, MetricSet& set) {
  for (const MetricInfo* info : catalog) {
    if (info->type == MetricType::kGauge) set.Set(*info, Values(*info), 1);
    if (info->type == MetricType::kCounter) set.Add(*info, Values(*info), 1);
    if (info->type == MetricType::kHistogram) set.Observe(*info, Values(*info), 1);
  }
}

TEST(Catalog, NamesAreUniqueAndEverythingIsSaid) {
  for (std::span<const MetricInfo* const> catalog :
       {std::span<const MetricInfo* const>(metrics::kCoordinatorCatalog),
        std::span<const MetricInfo* const>(metrics::kWorkerCatalog)}) {
    std::set<std::string> names;
    for (const MetricInfo* info : catalog) {
      EXPECT_TRUE(names.insert(info->name).second) << info->name << " is there twice";
      EXPECT_EQ(std::string(info->name).rfind("ballast_", 0), 0u) << info->name;
      ASSERT_NE(info->help, nullptr) << info->name;
      EXPECT_EQ(info->help[std::strlen(info->help) - 1], '.') << info->name;
      EXPECT_EQ(info->type == MetricType::kHistogram, !info->buckets.empty()) << info->name;
      for (size_t i = 1; i < info->buckets.size(); ++i) EXPECT_LT(info->buckets[i - 1], info->buckets[i]);
    }
  }
}

bool HasLabels(const MetricInfo& info, std::initializer_list<std::string_view> wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&info](std::string_view label) {
    return std::count(info.labels.begin(), info.labels.begin() + info.label_count(), label) > 0;
  });
}

// What multiplies: an expert, a layer and a rank nowhere; a layer and a rank at workers alone, and no
// histogram at the coordinator of either.
TEST(Catalog, LabelsThatMultiplyDoNotMeet) {
  for (const MetricInfo* info : metrics::kWorkerCatalog)
    EXPECT_FALSE(HasLabels(*info, {"expert", "layer", "rank"})) << info->name;
  for (const MetricInfo* info : metrics::kCoordinatorCatalog) {
    EXPECT_FALSE(HasLabels(*info, {"layer", "rank"})) << info->name;
    EXPECT_FALSE(HasLabels(*info, {"layer", "expert"})) << info->name;
    EXPECT_FALSE(info->type == MetricType::kHistogram &&
                 (HasLabels(*info, {"layer"}) || HasLabels(*info, {"rank"})))
        << info->name;
  }
  // The labels are called so: workers have one with a layer and a rank.
  EXPECT_TRUE(HasLabels(metrics::kLayerAssignments, {"layer", "rank"}));
  EXPECT_FALSE(HasLabels(metrics::kLayerAssignments, {"expert"}));
}

TEST(Catalog, PromtoolFindsNothingToSay) {
  if (!HavePromtool()) GTEST_SKIP() << "promtool is not installed (Debian package prometheus)";
  TempDir dir;
  MetricSet coordinator, worker;
  SetAll(metrics::kCoordinatorCatalog, coordinator);
  SetAll(metrics::kWorkerCatalog, worker);
  EXPECT_EQ(PromtoolComplaints(MetricsText({&coordinator}), dir / "."), "");
  EXPECT_EQ(PromtoolComplaints(MetricsText({&worker}), dir / "."), "");
  // It would say something.
  EXPECT_NE(PromtoolComplaints("# TYPE no_help counter\nno_help 1\n", dir / "."), "");
}

// With BALLAST_REWRITE_METRICS=1 the page is written anew instead.
TEST(Catalog, TheReferenceIsWrittenFromIt) {
  const std::string path = BALLAST_SOURCE_DIR "/docs/metrics.md";
  if (std::getenv("BALLAST_REWRITE_METRICS") != nullptr) std::ofstream(path) << MetricsReference();
  std::ostringstream page;
  page << std::ifstream(path).rdbuf();
  EXPECT_EQ(page.str(), MetricsReference()) << "BALLAST_REWRITE_METRICS=1 writes docs/metrics.md anew";
}

}  // namespace
}  // namespace ballast

// deploy/grafana/ballast-job.json and deploy/prometheus/prometheus.yml: every query names metrics that the
// daemons have, and gets an answer from a Prometheus that scrapes a job which trains.
#include <gtest/gtest.h>
#include <httplib.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "metrics/catalog.h"
#include "tests/daemons/free_port.h"
#include "tests/e2e/cluster.h"
#include "tests/e2e/plan_edits.h"

namespace ballast {
namespace {

using nlohmann::json;

constexpr int kRanks = 4;
constexpr char kJob[] = "demo";

json Dashboard() { return json::parse(ReadFile(BALLAST_SOURCE_DIR "/deploy/grafana/ballast-job.json")); }

// A query and where it stands.
struct Query {
  std::string place;
  std::string expression;
};

std::vector<Query> Queries(const json& dashboard) {
  std::vector<Query> queries;
  for (const json& panel : dashboard.at("panels")) {
    if (panel.at("type") == "row") continue;
    for (const json& target : panel.at("targets")) queries.push_back({panel.at("title"), target.at("expr")});
  }
  for (const json& annotation : dashboard.at("annotations").at("list")) {
    queries.push_back({annotation.at("name"), annotation.at("expr")});
  }
  return queries;
}

// As Grafana would before it asks.
std::string Substituted(const std::string& expression) {
  return absl::StrReplaceAll(expression, {{"$ballast_job", kJob}, {"$__rate_interval", "30s"}});
}

// Queries without an answer while nothing is wrong and no plan is on its way, by panel.
const std::set<std::string> kMayBeEmpty = {"Plans in flight"};

TEST(Dashboard, PanelsAreWhole) {
  const json dashboard = Dashboard();
  EXPECT_FALSE(dashboard.contains("id")) << "a new one for whoever imports it";
  EXPECT_EQ(dashboard.at("uid"), "ballast-job");
  std::set<int> ids;
  std::set<std::pair<int, int>> cells;
  std::set<std::string> rows;
  int panels = 0;
  for (const json& panel : dashboard.at("panels")) {
    const std::string title = panel.at("title");
    EXPECT_TRUE(ids.insert(panel.at("id").get<int>()).second) << title;
    const json& at = panel.at("gridPos");
    EXPECT_LE(at.at("x").get<int>() + at.at("w").get<int>(), 24) << title;
    for (int x = at.at("x"); x < at.at("x").get<int>() + at.at("w").get<int>(); ++x) {
      for (int y = at.at("y"); y < at.at("y").get<int>() + at.at("h").get<int>(); ++y) {
        EXPECT_TRUE(cells.insert({x, y}).second) << title << " covers another";
      }
    }
    if (panel.at("type") == "row") {
      rows.insert(title);
      continue;
    }
    ++panels;
    EXPECT_GT(panel.at("description").get<std::string>().size(), 10u) << title;
    EXPECT_FALSE(panel.at("fieldConfig").at("defaults").at("unit").get<std::string>().empty()) << title;
    EXPECT_EQ(panel.at("datasource").at("uid"), "${datasource}") << title;
    for (const json& target : panel.at("targets"))
      EXPECT_EQ(target.at("datasource").at("uid"), "${datasource}");
  }
  EXPECT_EQ(rows, (std::set<std::string>{"Training", "Balance", "Plans", "Network", "Daemons"}));
  EXPECT_GE(panels, 20);
  for (const std::string& title : kMayBeEmpty) {
    EXPECT_TRUE(absl::StrContains(dashboard.dump(), absl::StrCat("\"", title, "\""))) << title;
  }
}

TEST(Dashboard, QueriesNameMetricsOfTheCatalog) {
  std::set<std::string> known;
  std::set<std::string> labels = {"ballast_job"};
  auto add = [&](const MetricInfo& metric) {
    const std::string name(metric.name);
    if (metric.type == MetricType::kHistogram) {
      for (const char* part : {"_bucket", "_sum", "_count"}) known.insert(name + part);
    } else {
      known.insert(name);
    }
  };
  for (const MetricInfo* metric : metrics::kCoordinatorCatalog) add(*metric);
  for (const MetricInfo* metric : metrics::kWorkerCatalog) add(*metric);
  static const std::regex word("ballast_[a-z_]+");
  // What a counter is asked with, when it is not the number itself that counts.
  static const std::regex range("\\[(.*?)\\]");
  for (const Query& query : Queries(Dashboard())) {
    const std::string& text = query.expression;
    for (std::sregex_iterator it(text.begin(), text.end(), word), end; it != end; ++it) {
      if (labels.count(it->str())) continue;
      EXPECT_TRUE(known.count(it->str()))
          << query.place << ": " << it->str() << " is not in metrics/catalog.h";
    }
    for (std::sregex_iterator it(text.begin(), text.end(), range), end; it != end; ++it) {
      EXPECT_EQ((*it)[1], "$__rate_interval") << query.place << ": " << text;
    }
    EXPECT_EQ(absl::StrContains(text, "rate(") || absl::StrContains(text, "increase(") ||
                  absl::StrContains(text, "changes("),
              absl::StrContains(text, "[$__rate_interval]"))
        << query.place << ": " << text;
  }
}

class LiveDashboard : public testing::Test {
 protected:
  // A Prometheus with the example's configuration, on this cluster's daemons.
  void StartPrometheus(int coordinator_port, const std::vector<int>& worker_ports) {
    std::string workers;
    for (int port : worker_ports) absl::StrAppend(&workers, "          - 127.0.0.1:", port, "\n");
    const std::string config = cluster_.dir() / "prometheus.yml";
    const std::string example = ReadFile(BALLAST_SOURCE_DIR "/deploy/prometheus/prometheus.yml");
    const std::string text = absl::StrReplaceAll(
        example, {{"scrape_interval: 15s", "scrape_interval: 1s"},
                  {"/etc/prometheus/ballast-ca.pem", cluster_.Certificate("ca.pem")},
                  {"coordinator.example:7072", absl::StrCat("127.0.0.1:", coordinator_port)},
                  {"          - worker-a.example:7072\n          - worker-b.example:7072\n", workers}});
    ASSERT_FALSE(absl::StrContains(text, ".example:")) << text;
    std::ofstream(config) << text;
    port_ = FreePort();
    prometheus_.emplace(
        std::vector<std::string>{"/usr/bin/prometheus", "--config.file=" + config,
                                 "--storage.tsdb.path=" + (cluster_.dir() / "tsdb"),
                                 absl::StrCat("--web.listen-address=127.0.0.1:", port_), "--log.level=warn"},
        cluster_.LogPath("prometheus"));
  }

  // `data` of the answer to a call of Prometheus' API; null and a message when there is none.
  json Ask(const std::string& path, const httplib::Params& parameters, std::string& error) {
    httplib::Client client("127.0.0.1", port_);
    client.set_read_timeout(10);
    auto result = client.Get(path.c_str(), parameters, httplib::Headers());
    if (!result) {
      error = "Prometheus does not answer";
      return nullptr;
    }
    const json answer = json::parse(result->body, nullptr, /*allow_exceptions=*/false);
    if (answer.is_discarded() || answer.value("status", "") != "success") {
      error = result->body;
      return nullptr;
    }
    error.clear();
    return answer.at("data");
  }

  // What is wrong with the answer to `expression`; empty = nothing.
  std::string Complaint(const std::string& expression, bool may_be_empty) {
    std::string error;
    const json data = Ask("/api/v1/query", {{"query", Substituted(expression)}}, error);
    if (!error.empty()) return error;
    if (data.at("result").empty()) return may_be_empty ? "" : "no series";
    for (const json& series : data.at("result")) {
      const std::string value = series.at("value").at(1);
      if (value == "NaN") return "NaN in " + series.dump();
    }
    return "";
  }

  Cluster cluster_;
  std::optional<Process> prometheus_;
  int port_ = 0;
};

TEST_F(LiveDashboard, EveryQueryHasAnAnswerFromARealPrometheus) {
  const int coordinator_port = FreePort();
  cluster_.StartCoordinator({"--metrics-listen", absl::StrCat("127.0.0.1:", coordinator_port),
                             "--metrics-cert", cluster_.Certificate("coordinator.pem"), "--metrics-key",
                             cluster_.Certificate("coordinator.key")});
  std::vector<int> worker_ports;
  for (int i = 0; i < kRanks; ++i) {
    worker_ports.push_back(FreePort());
    cluster_.StartWorker(i, {"--metrics-listen", absl::StrCat("127.0.0.1:", worker_ports.back())});
  }
  ASSERT_TRUE(cluster_.WaitForWorkers(kRanks, 20));
  ASSERT_NO_FATAL_FAILURE(StartPrometheus(coordinator_port, worker_ports));
  JobConfig job = SmallJob(kJob, kRanks, 1000000);
  job.training.evaluate_every = 20;
  ASSERT_TRUE(cluster_.Submit(job).ok());
  // Switches all the while, so that rates of plans are rates of something.
  ASSERT_TRUE(cluster_.WaitForPlan(kJob, 1, v1::PLAN_STATE_ACTIVE, 60));

  std::vector<Query> missing = Queries(Dashboard());
  const size_t queries = missing.size();
  ASSERT_GE(queries, 40u);
  std::string complaints;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(90);
  for (int version = 2; !missing.empty() && std::chrono::steady_clock::now() < deadline; ++version) {
    ASSERT_TRUE(cluster_.Push(kJob, RotateExperts(cluster_.Plan(kJob)->plan())).ok());
    ASSERT_TRUE(cluster_.WaitForPlan(kJob, version, v1::PLAN_STATE_ACTIVE, 60));
    std::this_thread::sleep_for(std::chrono::seconds(1));
    complaints.clear();
    std::erase_if(missing, [&](const Query& query) {
      const std::string complaint = Complaint(query.expression, kMayBeEmpty.count(query.place) > 0);
      if (!complaint.empty())
        absl::StrAppend(&complaints, query.place, ": ", query.expression, ": ", complaint, "\n");
      return complaint.empty();
    });
  }
  EXPECT_TRUE(missing.empty()) << complaints;

  // The choice of jobs.
  std::string error;
  for (const json& variable : Dashboard().at("templating").at("list")) {
    if (variable.at("type") != "query") continue;
    static const std::regex values("label_values\\(([a-z_]+), ([a-z_]+)\\)");
    std::smatch parts;
    const std::string query = variable.at("query").at("query");
    ASSERT_TRUE(std::regex_match(query, parts, values)) << query;
    const json found =
        Ask("/api/v1/label/" + parts[2].str() + "/values", {{"match[]", parts[1].str()}}, error);
    EXPECT_EQ(found, json::array({kJob})) << error;
  }

  // All that is scraped is within the example's limit, and every target is up.
  const json up = Ask("/api/v1/query", {{"query", "up == 1"}}, error);
  EXPECT_EQ(up.at("result").size(), 1u + kRanks) << error;
  const json samples = Ask("/api/v1/query", {{"query", "max(scrape_samples_scraped)"}}, error);
  std::printf("%zu queries answered; at most %s samples a scrape\n", queries,
              samples.at("result").at(0).at("value").at(1).get<std::string>().c_str());

  // A query that is wrong is found.
  EXPECT_EQ(Complaint("ballast_job_los{ballast_job=\"$ballast_job\"}", false), "no series");
  EXPECT_NE(Complaint("rate(ballast_job_trained_tokens_total)", false), "");
}

}  // namespace
}  // namespace ballast

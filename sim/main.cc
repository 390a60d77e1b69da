// ballast-sim: runs seeds of the simulated control plane and says which invariant broke first.
#include <chrono>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "sim/simulation.h"

namespace ballast::sim {
namespace {

constexpr int kOk = 0, kViolated = 1, kUsage = 2;

struct Flags {
  std::string seeds = "1..100";
  std::optional<uint64_t> seed;
  std::optional<std::string> transcript;  // a path; empty = standard output
  std::string plant;
  std::string replay;
};

// "A..B", both included.
bool ParseSeeds(const std::string& text, uint64_t& first, uint64_t& last) {
  const std::vector<std::string> ends = absl::StrSplit(text, absl::ByString(".."));
  return ends.size() == 2 && absl::SimpleAtoi(ends[0], &first) && absl::SimpleAtoi(ends[1], &last) &&
         first <= last;
}

// The first line says how to make the rest again.
std::string CommandOf(const SimulationOptions& options) {
  std::string command = absl::StrCat("# ballast-sim --seed ", options.seed);
  if (options.bug.has_value()) absl::StrAppend(&command, " --plant ", NameOf(*options.bug));
  return command + " --transcript\n";
}

std::string TranscriptOf(SimulationOptions options) {
  options.transcript = true;
  return CommandOf(options) + absl::StrJoin(Simulate(options).transcript, "\n") + "\n";
}

// The last line of the output.
std::string Summary(uint64_t seeds, uint64_t failed, const SimulationResult& sums) {
  const PauseFigures& figures = sums.pauses;
  const auto mean = [](Micros sum, int64_t n) { return n > 0 ? sum / n : 0; };
  return absl::StrCat(
      "{\"seeds\":", seeds, ",\"failed\":", failed, ",\"steps\":", figures.steps,
      ",\"step_us_mean\":", mean(figures.steps_us, figures.steps), ",\"switches\":", figures.switches,
      ",\"switch_step_us_mean\":", mean(figures.switches_us, figures.switches),
      ",\"switch_step_us_max\":", figures.switch_us_max, ",\"generations\":", sums.generations,
      ",\"rolled_forward\":", sums.rolled_forward, ",\"behind_last\":", sums.behind_last,
      ",\"own_updates\":", sums.own_updates, ",\"resumed\":", sums.resumed,
      ",\"routed_layers\":", sums.routes.layers, ",\"assignments\":", sums.routes.assignments,
      ",\"assignments_travelled\":", sums.routes.travelled, ",\"recoveries\":", figures.recoveries,
      ",\"recovery_us_mean\":", mean(figures.recoveries_us, figures.recoveries),
      ",\"recovery_us_max\":", figures.recovery_us_max, "}\n");
}

int RunSeeds(uint64_t first, uint64_t last, SimulationOptions options) {
  uint64_t failed = 0;
  SimulationResult sums;
  for (uint64_t seed = first;; ++seed) {
    options.seed = seed;
    const SimulationResult result = Simulate(options);
    sums.generations += result.generations;
    sums.rolled_forward += result.rolled_forward;
    sums.behind_last += result.behind_last;
    sums.own_updates += result.own_updates;
    sums.resumed += result.resumed;
    sums.routes.Add(result.routes);
    sums.pauses.Add(result.pauses);
    if (result.failed() && ++failed == 1) {
      const std::string path = absl::StrCat("ballast-sim-", seed, ".transcript");
      std::ofstream(path) << TranscriptOf(options);
      std::cout << "seed " << seed << ": " << result.checker << ": " << result.what
                << "; transcript: " << path << "\n";
    }
    if (seed == last) break;
  }
  std::cout << Summary(last - first + 1, failed, sums);
  return failed > 0 ? kViolated : kOk;
}

int RunOne(const Flags& flags, SimulationOptions options) {
  options.seed = *flags.seed;
  const SimulationResult result = Simulate(options);
  if (flags.transcript.has_value()) {
    if (flags.transcript->empty()) {
      std::cout << TranscriptOf(options);
    } else {
      std::ofstream out(*flags.transcript);
      out << TranscriptOf(options);
      if (!out.flush()) {
        std::cerr << "cannot write " << *flags.transcript << "\n";
        return kUsage;
      }
    }
  }
  if (result.failed())
    std::cout << "seed " << options.seed << ": " << result.checker << ": " << result.what << "\n";
  std::cout << Summary(1, result.failed() ? 1 : 0, result);
  return result.failed() ? kViolated : kOk;
}

// Runs what the transcript's first line says and compares the rest.
int Replay(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  const std::string recorded = text.str();
  const std::vector<std::string> words = absl::StrSplit(recorded.substr(0, recorded.find('\n')), ' ');
  SimulationOptions options;
  bool usable = words.size() >= 5 && words[1] == "ballast-sim" && words[2] == "--seed" &&
                absl::SimpleAtoi(words[3], &options.seed);
  if (usable && words[4] == "--plant" && words.size() > 5) {
    options.bug = PlantByName(words[5]);
    usable = options.bug.has_value();
  }
  if (!usable) {
    std::cerr << path << ": no transcript of ballast-sim\n";
    return kUsage;
  }
  const std::string again = TranscriptOf(options);
  if (again == recorded) {
    std::cout << path << ": replayed, equal to the last line\n";
    return kOk;
  }
  const std::vector<std::string> a = absl::StrSplit(recorded, '\n'), b = absl::StrSplit(again, '\n');
  size_t line = 0;
  while (line < a.size() && line < b.size() && a[line] == b[line]) ++line;
  std::cout << path << ": differs from line " << line + 1 << " on\n";
  return kViolated;
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "Simulates the coordinator, the workers' sessions and the fence under faults, and checks the "
      "invariants of "
      "the live switch.\nExit code: 0 all held, 1 one was violated, 2 usage.");
  auto* seeds = app.add_option("--seeds", flags.seeds, "A..B: all seeds from A to B, both included")
                    ->capture_default_str();
  auto* seed = app.add_option("--seed", flags.seed, "one seed")->excludes(seeds);
  app.add_option("--transcript", flags.transcript, "write what happens to a file, or to standard output")
      ->expected(0, 1)
      ->needs(seed);
  app.add_option("--plant", flags.plant, "plant a bug: " + absl::StrJoin(PlantNames(), ", "))
      ->check(CLI::IsMember(PlantNames()));
  app.add_option("--replay", flags.replay, "run a transcript again and compare")->check(CLI::ExistingFile);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kOk : kUsage;
  }
  if (!flags.replay.empty()) return Replay(flags.replay);
  SimulationOptions options;
  options.bug = flags.plant.empty() ? std::nullopt : PlantByName(flags.plant);
  if (flags.seed.has_value()) return RunOne(flags, options);
  uint64_t first = 0, last = 0;
  if (!ParseSeeds(flags.seeds, first, last)) {
    std::cerr << "--seeds: found \"" << flags.seeds << "\", allowed A..B with A <= B\n";
    return kUsage;
  }
  return RunSeeds(first, last, options);
}

}  // namespace
}  // namespace ballast::sim

int main(int argc, char** argv) { return ballast::sim::Main(argc, argv); }

// What a step pays for being watched and switched: the exchange of the step table (headers, losses, norms)
// between two ranks on loopback, what telemetry takes of the rank's thread and of the daemon's, and steps of
// a small model with and without link probes beside them.
//
//   build/bench/step_overheads
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "bench/step/probed_steps.h"
#include "tests/worker/comm/communicator_fixture.h"
#include "tests/worker/comm/memory_store.h"
#include "wire/convert_session.h"
#include "worker/comm/gloo_communicator.h"
#include "worker/optimizer/step_table.h"
#include "worker/trainer/step_times.h"

namespace ballast {
namespace {

constexpr int kRepeats = 2000;
constexpr int kLayers = 24;
constexpr int kExperts = 64;
constexpr int kRanks = 64;

double Micros(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
}

void Print(const char* what, std::vector<double> micros) {
  std::sort(micros.begin(), micros.end());
  const double p50 = micros[micros.size() / 2], p90 = micros[micros.size() * 9 / 10];
  std::printf("%-72s p50 %7.1f us, p90 %7.1f us; %.4f %% of a step of 100 ms\n", what, p50, p90, p50 / 1000);
}

std::vector<double> Repeat(const std::function<void()>& body) {
  std::vector<double> micros;
  for (int i = 0; i < kRepeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    micros.push_back(Micros(begin));
  }
  return micros;
}

// Both ranks come to each exchange together: waiting for a slower rank is not the table's cost.
std::vector<double> Exchanges(size_t row_bytes) {
  MemoryStore store;
  std::vector<double> micros;
  OnAllRanks(2, [&](Rank self) {
    auto communicator = ConnectGloo({.rank = self,
                                     .size = 2,
                                     .generation = Generation(1),
                                     .data_address = "127.0.0.1",
                                     .deadline = After(20)},
                                    store);
    BALLAST_CHECK_OK(communicator.status());
    NoStream stream;
    auto gather = [&](size_t bytes) {
      std::vector<char> in(bytes), out(2 * bytes);
      auto pending = (*communicator)->AllGather(stream, in.data(), {bytes, bytes}, out.data());
      BALLAST_CHECK_OK((*communicator)->Wait(*pending, After(20)));
    };
    for (int i = 0; i < kRepeats; ++i) {
      gather(8);
      const auto begin = std::chrono::steady_clock::now();
      gather(row_bytes);
      if (self.value() == 0) micros.push_back(Micros(begin));
    }
    gather(8);
  });
  return micros;
}

RankStep OneStep() {
  RankStep step;
  step.step = Step(1000);
  step.seconds = 0.1;
  step.phase_seconds.fill(0.1 / kPhases);
  for (int peer = 1; peer < kRanks; ++peer) step.links.push_back({Rank(peer), 1000000, 1000000, 0.01});
  return step;
}

void Run() {
  StepTableShape shape;
  shape.sequences = {16, 16};
  shape.owned.resize(2);
  for (int block = 0; block < 512; ++block)
    shape.owned[static_cast<size_t>(block % 2)].push_back(BlockId(block));
  shape.blocks = 512;
  StepTableShape alone;
  alone.sequences = {0, 0};
  alone.owned.resize(2);
  Print("header alone, exchanged by two ranks over Gloo", Exchanges(RowBytes(alone, Rank(0))));
  Print("whole row (16 sequences, 256 blocks), exchanged", Exchanges(RowBytes(shape, Rank(0))));

  StepRow row;
  row.losses.resize(16);
  row.block_squares.resize(256);
  std::vector<char> rows(2 * RowBytes(shape, Rank(0)));
  Print("row encoded, table of both decoded", Repeat([&] {
          EncodeRow(row, rows.data());
          EncodeRow(row, rows.data() + rows.size() / 2);
          BALLAST_CHECK(DecodeTable(shape, rows.data()).headers.size() == 2);
        }));

  // On the rank's thread: every phase of every layer is entered and left, forward and backward.
  MemoryStore store;
  auto single = ConnectGloo({.rank = Rank(0),
                             .size = 1,
                             .generation = Generation(1),
                             .data_address = "127.0.0.1",
                             .deadline = After(20)},
                            store);
  BALLAST_CHECK_OK(single.status());
  const SteadyClock clock;
  StepTimes times(clock, **single, nullptr);
  Stream stream;
  Print("rank's thread: phases of 24 layers and 4 microbatches timed", Repeat([&] {
          times.Begin(stream);
          for (int i = 0; i < 4 * kLayers * 12; ++i) times.Enter(static_cast<Phase>(i % kPhases));
          BALLAST_CHECK(times.End(Step(1), 0).seconds >= 0);
        }));

  RankReport report;
  report.job = JobId("demo");
  report.steps.assign(10, OneStep());
  Print("daemon's thread: a second's report of a rank (10 steps, 63 links), per step", [&] {
    std::vector<double> micros =
        Repeat([&] { BALLAST_CHECK(!ToProto(WorkerMessage(report)).SerializeAsString().empty()); });
    for (double& one : micros) one /= 10;
    return micros;
  }());

  StepReport step;
  step.job = JobId("demo");
  step.load.tokens.assign(kLayers, std::vector<int64_t>(kExperts, 12345));
  step.rank_tokens.assign(kLayers, std::vector<int64_t>(kRanks, 12345));
  Print("daemon's thread of the reporting rank: counts of a step, 24 x (64 + 64)",
        Repeat([&] { BALLAST_CHECK(!ToProto(WorkerMessage(step)).SerializeAsString().empty()); }));
}

}  // namespace
}  // namespace ballast

int main() {
  ballast::Run();
  ballast::PrintProbedSteps();
  return 0;
}

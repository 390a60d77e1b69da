// What every communicator must do, tried on N ranks as threads of this process.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "worker/comm/communicator.h"

namespace ballast {

class NoStream final : public Stream {};

inline Time After(double seconds) {
  return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now()) + Seconds(seconds);
}

// Runs `body` once per rank, each on a thread of its own, and waits for all.
inline void OnAllRanks(int ranks, const std::function<void(Rank)>& body) {
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) threads.emplace_back([&body, r] { body(Rank(r)); });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace ballast

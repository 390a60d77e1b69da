// PeerWatch: which members of a class (ranks, links) have become slower than their peers.
//
// What all suffer alike (a larger batch, a busy network) is no fault of one, so each is compared with the
// median of the others in the same step. A one-sided CUSUM (Page, Biometrika 1954) sums what standardised
// residuals exceed a drift: short outliers are forgotten, a lasting change is found within a few steps.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace ballast {

struct PeerWatchOptions {
  double drift = 1;           // standard deviations that are normal
  double threshold = 10;      // summed standard deviations beyond the drift that are not
  double clip = 3;            // one sample says no more than this
  double sigma_floor = 0.01;  // of a log ratio
  int warm_up = 8;            // samples of the class before anything is judged
  double least = 1.1;         // slowdown below which nobody is told
  int clean_steps = 50;       // back at its peers' speed for so many until it counts as healthy
};

// A member is found slow, or is healthy again.
struct PeerChange {
  int member = 0;
  bool slow = false;
  double slowdown = 1;  // its time over its peers'; 1 when healthy again
  friend bool operator==(const PeerChange&, const PeerChange&) = default;
};

// A value; copies are independent.
class PeerWatch {
 public:
  PeerWatch(int members, PeerWatchOptions options);

  // One step: log of (time over what a healthy member takes) by member; nothing where it was not measured.
  // Members without `fresh` are peers to compare with and are not judged themselves (null: all are judged).
  // Returns the changes.
  std::vector<PeerChange> Observe(const std::vector<std::optional<double>>& logs,
                                  const std::vector<bool>* fresh = nullptr);

  int members() const { return static_cast<int>(states_.size()); }
  bool slow(int member) const { return states_[static_cast<size_t>(member)].slow; }
  // Time over the peers', of a slow member; 1 of a healthy one.
  double slowdown(int member) const;
  // Standard deviation of a log ratio, at least the floor.
  double sigma() const { return std::max(sigma_, options_.sigma_floor); }

 private:
  struct State {
    double mean = 0;  // slow mean of its residuals: what is usual for it
    int64_t samples = 0;
    double sum = 0;                 // the CUSUM
    std::vector<double> residuals;  // the newest since the sum was 0; of a slow one, those that show it
    size_t since = 0;               // samples since the sum was 0
    bool slow = false;
    int clean = 0;
  };
  std::vector<std::optional<double>> AgainstPeers(std::vector<std::optional<double>> logs) const;
  bool Clean(const State& state, double residual) const;
  void Judge(int member, double residual, std::vector<PeerChange>& changes);
  void LearnSpread(const std::vector<std::optional<double>>& residuals);
  static void Keep(State& state, double residual);
  static double Estimate(const State& state);

  PeerWatchOptions options_;
  std::vector<State> states_;
  int64_t steps_ = 0;
  double sigma_ = 0;
};

}  // namespace ballast

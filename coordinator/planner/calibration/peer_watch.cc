#include "coordinator/planner/calibration/peer_watch.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"

namespace ballast {
namespace {

constexpr size_t kWindow = 64;          // residuals that an estimate is the median of
constexpr double kMeanWeight = 0.02;    // of the newest residual in what is usual for a member
constexpr double kSpreadWeight = 0.02;  // of the newest step in the spread of the class
constexpr double kDeviations = 1.4826;  // standard deviations of a normal in a median absolute one
constexpr int kUncleanCosts = 5;        // clean steps that one other takes back

double MedianOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

// Medians of all values but one.
class Others {
 public:
  explicit Others(std::vector<double> values) : sorted_(std::move(values)) {
    std::sort(sorted_.begin(), sorted_.end());
  }
  // `mine` is one of the values, left out; nothing when it is the only one.
  std::optional<double> MedianWithout(double mine) const {
    const size_t n = sorted_.size();
    if (n < 2) return std::nullopt;
    const auto place =
        static_cast<size_t>(std::lower_bound(sorted_.begin(), sorted_.end(), mine) - sorted_.begin());
    const auto other = [&](size_t i) { return sorted_[i < place ? i : i + 1]; };
    return (other((n - 2) / 2) + other((n - 1) / 2)) / 2;
  }
  std::optional<double> Median() const {
    if (sorted_.empty()) return std::nullopt;
    return (sorted_[(sorted_.size() - 1) / 2] + sorted_[sorted_.size() / 2]) / 2;
  }

 private:
  std::vector<double> sorted_;
};

}  // namespace

PeerWatch::PeerWatch(int members, PeerWatchOptions options)
    : options_(options), states_(static_cast<size_t>(members)) {}

double PeerWatch::slowdown(int member) const {
  const State& state = states_[static_cast<size_t>(member)];
  return state.slow ? Estimate(state) : 1;
}

double PeerWatch::Estimate(const State& state) {
  return std::exp(MedianOf({state.residuals.begin(), state.residuals.end()}));
}

// A slow member is compared with the healthy ones. To them it is a peer at the speed that is known of it, so
// that one of two does not make the other look fast, or slow when it recovers.
std::vector<std::optional<double>> PeerWatch::AgainstPeers(std::vector<std::optional<double>> logs) const {
  std::vector<std::optional<double>> residuals(logs.size());
  std::vector<double> healthy;
  for (size_t m = 0; m < logs.size(); ++m) {
    if (logs[m] && !states_[m].slow) healthy.push_back(*logs[m]);
  }
  if (const std::optional<double> median = Others(std::move(healthy)).Median()) {
    for (size_t m = 0; m < logs.size(); ++m) {
      if (!logs[m] || !states_[m].slow) continue;
      residuals[m] = *logs[m] - *median;
      if (!Clean(states_[m], *residuals[m])) *logs[m] -= std::log(Estimate(states_[m]));
    }
  }
  std::vector<double> values;
  for (const std::optional<double>& log : logs) {
    if (log) values.push_back(*log);
  }
  const Others others(std::move(values));
  for (size_t m = 0; m < logs.size(); ++m) {
    if (!logs[m] || states_[m].slow) continue;
    if (const std::optional<double> median = others.MedianWithout(*logs[m]))
      residuals[m] = *logs[m] - *median;
  }
  return residuals;
}

std::vector<PeerChange> PeerWatch::Observe(const std::vector<std::optional<double>>& logs,
                                           const std::vector<bool>* fresh) {
  BALLAST_CHECK(logs.size() == states_.size()) << logs.size() << " of " << states_.size() << " members";
  std::vector<std::optional<double>> residuals = AgainstPeers(logs);
  std::vector<PeerChange> changes;
  bool any = false;
  for (size_t m = 0; m < residuals.size(); ++m) {
    if (fresh != nullptr && !(*fresh)[m]) residuals[m].reset();
    any = any || residuals[m];
  }
  if (!any) return changes;
  ++steps_;
  LearnSpread(residuals);
  for (size_t m = 0; m < residuals.size(); ++m) {
    if (residuals[m]) Judge(static_cast<int>(m), *residuals[m], changes);
  }
  return changes;
}

// The spread of healthy members around what is usual for each of them: the median member's, so that one that
// changes does not hide itself.
void PeerWatch::LearnSpread(const std::vector<std::optional<double>>& residuals) {
  std::vector<double> deviations;
  const bool first = steps_ <= options_.warm_up;
  const double limit = options_.clip * sigma();
  for (size_t m = 0; m < residuals.size(); ++m) {
    State& state = states_[m];
    if (!residuals[m] || state.slow) continue;
    const double deviation = *residuals[m] - state.mean;
    if (state.samples > 0) deviations.push_back(std::fabs(deviation));
    // The plain mean of the first ones; later ones are clipped, so that outliers do not count as usual.
    const double weight = std::max(kMeanWeight, 1.0 / static_cast<double>(++state.samples));
    state.mean += weight * (first ? deviation : std::clamp(deviation, -limit, limit));
  }
  if (deviations.empty()) return;
  double spread = kDeviations * MedianOf(std::move(deviations));
  if (!first) spread = std::min(spread, limit);
  const double weight = std::max(kSpreadWeight, 1.0 / static_cast<double>(steps_));
  sigma_ = std::sqrt((1 - weight) * sigma_ * sigma_ + weight * spread * spread);
}

bool PeerWatch::Clean(const State& state, double residual) const {
  const double halfway = std::log(Estimate(state)) / 2;
  return residual < std::max(std::log(options_.least), std::min(2 * sigma(), halfway));
}

void PeerWatch::Judge(int member, double residual, std::vector<PeerChange>& changes) {
  State& state = states_[static_cast<size_t>(member)];
  if (state.slow) {
    // The estimate holds until it counts as healthy: samples at its peers' speed are no part of it.
    const bool clean = Clean(state, residual);
    if (!clean) Keep(state, residual);
    state.clean = clean ? state.clean + 1 : std::max(0, state.clean - kUncleanCosts);
    if (state.clean < options_.clean_steps) return;
    state = State{.mean = state.mean, .samples = state.samples, .residuals = {}};
    changes.push_back({member, false, 1});
    return;
  }
  Keep(state, residual);
  if (steps_ <= options_.warm_up) return;
  const double z = std::clamp(residual / sigma(), -options_.clip, options_.clip);
  state.sum = std::clamp(state.sum + z - options_.drift, 0.0, options_.threshold);
  state.since = state.sum > 0 ? state.since + 1 : 0;
  const auto kept = static_cast<std::ptrdiff_t>(std::max<size_t>(1, state.since));
  if (state.residuals.end() - state.residuals.begin() > kept)
    state.residuals.erase(state.residuals.begin(), state.residuals.end() - kept);
  if (state.sum < options_.threshold || Estimate(state) < options_.least) return;
  state.slow = true;
  changes.push_back({member, true, Estimate(state)});
}

void PeerWatch::Keep(State& state, double residual) {
  state.residuals.push_back(residual);
  if (state.residuals.size() > kWindow) state.residuals.erase(state.residuals.begin());
}

}  // namespace ballast

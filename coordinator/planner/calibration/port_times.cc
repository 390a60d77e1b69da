#include "coordinator/planner/calibration/port_times.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace ballast {
namespace {

// Of a step; a step has a message or more of every rank.
constexpr double kForgetting = 0.995;
// One judgement rests on so many messages of a rank in the mean: single ones scatter.
constexpr size_t kMessagesJudged = 4;
// Transfers scatter more than computing.
constexpr PeerWatchOptions kWatch = {.sigma_floor = 0.03, .least = 1.2};
// Sizes of a probe's messages.
constexpr double kProbeSizes[] = {64 << 10, 4 << 20};

double MedianOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

RobustLine LineOf(size_t ranks) {
  return RobustLine(std::pow(kForgetting, 1.0 / static_cast<double>(std::max<size_t>(1, ranks))));
}

}  // namespace

PortTimes::PortTimes(std::vector<int> node_of_rank)
    : node_of_rank_(std::move(node_of_rank)),
      between_{LineOf(node_of_rank_.size())},
      inside_{LineOf(node_of_rank_.size())},
      watch_(static_cast<int>(node_of_rank_.size()), kWatch) {
  for (int node : node_of_rank_) {
    node_ranks_.resize(std::max(node_ranks_.size(), static_cast<size_t>(node) + 1), 0);
    ++node_ranks_[static_cast<size_t>(node)];
  }
}

std::vector<SlowEvent> PortTimes::Observe(Step step, const std::vector<TimedMessage>& messages) {
  for (const TimedMessage& message : messages) {
    if (!(message.bytes >= kLeastBytes) || !(message.seconds > 0) || !std::isfinite(message.seconds))
      continue;
    const bool within =
        node_of_rank_[static_cast<size_t>(message.from)] == node_of_rank_[static_cast<size_t>(message.to)];
    Class& of = within ? inside_ : between_;
    of.messages = std::min(of.messages + 1, kMessagesNeeded);
    of.usual += (message.bytes - of.usual) / of.messages;
    if (!within) kept_.push_back(message);
    if (watch_.slow(message.from) || watch_.slow(message.to)) continue;
    of.line.Observe(within ? message.bytes : Beside(message), message.seconds);
  }
  if (kept_.size() < kMessagesJudged * node_of_rank_.size() || !between_.line.known()) return {};
  std::vector<SlowEvent> events = Judge(step);
  kept_.clear();
  return events;
}

std::vector<SlowEvent> PortTimes::Judge(Step step) {
  std::vector<std::vector<double>> of_rank(node_of_rank_.size());
  for (const TimedMessage& message : kept_) {
    const double log = std::log(message.seconds / between_.line.At(Beside(message)));
    if (!watch_.slow(message.to)) of_rank[static_cast<size_t>(message.from)].push_back(log);
    if (!watch_.slow(message.from)) of_rank[static_cast<size_t>(message.to)].push_back(log);
  }
  std::vector<std::optional<double>> logs;
  for (std::vector<double>& rank : of_rank) {
    logs.push_back(rank.empty() ? std::nullopt : std::optional<double>(MedianOf(std::move(rank))));
  }
  std::vector<SlowEvent> events;
  for (const PeerChange& change : watch_.Observe(logs))
    events.push_back({step, Resource::kPort, change.member, change.slow, change.slowdown});
  slow_.clear();
  for (int r = 0; r < watch_.members(); ++r) {
    if (watch_.slow(r)) slow_.push_back(r);
  }
  return events;
}

double PortTimes::Beside(const TimedMessage& message) const {
  const int here = node_of_rank_[static_cast<size_t>(message.to)];
  double idle = 0;  // senders, as if all sent alike
  for (int r : slow_) {
    if (r != message.from && node_of_rank_[static_cast<size_t>(r)] != here)
      idle += 1 - 1 / watch_.slowdown(r);
  }
  const size_t senders = node_of_rank_.size() - static_cast<size_t>(node_ranks_[static_cast<size_t>(here)]);
  return message.bytes * (1 - idle / static_cast<double>(senders));
}

void PortTimes::ObserveProbe(double latency_seconds, double bytes_per_second) {
  if (!(bytes_per_second > 0) || !(latency_seconds >= 0)) return;
  for (double size : kProbeSizes) between_.line.Observe(size, latency_seconds + size / bytes_per_second);
}

std::optional<double> PortTimes::Speed(const Class& of) {
  if (of.messages < kMessagesNeeded || !of.line.known()) return std::nullopt;
  return of.usual / of.line.At(of.usual);
}

std::vector<double> PortTimes::slowdowns() const {
  std::vector<double> all;
  for (int m = 0; m < watch_.members(); ++m) all.push_back(watch_.slowdown(m));
  return all;
}

}  // namespace ballast

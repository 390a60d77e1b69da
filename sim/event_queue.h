// The simulated clock: things to do, in order of time and then of planning.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

namespace ballast::sim {

// Microseconds since the beginning of the run.
using Micros = int64_t;

class EventQueue {
 public:
  Micros now() const { return now_; }
  void In(Micros delay, std::function<void()> what) {
    queue_.push({now_ + delay, sequence_++, std::move(what)});
  }

  // Does the next thing that is planned until `end`; false when there is none.
  bool RunOne(Micros end) {
    if (queue_.empty() || queue_.top().time > end) return false;
    // top() is const only to protect the order, which moving the function does not touch.
    std::function<void()> what = std::move(const_cast<Item&>(queue_.top()).what);
    now_ = queue_.top().time;
    queue_.pop();
    what();
    return true;
  }

 private:
  struct Item {
    Micros time;
    uint64_t sequence;
    std::function<void()> what;
    bool operator<(const Item& other) const {  // the queue's top is the greatest
      return time != other.time ? time > other.time : sequence > other.sequence;
    }
  };
  Micros now_ = 0;
  uint64_t sequence_ = 0;
  std::priority_queue<Item> queue_;
};

}  // namespace ballast::sim

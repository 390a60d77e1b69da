// Outbox: what waits to be written to one gRPC stream, bounded.
//
// Three kinds of items keep one common order. Control items are never dropped: when too many wait, the stream
// must be broken and everything that applies is sent again after the peer has come back. Telemetry drops its
// oldest and counts. A "latest" item replaces the waiting one of its key. Not thread-safe: the stream's mutex
// guards it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

namespace ballast {

template <class T>
class Outbox {
 public:
  Outbox(size_t control_max, size_t telemetry_max)
      : control_max_(control_max), telemetry_max_(telemetry_max) {}

  // False when control_max items wait already: break the stream. The item is then not taken.
  [[nodiscard]] bool PushControl(T item) {
    if (control_ >= control_max_) return false;
    ++control_;
    entries_.push_back({Kind::kControl, 0, std::move(item)});
    return true;
  }

  // Takes the place of the waiting item of the same key, else goes to the end. There are few keys.
  void PushLatest(int key, T item) {
    for (Entry& entry : entries_) {
      if (entry.kind == Kind::kLatest && entry.key == key) {
        entry.item = std::move(item);
        return;
      }
    }
    entries_.push_back({Kind::kLatest, key, std::move(item)});
  }

  void PushTelemetry(T item) {
    if (telemetry_max_ == 0) {
      ++dropped_;
      return;
    }
    if (telemetry_ == telemetry_max_) {
      for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
        if (entry->kind != Kind::kTelemetry) continue;
        entries_.erase(entry);
        --telemetry_;
        ++dropped_;
        break;
      }
    }
    ++telemetry_;
    entries_.push_back({Kind::kTelemetry, 0, std::move(item)});
  }

  std::optional<T> Take() {
    if (entries_.empty()) return std::nullopt;
    Entry entry = std::move(entries_.front());
    entries_.pop_front();
    if (entry.kind == Kind::kControl) --control_;
    if (entry.kind == Kind::kTelemetry) --telemetry_;
    return std::move(entry.item);
  }

  // What a new stream must not carry over: control and latest items go, telemetry stays.
  void DropAllButTelemetry() {
    std::deque<Entry> kept;
    for (Entry& entry : entries_) {
      if (entry.kind == Kind::kTelemetry) kept.push_back(std::move(entry));
    }
    entries_ = std::move(kept);
    control_ = 0;
  }

  bool empty() const { return entries_.empty(); }
  size_t size() const { return entries_.size(); }
  int64_t dropped() const { return dropped_; }  // telemetry items dropped since construction

 private:
  enum class Kind { kControl, kLatest, kTelemetry };
  struct Entry {
    Kind kind;
    int key;
    T item;
  };
  const size_t control_max_;
  const size_t telemetry_max_;
  std::deque<Entry> entries_;
  size_t control_ = 0;    // derived: entries of that kind
  size_t telemetry_ = 0;  // derived
  int64_t dropped_ = 0;
};

}  // namespace ballast

#include "coordinator/event_log.h"

#include <algorithm>
#include <utility>

namespace ballast {
namespace {

// `text`, or its beginning that ends with a whole character of UTF-8.
void Cut(std::string& text) {
  if (text.size() <= kEventTextMax) return;
  constexpr char kMark[] = "...";
  size_t size = kEventTextMax - (sizeof(kMark) - 1);
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
  text.resize(size);
  text += kMark;
}

}  // namespace

const JobEvent& EventLog::Add(JobEvent event) {
  event.number = events_.empty() ? 1 : events_.back().number + 1;
  Cut(event.text);
  Keep(std::move(event));
  ++unwritten_;
  return events_.back();
}

void EventLog::Restore(JobEvent event) { Keep(std::move(event)); }

std::vector<JobEvent> EventLog::TakeUnwritten() {
  const auto count = std::min<int64_t>(std::exchange(unwritten_, 0), static_cast<int64_t>(events_.size()));
  return {events_.end() - count, events_.end()};
}

void EventLog::Keep(JobEvent event) {
  events_.push_back(std::move(event));
  if (events_.size() > static_cast<size_t>(kEventsMax)) events_.pop_front();
}

}  // namespace ballast

#include "base/failpoint.h"

#include <algorithm>
#include <csignal>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"

namespace ballast {

absl::StatusOr<Failpoint> Failpoint::Parse(const std::string& text, const std::vector<std::string>& places) {
  Failpoint failpoint;
  if (text.empty()) return failpoint;
  const size_t colon = text.find(':');
  failpoint.place_ = text.substr(0, colon);
  const std::string action = colon == std::string::npos ? "" : text.substr(colon + 1);
  if (action == "die") failpoint.action_ = Action::kDie;
  if (action == "stop") failpoint.action_ = Action::kStop;
  if (failpoint.action_ == Action::kNone ||
      std::find(places.begin(), places.end(), failpoint.place_) == places.end()) {
    return absl::InvalidArgumentError(absl::StrCat("--failpoint: found \"", text,
                                                   "\", allowed: PLACE:die and PLACE:stop with PLACE one of ",
                                                   absl::StrJoin(places, ", ")));
  }
  failpoint.passed_ = std::make_shared<std::atomic<bool>>(false);
  return failpoint;
}

void Failpoint::Pass(const char* place) const {
  if (!At(place) || passed_->exchange(true)) return;
  const bool dies = action_ == Action::kDie;
  Log(LogLevel::kWarning, "failpoint", {{"place", place_}, {"action", dies ? "die" : "stop"}});
  raise(dies ? SIGKILL : SIGSTOP);  // to this thread, so that it gets no further
}

}  // namespace ballast

// Places where a test lets a daemon die or stand still, because no outside observer can hit them.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace ballast {

// Copies share whether it was passed. Pass may be called from any thread.
class Failpoint {
 public:
  enum class Action { kNone, kDie, kStop };

  // None: nothing ever happens.
  Failpoint() = default;
  // "" = none, or PLACE:ACTION, as in "before-commit:die". `places` are those that the daemon has; actions
  // are die (as by kill -9) and stop (as by SIGSTOP, until SIGCONT comes). InvalidArgument names what is
  // allowed.
  static absl::StatusOr<Failpoint> Parse(const std::string& text, const std::vector<std::string>& places);

  // Carries out the action if this is its place, the first time only.
  void Pass(const char* place) const;
  bool At(const char* place) const { return action_ != Action::kNone && place_ == place; }

 private:
  std::string place_;
  Action action_ = Action::kNone;
  std::shared_ptr<std::atomic<bool>> passed_;
};

}  // namespace ballast

// StepTimes: what one rank measures of one step, by the clock and by its communicator's counters.
#pragma once

#include <array>
#include <vector>

#include "base/clock.h"
#include "protocol/telemetry.h"
#include "worker/comm/communicator.h"
#include "worker/phase_timer.h"

namespace ballast {

// One clock read per phase entered. Of the rank's thread alone; both must outlive it.
class StepTimes final : public PhaseTimer {
 public:
  StepTimes(const Clock& clock, const Communicator& communicator);

  // The step begins now, in Phase::kOther.
  void Begin();
  Phase Enter(Phase phase) override;
  // The step ends now.
  RankStep End(Step step, int64_t assignments);

 private:
  const Clock& clock_;
  const Communicator& communicator_;
  Time begin_, entered_;
  Phase phase_ = Phase::kOther;
  std::array<Duration, kPhases> spent_{};
  double wait_before_ = 0;
  std::vector<PeerStats> peers_before_;
};

}  // namespace ballast

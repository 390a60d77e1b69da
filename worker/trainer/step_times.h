// StepTimes: what one rank measures of one step, by the clock, by marks in its streams where operations are
// only enqueued, and by its communicator's counters.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "protocol/telemetry.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"
#include "worker/phase_timer.h"

namespace ballast {

// One clock read, or one mark, per phase entered. Of the rank's thread alone; clock and communicator must
// outlive it.
class StepTimes final : public PhaseTimer {
 public:
  // `marks` as a backend's NewMarks() has them.
  StepTimes(const Clock& clock, const Communicator& communicator, std::unique_ptr<StreamMarks> marks);

  // The step begins now, in Phase::kOther; its operations are enqueued on `stream`.
  void Begin(Stream& stream);
  Phase Enter(Phase phase) override;
  void On(Stream& stream) override;
  // The step ends now; everything enqueued up to the last phase entered has run.
  RankStep End(Step step, int64_t assignments);

 private:
  void ReadMarks(double step_seconds);

  const Clock& clock_;
  const Communicator& communicator_;
  const std::unique_ptr<StreamMarks> marks_;  // null: the clock tells
  Stream* stream_ = nullptr;
  std::vector<Phase> marked_;  // [mark] the phase that begins there
  Time begin_, entered_;
  Phase phase_ = Phase::kOther;
  std::array<double, kPhases> spent_{};  // seconds
  double wait_before_ = 0;
  std::vector<PeerStats> peers_before_;
};

}  // namespace ballast

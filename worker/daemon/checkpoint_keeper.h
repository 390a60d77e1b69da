// CheckpointKeeper: puts manifests in place and deletes old checkpoints, on a thread of its own, because both
// wait for the disk.
#pragma once

#include <deque>
#include <string>
#include <thread>
#include <variant>

#include "base/mutex.h"
#include "worker/daemon/session_host.h"

namespace ballast {

class CheckpointKeeper final : public Checkpoints {
 public:
  // `host` hears of every publication, done or not, and must outlive it.
  explicit CheckpointKeeper(SessionHost* host);
  ~CheckpointKeeper() override;  // what is queued is dropped: the coordinator says it again

  void Publish(const RunId& run, const std::string& folder, const PublishCheckpoint& message) override
      EXCLUDES(mutex_);
  void Prune(const RunId& run, const std::string& folder, const PruneCheckpoints& message) override
      EXCLUDES(mutex_);

 private:
  struct Task {
    RunId run;
    std::string folder;
    std::variant<PublishCheckpoint, PruneCheckpoints> message;
  };
  void Add(Task task) EXCLUDES(mutex_);
  void Loop() EXCLUDES(mutex_);
  void Carry(const Task& task);

  SessionHost* const host_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<Task> tasks_ GUARDED_BY(mutex_);
  bool ending_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace ballast

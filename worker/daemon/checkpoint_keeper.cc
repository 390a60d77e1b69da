#include "worker/daemon/checkpoint_keeper.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "protocol/checkpoint.h"
#include "worker/checkpoint/publish.h"

namespace ballast {

CheckpointKeeper::CheckpointKeeper(SessionHost* host) : host_(host), thread_([this] { Loop(); }) {}

CheckpointKeeper::~CheckpointKeeper() {
  {
    MutexLock lock(mutex_);
    ending_ = true;
    changed_.SignalAll();
  }
  thread_.join();
}

void CheckpointKeeper::Publish(const RunId& run, const std::string& folder,
                               const PublishCheckpoint& message) {
  Add({run, folder, message});
}
void CheckpointKeeper::Prune(const RunId& run, const std::string& folder, const PruneCheckpoints& message) {
  Add({run, folder, message});
}

void CheckpointKeeper::Add(Task task) {
  MutexLock lock(mutex_);
  tasks_.push_back(std::move(task));
  changed_.SignalAll();
}

void CheckpointKeeper::Loop() {
  while (true) {
    Task task;
    {
      MutexLock lock(mutex_);
      while (tasks_.empty() && !ending_) changed_.Wait(mutex_);
      if (ending_) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    Carry(task);
  }
}

void CheckpointKeeper::Carry(const Task& task) {
  if (const auto* prune = std::get_if<PruneCheckpoints>(&task.message)) {
    for (const std::string& left : PruneFolder(task.folder, prune->first_generation, prune->keep))
      Log(LogLevel::kWarning, "checkpoint not deleted", {{"job", task.run.job.value()}, {"what", left}});
    return;
  }
  const auto& publish = std::get<PublishCheckpoint>(task.message);
  const std::string directory =
      absl::StrCat(task.folder, "/", CheckpointName(publish.step, task.run.generation));
  const absl::Status published = PublishManifest(directory, publish.manifest);
  if (published.ok()) {
    host_->OnCheckpointPublished(task.run, publish.step);
  } else {
    host_->OnCheckpointFailed(task.run, publish.step, std::string(published.message()));
  }
}

}  // namespace ballast

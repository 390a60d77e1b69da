// CheckpointWriter: one rank's part of a checkpoint goes to disk in the background.
//
// The rank's thread fills a buffer between two steps and hands it over; a thread of the writer's own writes
// and fsyncs. There is one buffer: while it is being written the rank is busy, which it says in its header,
// and no rank takes another checkpoint.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "worker/step_coordination.h"

namespace ballast {

// A file to be written: the head is small, the body is what was copied from the device.
struct FileImage {
  std::string name;
  std::string head;
  std::vector<char> body;  // kept between checkpoints: its memory is allocated once
  size_t body_bytes = 0;   // of it, in use
};

struct CheckpointImage {
  std::string directory;
  WrittenCheckpoint written;  // files are filled in by the writer
  FileImage optimizer;        // no name = not written by this rank
  FileImage model;
  std::vector<FileImage> texts;  // state, config, index: of rank 0
};

class CheckpointWriter {
 public:
  // On the writer's thread, before busy() ends: what was written, or why not.
  using OnDone = std::function<void(Step step, absl::StatusOr<WrittenCheckpoint> written)>;
  struct Options {
    std::function<void()> before_write;  // tests: holds the thread; may be null
  };
  CheckpointWriter(Options options, OnDone on_done);
  // Gives up what is being written.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // ---- the rank's thread ----
  bool busy() const EXCLUDES(mutex_);
  // The buffer, to be filled. Requires !busy().
  CheckpointImage& image() { return image_; }
  void Begin() EXCLUDES(mutex_);
  // Until nothing is being written.
  void WaitIdle() EXCLUDES(mutex_);

 private:
  void Loop() EXCLUDES(mutex_);
  absl::StatusOr<WrittenCheckpoint> Write() const;

  const Options options_;
  const OnDone on_done_;
  std::atomic<bool> cancel_{false};
  CheckpointImage image_;  // the rank's thread's while not busy, else the writer's

  mutable Mutex mutex_;
  CondVar changed_;
  bool busy_ GUARDED_BY(mutex_) = false;
  bool ending_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace ballast

#include "worker/checkpoint/writer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "worker/checkpoint/files.h"

namespace ballast {

CheckpointWriter::CheckpointWriter(Options options, OnDone on_done)
    : options_(std::move(options)), on_done_(std::move(on_done)), thread_([this] { Loop(); }) {}

CheckpointWriter::~CheckpointWriter() {
  cancel_.store(true);
  {
    MutexLock lock(mutex_);
    ending_ = true;
    changed_.SignalAll();
  }
  thread_.join();
}

bool CheckpointWriter::busy() const {
  MutexLock lock(mutex_);
  return busy_;
}

void CheckpointWriter::Begin() {
  MutexLock lock(mutex_);
  BALLAST_CHECK(!busy_) << "a checkpoint is taken while the one before is written";
  busy_ = true;
  changed_.SignalAll();
}

void CheckpointWriter::WaitIdle() {
  MutexLock lock(mutex_);
  while (busy_) changed_.Wait(mutex_);
}

void CheckpointWriter::Loop() {
  while (true) {
    {
      MutexLock lock(mutex_);
      while (!busy_ && !ending_) changed_.Wait(mutex_);
      if (ending_) return;
    }
    if (options_.before_write != nullptr) options_.before_write();
    on_done_(image_.written.step, Write());
    MutexLock lock(mutex_);
    busy_ = false;
    changed_.SignalAll();
  }
}

absl::StatusOr<WrittenCheckpoint> CheckpointWriter::Write() const {
  BALLAST_RETURN_IF_ERROR(MakeDirectories(image_.directory));
  WrittenCheckpoint written = image_.written;
  const auto write = [&](const FileImage& file) -> absl::Status {
    if (file.name.empty()) return absl::OkStatus();
    BALLAST_ASSIGN_OR_RETURN(WrittenFile result,
                             WriteDurably(absl::StrCat(image_.directory, "/", file.name),
                                          {std::span<const char>(file.head),
                                           std::span<const char>(file.body.data(), file.body_bytes)},
                                          &cancel_));
    written.files.push_back({file.name, result.bytes, std::move(result.sha256)});
    return absl::OkStatus();
  };
  BALLAST_RETURN_IF_ERROR(write(image_.optimizer));
  BALLAST_RETURN_IF_ERROR(write(image_.model));
  for (const FileImage& text : image_.texts) BALLAST_RETURN_IF_ERROR(write(text));
  return written;
}

}  // namespace ballast

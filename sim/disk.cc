#include "sim/disk.h"

#include <cstdio>

#include "absl/strings/str_format.h"

namespace ballast::sim {

const StoredCheckpoint* Disk::Find(const std::string& directory) const {
  const size_t name = directory.rfind("step-");
  long step = 0, generation = 0;
  if (name == std::string::npos ||
      std::sscanf(directory.c_str() + name, "step-%ld-g%ld", &step, &generation) != 2)
    return nullptr;
  auto it = checkpoints_.find({Generation(generation), Step(step)});
  return it == checkpoints_.end() ? nullptr : &it->second;
}

Step Disk::Newest(BlockId block) const {
  for (auto it = checkpoints_.rbegin(); it != checkpoints_.rend(); ++it) {
    if (it->second.complete) return it->second.blocks.at(block);
  }
  return Step(0);
}

std::optional<Disk::Folder> Disk::Newest() const {
  std::optional<Folder> folder;
  for (const auto& [key, stored] : checkpoints_) {
    const auto [generation, step] = key;
    if (!stored.complete || (folder.has_value() && step < folder->newest.step)) continue;
    folder =
        Folder{CheckpointRef{
                   absl::StrFormat("/checkpoints/job/step-%09d-g%d", step.value(), generation.value()), step},
               checkpoints_.rbegin()->first.first};
  }
  return folder;
}

}  // namespace ballast::sim

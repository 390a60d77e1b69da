#include "sim/disk.h"

#include <cstdio>

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

}  // namespace ballast::sim

// Disk: the checkpoints on the file system that all workers share.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/ids.h"
#include "protocol/messages.h"

namespace ballast::sim {

// What a checkpoint holds of every block: the last update that it has had.
using BlockStates = std::map<BlockId, Step>;

struct StoredCheckpoint {
  BlockStates blocks;
  bool complete = false;  // the manifest is there
};

class Disk {
 public:
  // Everything that the ranks of `generation` wrote after `step`, as far as they are.
  StoredCheckpoint& Of(Generation generation, Step step) { return checkpoints_[{generation, step}]; }
  // Of the newest checkpoint that is complete; 0 = there is none.
  Step Newest(BlockId block) const;
  // The newest checkpoint that is complete, and the highest generation that has written; nothing = none is.
  struct Folder {
    CheckpointRef newest;
    Generation highest;
  };
  std::optional<Folder> Newest() const;
  // Null when there is none. `directory` ends in its name.
  const StoredCheckpoint* Find(const std::string& directory) const;

 private:
  std::map<std::pair<Generation, Step>, StoredCheckpoint> checkpoints_;
};

}  // namespace ballast::sim

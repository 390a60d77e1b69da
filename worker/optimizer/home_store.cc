#include "worker/optimizer/home_store.h"

#include <utility>

#include "base/check.h"
#include "base/status_macros.h"

namespace ballast {

absl::Status HomeStore::Add(BlockId id) {
  BALLAST_CHECK(!Owns(id)) << "block " << id << " is owned already";
  HomeBlock block;
  block.elements = layout_.block(id).elements;
  const auto elements = static_cast<size_t>(block.elements);
  BALLAST_ASSIGN_OR_RETURN(block.state, backend_.Allocate(StateBytes(id), "optimizer state"));
  BALLAST_ASSIGN_OR_RETURN(block.gradient,
                           backend_.Allocate(elements * backend_.master_bytes(), "reduced gradients"));
  BALLAST_ASSIGN_OR_RETURN(block.updated,
                           backend_.Allocate(elements * backend_.element_bytes(), "updated weights"));
  blocks_.emplace(id, std::move(block));
  return absl::OkStatus();
}

void HomeStore::Retire(BlockId id, Step until) {
  HomeBlock block = std::move(at(id));
  blocks_.erase(id);
  retired_.push_back({id, std::move(block.state), until});
}

void HomeStore::Forget(Step step) {
  std::erase_if(retired_, [&](const Retired& retired) { return retired.until <= step; });
}

std::vector<BlockId> HomeStore::owned() const {
  std::vector<BlockId> owned;
  for (const auto& [id, block] : blocks_) owned.push_back(id);
  return owned;
}

HomeBlock& HomeStore::at(BlockId id) {
  auto it = blocks_.find(id);
  BALLAST_CHECK(it != blocks_.end()) << "block " << id << " is not owned here";
  return it->second;
}

size_t HomeStore::StateBytes(BlockId id) const {
  return static_cast<size_t>(layout_.block(id).elements) * 3 * backend_.master_bytes();
}

void* HomeStore::State(BlockId id, int which) {
  HomeBlock& block = at(id);
  return static_cast<char*>(block.state.data()) + which * block.elements * backend_.master_bytes();
}

void HomeStore::CastMaster(Stream& stream, BlockId id) {
  HomeBlock& block = at(id);
  backend_.CastMaster(stream, Master(id), block.elements, block.updated.data());
}

}  // namespace ballast

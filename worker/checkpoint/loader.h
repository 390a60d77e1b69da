// CheckpointLoader: the optimizer part of a complete checkpoint, by ranges: whatever blocks and homes it was
// written with.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plan/layout.h"
#include "worker/checkpoint/manifest.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/checkpoint/state.h"
#include "worker/model/mapped_file.h"

namespace ballast {

struct LoadRequest {
  std::string directory;
  Step step;          // that it must have been taken after
  ModelConfig model;  // that it must fit
  size_t master_bytes = 0;
  // Every file's size is looked at by every rank; its digest by those that read from it and by one of
  // `ranks`.
  Rank self;
  int ranks = 1;
};

// Used by one thread at a time.
class CheckpointLoader {
 public:
  // Errors name the file and the cause: NotFound, InvalidArgument (damage, another schema),
  // FailedPrecondition (another model or step).
  static absl::StatusOr<std::unique_ptr<CheckpointLoader>> Open(const LoadRequest& request,
                                                                ParameterLayout layout);

  // Looks at the digests of the files that the block comes from, each once.
  absl::Status Verify(BlockId block);

  // Fills a block's master and both moments: three runs of the block's elements at `state`, of the master
  // type.
  absl::Status FillState(BlockId block, void* state);

  const CheckpointState& state() const { return state_; }

 private:
  // A run of one parameter, as one file has it.
  struct Piece {
    int64_t offset = 0;
    int64_t elements = 0;
    size_t file = 0;
    const unsigned char* parts[3] = {nullptr, nullptr, nullptr};
  };
  struct OpenFile {
    MappedFile map;
    std::string path;
    std::string sha256;
    bool verified = false;
  };

  CheckpointLoader(LoadRequest request, ParameterLayout layout)
      : request_(std::move(request)), layout_(std::move(layout)) {}
  absl::Status OpenFiles(const CheckpointManifest& manifest);
  absl::Status AddPieces(size_t file, const std::map<std::string, TensorView>& tensors);
  absl::Status CheckComplete();
  absl::Status VerifyFile(OpenFile& file);
  // Of the block's parameter: the last one that begins at or before the block.
  size_t FirstPiece(const Block& block) const;

  const LoadRequest request_;
  const ParameterLayout layout_;
  CheckpointState state_;
  std::vector<OpenFile> files_;
  std::map<std::string, int> parameter_of_;
  std::vector<std::vector<Piece>> pieces_;  // [parameter], by offset
};

}  // namespace ballast

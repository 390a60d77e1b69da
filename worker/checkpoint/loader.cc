#include "worker/checkpoint/loader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "worker/checkpoint/checkpoint_layout.h"
#include "worker/checkpoint/files.h"

namespace ballast {
namespace {

constexpr size_t kStateMax = size_t{1} << 30;

}  // namespace

absl::StatusOr<std::unique_ptr<CheckpointLoader>> CheckpointLoader::Open(const LoadRequest& request,
                                                                         ParameterLayout layout) {
  std::unique_ptr<CheckpointLoader> loader(new CheckpointLoader(request, std::move(layout)));
  const std::string& directory = request.directory;
  BALLAST_ASSIGN_OR_RETURN(const CheckpointManifest manifest, ReadManifest(directory));
  const std::string state_path = absl::StrCat(directory, "/", kStateFile);
  BALLAST_ASSIGN_OR_RETURN(const std::string text, ReadWhole(state_path, kStateMax));
  for (const CheckpointFile& file : manifest.files) {
    // Small and read by all: looked at before it is believed.
    if (file.name != kStateFile) continue;
    if (Sha256({reinterpret_cast<const unsigned char*>(text.data()), text.size()}) != file.sha256)
      return absl::InvalidArgumentError(
          absl::StrCat(state_path, ": found another content than the manifest says"));
  }
  BALLAST_ASSIGN_OR_RETURN(loader->state_, ReadState(text, state_path));
  if (loader->state_.step != request.step || manifest.step != request.step) {
    return absl::FailedPreconditionError(absl::StrCat(
        state_path, ": step: found ", loader->state_.step.value(), ", allowed ", request.step.value()));
  }
  BALLAST_RETURN_IF_ERROR(CheckSameModel(loader->state_.model, request.model, state_path));
  const std::vector<Parameter>& parameters = loader->layout_.parameters();
  for (size_t p = 0; p < parameters.size(); ++p)
    loader->parameter_of_[parameters[p].name] = static_cast<int>(p);
  loader->pieces_.resize(parameters.size());
  BALLAST_RETURN_IF_ERROR(loader->OpenFiles(manifest));
  BALLAST_RETURN_IF_ERROR(loader->CheckComplete());
  return loader;
}

absl::Status CheckpointLoader::OpenFiles(const CheckpointManifest& manifest) {
  int number = 0;
  for (const CheckpointFile& file : manifest.files) {
    const std::string path = absl::StrCat(request_.directory, "/", file.name);
    BALLAST_ASSIGN_OR_RETURN(MappedFile map, MappedFile::Open(path));
    if (static_cast<int64_t>(map.bytes().size()) != file.bytes) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": found ", map.bytes().size(), " bytes, the manifest says ", file.bytes));
    }
    files_.push_back({std::move(map), path, file.sha256, false});
    if (number++ % request_.ranks == request_.self.value())
      BALLAST_RETURN_IF_ERROR(VerifyFile(files_.back()));
    if (!file.name.starts_with("optimizer-")) continue;
    BALLAST_ASSIGN_OR_RETURN(const auto tensors, ReadSafetensors(files_.back().map.bytes(), path));
    BALLAST_RETURN_IF_ERROR(AddPieces(files_.size() - 1, tensors));
  }
  return absl::OkStatus();
}

absl::Status CheckpointLoader::VerifyFile(OpenFile& file) {
  if (file.verified) return absl::OkStatus();
  if (Sha256(file.map.bytes()) != file.sha256)
    return absl::InvalidArgumentError(
        absl::StrCat(file.path, ": found another content than the manifest says"));
  file.verified = true;
  return absl::OkStatus();
}

absl::Status CheckpointLoader::AddPieces(size_t file, const std::map<std::string, TensorView>& tensors) {
  const std::string& path = files_[file].path;
  const char* dtype =
      SafetensorsDType(request_.master_bytes == sizeof(double) ? DType::kFloat64 : DType::kFloat32);
  std::map<std::pair<int, int64_t>, Piece> found;
  for (const auto& [name, view] : tensors) {
    const auto wrong = [&, tensor = name](const std::string& text) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": ", tensor, ": ", text));
    };
    // Parameters have no '@' in their names.
    const size_t at = name.rfind('@'), dot = name.rfind('.');
    int64_t offset = -1;
    if (at == std::string::npos || dot == std::string::npos || dot < at ||
        !absl::SimpleAtoi(name.substr(at + 1, dot - at - 1), &offset) || offset < 0) {
      return wrong("found no name of a state, allowed PARAMETER@OFFSET.PART");
    }
    auto parameter = parameter_of_.find(name.substr(0, at));
    if (parameter == parameter_of_.end()) return wrong("found no parameter of that name in the model");
    const auto part = std::find(std::begin(kStateParts), std::end(kStateParts), name.substr(dot + 1));
    if (part == std::end(kStateParts))
      return wrong("found no part of a state, allowed master, moment1, moment2");
    if (view.dtype != dtype) return wrong(absl::StrCat("found ", view.dtype, ", allowed ", dtype));
    const int64_t all = layout_.parameters()[static_cast<size_t>(parameter->second)].elements;
    if (view.elements > all || offset > all - view.elements)
      return wrong(absl::StrCat("found ", view.elements, " values, the parameter has ", all));
    Piece& piece = found[{parameter->second, offset}];
    const bool first = piece.parts[0] == nullptr && piece.parts[1] == nullptr && piece.parts[2] == nullptr;
    if (!first && piece.elements != view.elements)
      return wrong("found another length than that of its other parts");
    piece.offset = offset;
    piece.elements = view.elements;
    piece.file = file;
    piece.parts[part - std::begin(kStateParts)] = view.data;
  }
  for (const auto& [key, piece] : found) {
    for (int part = 0; part < 3; ++part) {
      if (piece.parts[part] != nullptr) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": found no ",
                       StateName(layout_.parameters()[static_cast<size_t>(key.first)], piece.offset, part)));
    }
    pieces_[static_cast<size_t>(key.first)].push_back(piece);
  }
  return absl::OkStatus();
}

absl::Status CheckpointLoader::CheckComplete() {
  for (size_t p = 0; p < pieces_.size(); ++p) {
    std::vector<Piece>& pieces = pieces_[p];
    std::sort(pieces.begin(), pieces.end(),
              [](const Piece& a, const Piece& b) { return a.offset < b.offset; });
    int64_t covered = 0;
    for (const Piece& piece : pieces) {
      if (piece.offset != covered) break;
      covered += piece.elements;
    }
    const Parameter& parameter = layout_.parameters()[p];
    if (covered == parameter.elements) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(request_.directory, ": ", parameter.name, ": found its values up to ", covered, " of ",
                     parameter.elements, " in the optimizer files, or some of them twice"));
  }
  return absl::OkStatus();
}

size_t CheckpointLoader::FirstPiece(const Block& block) const {
  const std::vector<Piece>& pieces = pieces_[static_cast<size_t>(block.parameter)];
  const auto after = std::upper_bound(pieces.begin(), pieces.end(), block.offset,
                                      [](int64_t offset, const Piece& p) { return offset < p.offset; });
  BALLAST_CHECK(after != pieces.begin()) << "pieces cover the parameter";
  return static_cast<size_t>(after - pieces.begin()) - 1;
}

absl::Status CheckpointLoader::Verify(BlockId id) {
  const Block& block = layout_.block(id);
  const std::vector<Piece>& pieces = pieces_[static_cast<size_t>(block.parameter)];
  for (size_t i = FirstPiece(block); i < pieces.size() && pieces[i].offset < block.offset + block.elements;
       ++i)
    BALLAST_RETURN_IF_ERROR(VerifyFile(files_[pieces[i].file]));
  return absl::OkStatus();
}

absl::Status CheckpointLoader::FillState(BlockId id, void* state) {
  BALLAST_RETURN_IF_ERROR(Verify(id));
  const Block& block = layout_.block(id);
  const std::vector<Piece>& pieces = pieces_[static_cast<size_t>(block.parameter)];
  const size_t width = request_.master_bytes;
  size_t i = FirstPiece(block);
  for (int64_t done = 0; done < block.elements; ++i) {
    const Piece& piece = pieces[i];
    const int64_t from = block.offset + done - piece.offset;
    const int64_t count = std::min(block.elements - done, piece.elements - from);
    for (int part = 0; part < 3; ++part) {
      std::memcpy(static_cast<char*>(state) + static_cast<size_t>(part * block.elements + done) * width,
                  piece.parts[part] + static_cast<size_t>(from) * width, static_cast<size_t>(count) * width);
    }
    done += count;
  }
  return absl::OkStatus();
}

}  // namespace ballast

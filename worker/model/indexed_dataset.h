// Megatron's indexed data set: tokens in <prefix>.bin, where they begin and end in <prefix>.idx.
//
// .idx, little-endian: 9 bytes "MMIDIDX\0\0"; u64 version = 1; u8 type of a token; u64 sequences; u64 length
// of document_indices (documents + 1); i32 length of each sequence; i64 byte offset of each sequence in .bin;
// i64 document_indices: the sequence at which each document begins, and the number of sequences. Of the
// types, u8, i32 and u16 hold token ids. Byte-level data is u16: a byte's value is its id and 256 ends a
// document.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/model/mapped_file.h"

namespace ballast {

inline constexpr int kByteLevelVocabulary = 257;
inline constexpr uint16_t kByteLevelEndOfDocument = 256;

// The tokens of all documents, end to end. Movable; may be read from any thread.
class IndexedDataset {
 public:
  // Maps and checks both files: every count, offset and length against the sizes of the files, and that the
  // sequences follow each other without gaps from 0 to the end of .bin. InvalidArgument (or what the system
  // says of a file that cannot be opened) names the file, the field, what was found and what is allowed.
  // Token values are checked when they are read.
  static absl::StatusOr<IndexedDataset> Open(const std::string& prefix);

  int64_t tokens() const { return tokens_; }
  int64_t sequences() const { return sequences_; }
  int64_t documents() const { return documents_; }

  // Tokens [first, first + out.size()). InvalidArgument, naming file and position, for a token outside
  // 0..vocabulary - 1. Requires the range to be within tokens().
  absl::Status Read(int64_t first, int vocabulary, std::span<int32_t> out) const;

 private:
  IndexedDataset(MappedFile bin, int token_bytes) : bin_(std::move(bin)), token_bytes_(token_bytes) {}
  MappedFile bin_;
  int token_bytes_;  // 1, 2 or 4, which tells u8, u16 and i32 apart
  int64_t tokens_ = 0;
  int64_t sequences_ = 0;
  int64_t documents_ = 0;
};

// Writes such a data set of u16 tokens, one sequence per document. Both files are written under temporary
// names beside their places and appear when Finish succeeds; until then, and when it is never called,
// whatever was there stays. One thread.
class IndexedDatasetWriter {
 public:
  // Creates the temporary files; the folder must exist. Errors name the path.
  static absl::StatusOr<IndexedDatasetWriter> Create(const std::string& prefix);
  ~IndexedDatasetWriter();
  IndexedDatasetWriter(IndexedDatasetWriter&&) noexcept;
  IndexedDatasetWriter& operator=(IndexedDatasetWriter&&) noexcept;

  // Appends one document; the end-of-document token is the caller's. InvalidArgument for an empty one or one
  // of 2^31 tokens or more; else the system's error.
  absl::Status AddDocument(std::span<const uint16_t> tokens);

  // Writes the index and puts both files in place. Call once, and nothing after it.
  absl::Status Finish();

  int64_t documents() const;
  int64_t tokens() const;

 private:
  struct State;
  explicit IndexedDatasetWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ballast

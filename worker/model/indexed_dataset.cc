#include "worker/model/indexed_dataset.h"

#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "worker/model/indexed_format.h"

namespace ballast {
namespace {

static_assert(std::endian::native == std::endian::little, "the files are read as they lie");

// Fields of any alignment.
template <class T>
T Load(const unsigned char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// The index file with its header read and its arrays known to lie within it.
struct Index {
  const MappedFile& file;
  uint8_t type = 0;
  int64_t sequences = 0;
  int64_t document_indices = 0;
  const unsigned char* lengths = nullptr;    // i32
  const unsigned char* offsets = nullptr;    // i64
  const unsigned char* documents = nullptr;  // i64

  int64_t length(int64_t i) const { return Load<int32_t>(lengths + i * 4); }
  int64_t offset(int64_t i) const { return Load<int64_t>(offsets + i * 8); }
  int64_t document(int64_t i) const { return Load<int64_t>(documents + i * 8); }
};

template <class... Text>
absl::Status Lie(const MappedFile& file, const Text&... text) {
  return absl::InvalidArgumentError(absl::StrCat(file.path(), ": ", text...));
}

absl::StatusOr<Index> ReadIndex(const MappedFile& file) {
  const std::span<const unsigned char> bytes = file.bytes();
  if (bytes.size() < indexed::kHeaderBytes) {
    return Lie(file, "found ", bytes.size(), " bytes, allowed is at least the header's ",
               indexed::kHeaderBytes, "; the file is truncated or no index");
  }
  const unsigned char* at = bytes.data();
  if (std::memcmp(at, indexed::kMagic, sizeof indexed::kMagic) != 0) {
    return Lie(file, "does not begin with MMIDIDX; it is not the index of a data set");
  }
  at += sizeof indexed::kMagic;
  const uint64_t version = Load<uint64_t>(at);
  const uint8_t type = at[8];
  const uint64_t sequences = Load<uint64_t>(at + 9);
  const uint64_t document_indices = Load<uint64_t>(at + 17);
  if (version != indexed::kVersion)
    return Lie(file, "version: found ", version, ", allowed ", indexed::kVersion);
  if (type != indexed::kU8 && type != indexed::kI32 && type != indexed::kU16) {
    return Lie(file, "type: found ", int{type}, ", allowed 1 (u8), 4 (i32) and 8 (u16)");
  }
  // Each array is bounded by the file, so that the sizes below cannot overflow.
  const uint64_t rest = bytes.size() - indexed::kHeaderBytes;
  if (sequences > rest / 12) {
    return Lie(file, "sequences: found ", sequences, ", but ", rest, " bytes hold at most ", rest / 12);
  }
  if (document_indices > rest / 8) {
    return Lie(file, "length of document_indices: found ", document_indices, ", but ", rest,
               " bytes hold at most ", rest / 8);
  }
  const uint64_t needed = sequences * 12 + document_indices * 8;
  if (needed != rest) {
    return Lie(file, "found ", bytes.size(), " bytes, allowed is ", indexed::kHeaderBytes + needed, " for ",
               sequences, " sequences and ", document_indices, " document indices",
               needed > rest ? "; the file is truncated" : "");
  }
  const unsigned char* arrays = bytes.data() + indexed::kHeaderBytes;
  return Index{.file = file,
               .type = type,
               .sequences = static_cast<int64_t>(sequences),
               .document_indices = static_cast<int64_t>(document_indices),
               .lengths = arrays,
               .offsets = arrays + sequences * 4,
               .documents = arrays + sequences * 12};
}

// The number of tokens, if the sequences fill the .bin exactly.
absl::StatusOr<int64_t> CheckSequences(const Index& index, const MappedFile& bin, int token_bytes) {
  const int64_t size = static_cast<int64_t>(bin.bytes().size());
  int64_t end = 0;
  for (int64_t i = 0; i < index.sequences; ++i) {
    if (index.offset(i) != end) {
      return Lie(index.file, "offset of sequence ", i, ": found ", index.offset(i), ", allowed ", end,
                 ", the end of the one before");
    }
    if (index.length(i) < 0)
      return Lie(index.file, "length of sequence ", i, ": found ", index.length(i), ", allowed 0..");
    if (index.length(i) > (size - end) / token_bytes) {
      return Lie(bin, "found ", size, " bytes, but sequence ", i, " has ", index.length(i),
                 " tokens from byte ", end, " on; the file is truncated, or the index is of another one");
    }
    end += index.length(i) * token_bytes;
  }
  if (end != size) {
    return Lie(bin, "found ", size, " bytes, but the index ends at ", end, "; it is of another file");
  }
  return end / token_bytes;
}

absl::Status CheckDocuments(const Index& index) {
  int64_t previous = 0;
  for (int64_t i = 0; i < index.document_indices; ++i) {
    const int64_t document = index.document(i);
    const bool first = i == 0, last = i + 1 == index.document_indices;
    if (document < previous || document > index.sequences || (first && document != 0) ||
        (last && document != index.sequences)) {
      return Lie(index.file, "document index ", i, ": found ", document,
                 "; they rise from 0 to the number of sequences, ", index.sequences);
    }
    previous = document;
  }
  if (index.document_indices == 0) return Lie(index.file, "length of document_indices: found 0, allowed 1..");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<IndexedDataset> IndexedDataset::Open(const std::string& prefix) {
  BALLAST_ASSIGN_OR_RETURN(const MappedFile idx, MappedFile::Open(prefix + ".idx"));
  BALLAST_ASSIGN_OR_RETURN(MappedFile bin, MappedFile::Open(prefix + ".bin"));
  BALLAST_ASSIGN_OR_RETURN(const Index index, ReadIndex(idx));
  const int token_bytes = index.type == indexed::kU8 ? 1 : index.type == indexed::kU16 ? 2 : 4;
  BALLAST_ASSIGN_OR_RETURN(const int64_t tokens, CheckSequences(index, bin, token_bytes));
  BALLAST_RETURN_IF_ERROR(CheckDocuments(index));
  IndexedDataset dataset(std::move(bin), token_bytes);
  dataset.tokens_ = tokens;
  dataset.sequences_ = index.sequences;
  dataset.documents_ = index.document_indices - 1;
  return dataset;
}

absl::Status IndexedDataset::Read(int64_t first, int vocabulary, std::span<int32_t> out) const {
  const int64_t count = static_cast<int64_t>(out.size());
  BALLAST_CHECK(first >= 0 && count <= tokens_ && first <= tokens_ - count)
      << "tokens " << first << " + " << count << " of " << tokens_;
  const unsigned char* from = bin_.bytes().data() + first * token_bytes_;
  for (int64_t i = 0; i < count; ++i) {
    const int32_t token = token_bytes_ == 1   ? from[i]
                          : token_bytes_ == 2 ? Load<uint16_t>(from + i * 2)
                                              : Load<int32_t>(from + i * 4);
    if (token < 0 || token >= vocabulary) {
      return Lie(bin_, "token ", first + i, ": found ", token, ", allowed 0..", vocabulary - 1,
                 " (vocabulary size)");
    }
    out[i] = token;
  }
  return absl::OkStatus();
}

}  // namespace ballast

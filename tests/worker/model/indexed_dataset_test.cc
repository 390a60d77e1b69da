#include "worker/model/indexed_dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/rng.h"
#include "tests/base/temp_dir.h"

namespace ballast {
namespace {

using testing::HasSubstr;

class IndexedDatasetTest : public testing::Test {
 protected:
  void Write(const std::vector<std::vector<uint16_t>>& documents) {
    IndexedDatasetWriter writer = IndexedDatasetWriter::Create(prefix_).value();
    for (const auto& document : documents) ASSERT_TRUE(writer.AddDocument(document).ok());
    absl::Status finished = writer.Finish();
    ASSERT_TRUE(finished.ok()) << finished;
  }
  std::string Bytes(const std::string& suffix) const {
    std::ifstream file(prefix_ + suffix, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  void SetBytes(const std::string& suffix, const std::string& bytes) const {
    std::ofstream(prefix_ + suffix, std::ios::binary) << bytes;
  }
  template <class T>
  void Patch(const std::string& suffix, size_t offset, T value) const {
    std::string bytes = Bytes(suffix);
    ASSERT_LE(offset + sizeof value, bytes.size());
    std::memcpy(bytes.data() + offset, &value, sizeof value);
    SetBytes(suffix, bytes);
  }
  std::string Refusal() const {
    const absl::StatusOr<IndexedDataset> opened = IndexedDataset::Open(prefix_);
    EXPECT_FALSE(opened.ok());
    return std::string(opened.status().message());
  }
  std::vector<int32_t> ReadAll(const IndexedDataset& dataset) const {
    std::vector<int32_t> tokens(dataset.tokens());
    absl::Status status = dataset.Read(0, 1 << 20, tokens);
    EXPECT_TRUE(status.ok()) << status;
    return tokens;
  }

  TempDir folder_;
  const std::string prefix_ = folder_ / "text";
};

// Offsets in the index of the two documents below.
constexpr size_t kVersion = 9, kType = 17, kSequences = 18, kDocumentIndices = 26, kLengths = 34,
                 kOffsets = 42, kDocuments = 58, kEnd = 82;
const std::vector<std::vector<uint16_t>> kTwoDocuments = {{72, 105, 256}, {66, 256}};

TEST_F(IndexedDatasetTest, ReadsBackWhatWasWritten) {
  Write(kTwoDocuments);
  const IndexedDataset dataset = IndexedDataset::Open(prefix_).value();
  EXPECT_EQ(dataset.tokens(), 5);
  EXPECT_EQ(dataset.sequences(), 2);
  EXPECT_EQ(dataset.documents(), 2);
  EXPECT_EQ(ReadAll(dataset), (std::vector<int32_t>{72, 105, 256, 66, 256}));
  std::vector<int32_t> part(2);
  ASSERT_TRUE(dataset.Read(3, kByteLevelVocabulary, part).ok());
  EXPECT_EQ(part, (std::vector<int32_t>{66, 256}));
  ASSERT_TRUE(dataset.Read(5, kByteLevelVocabulary, {}).ok());
}

TEST_F(IndexedDatasetTest, WritesTheBytesOfTheFormat) {
  Write(kTwoDocuments);
  EXPECT_EQ(Bytes(".bin"), std::string("H\0i\0\0\1B\0\0\1", 10));
  const std::string expected(
      "MMIDIDX\0\0"
      "\1\0\0\0\0\0\0\0"
      "\10"
      "\2\0\0\0\0\0\0\0"
      "\3\0\0\0\0\0\0\0"
      "\3\0\0\0\2\0\0\0"
      "\0\0\0\0\0\0\0\0"
      "\6\0\0\0\0\0\0\0"
      "\0\0\0\0\0\0\0\0"
      "\1\0\0\0\0\0\0\0"
      "\2\0\0\0\0\0\0\0",
      82);
  EXPECT_EQ(Bytes(".idx"), expected);
  ASSERT_EQ(expected.size(), kEnd);
}

TEST_F(IndexedDatasetTest, ReadsTheOtherTokenTypes) {
  Write(kTwoDocuments);
  Patch<uint8_t>(".idx", kType, 1);
  Patch<int64_t>(".idx", kOffsets + 8, 3);
  SetBytes(".bin",
           "Hi\xff"
           "B!");
  EXPECT_EQ(ReadAll(IndexedDataset::Open(prefix_).value()), (std::vector<int32_t>{72, 105, 255, 66, 33}));
  Patch<uint8_t>(".idx", kType, 4);
  Patch<int64_t>(".idx", kOffsets + 8, 12);
  const int32_t tokens[5] = {1, 70000, 3, 4, 5};
  SetBytes(".bin", std::string(reinterpret_cast<const char*>(tokens), sizeof tokens));
  EXPECT_EQ(ReadAll(IndexedDataset::Open(prefix_).value()), (std::vector<int32_t>{1, 70000, 3, 4, 5}));
}

TEST_F(IndexedDatasetTest, AnEmptyDataSetIsWhole) {
  Write({});
  const IndexedDataset dataset = IndexedDataset::Open(prefix_).value();
  EXPECT_EQ(dataset.tokens(), 0);
  EXPECT_EQ(dataset.documents(), 0);
}

TEST_F(IndexedDatasetTest, TokensOutsideTheVocabularyAreNamed) {
  Write(kTwoDocuments);
  std::vector<int32_t> tokens(4);
  const absl::Status refused = IndexedDataset::Open(prefix_).value().Read(1, 256, tokens);
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr(prefix_ + ".bin: token 2: found 256, allowed 0..255"));
}

TEST_F(IndexedDatasetTest, MissingFilesAreNamed) {
  EXPECT_EQ(IndexedDataset::Open(prefix_).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Refusal(), HasSubstr(prefix_ + ".idx: cannot open"));
  Write(kTwoDocuments);
  std::filesystem::remove(prefix_ + ".bin");
  EXPECT_THAT(Refusal(), HasSubstr(prefix_ + ".bin: cannot open"));
  std::filesystem::create_directory(prefix_ + ".bin");
  EXPECT_THAT(Refusal(), HasSubstr(prefix_ + ".bin: not a regular file"));
}

TEST_F(IndexedDatasetTest, EveryTruncationIsRefused) {
  Write(kTwoDocuments);
  for (const char* suffix : {".idx", ".bin"}) {
    const std::string whole = Bytes(suffix);
    for (size_t size = 0; size < whole.size(); ++size) {
      SetBytes(suffix, whole.substr(0, size));
      EXPECT_THAT(Refusal(), HasSubstr(prefix_ + suffix)) << size << " bytes";
    }
    SetBytes(suffix, whole + "x");
    EXPECT_THAT(Refusal(), HasSubstr(prefix_ + suffix)) << "one byte too many";
    SetBytes(suffix, whole);
  }
  EXPECT_TRUE(IndexedDataset::Open(prefix_).ok());
}

TEST_F(IndexedDatasetTest, LyingFieldsAreNamed) {
  Write(kTwoDocuments);
  const std::string whole = Bytes(".idx");
  auto lie = [&](size_t offset, auto value) {
    SetBytes(".idx", whole);
    Patch(".idx", offset, value);
    return Refusal();
  };
  EXPECT_THAT(lie(0, 'X'), HasSubstr("does not begin with MMIDIDX"));
  EXPECT_THAT(lie(kVersion, uint64_t{2}), HasSubstr("version: found 2, allowed 1"));
  EXPECT_THAT(lie(kType, uint8_t{7}), HasSubstr("type: found 7, allowed 1 (u8), 4 (i32) and 8 (u16)"));
  EXPECT_THAT(lie(kSequences, uint64_t{3}), HasSubstr("for 3 sequences"));
  EXPECT_THAT(lie(kSequences, ~uint64_t{0}),
              HasSubstr("sequences: found 18446744073709551615, but 48 bytes hold at most 4"));
  EXPECT_THAT(lie(kDocumentIndices, uint64_t{2}), HasSubstr("2 document indices"));
  EXPECT_THAT(lie(kDocumentIndices, uint64_t{1} << 61), HasSubstr("length of document_indices: found"));
  EXPECT_THAT(lie(kLengths, int32_t{-1}), HasSubstr("length of sequence 0: found -1"));
  EXPECT_THAT(lie(kLengths, int32_t{4}), HasSubstr("offset of sequence 1: found 6, allowed 8"));
  EXPECT_THAT(lie(kLengths, std::numeric_limits<int32_t>::max()),
              HasSubstr(prefix_ + ".bin: found 10 bytes, but sequence 0"));
  EXPECT_THAT(lie(kLengths + 4, int32_t{1}), HasSubstr("the index ends at 8"));
  EXPECT_THAT(lie(kOffsets, int64_t{-2}), HasSubstr("offset of sequence 0: found -2, allowed 0"));
  EXPECT_THAT(lie(kOffsets + 8, std::numeric_limits<int64_t>::max()), HasSubstr("offset of sequence 1"));
  EXPECT_THAT(lie(kDocuments, int64_t{1}), HasSubstr("document index 0: found 1"));
  EXPECT_THAT(lie(kDocuments + 8, int64_t{-1}), HasSubstr("document index 1: found -1"));
  EXPECT_THAT(lie(kDocuments + 8, int64_t{3}), HasSubstr("document index 1: found 3"));
  EXPECT_THAT(lie(kDocuments + 16, int64_t{1}), HasSubstr("document index 2: found 1"));
}

// Whatever the bytes are, opening ends with an answer, and what was opened can be read.
TEST_F(IndexedDatasetTest, RandomDamageIsRefusedOrHarmless) {
  Write(kTwoDocuments);
  const std::string whole = Bytes(".idx");
  constexpr uint64_t kSeed = 77;
  Rng rng(kSeed);
  int refused = 0;
  for (int round = 0; round < 300; ++round) {
    std::string bytes = whole;
    for (int64_t flips = rng.Between(1, 3); flips > 0; --flips) {
      bytes[rng.Below(bytes.size())] = static_cast<char>(rng.Below(256));
    }
    SetBytes(".idx", bytes);
    const absl::StatusOr<IndexedDataset> opened = IndexedDataset::Open(prefix_);
    if (!opened.ok()) {
      ++refused;
      continue;
    }
    std::vector<int32_t> tokens(opened->tokens());
    (void)opened->Read(0, kByteLevelVocabulary, tokens);
  }
  EXPECT_GT(refused, 200) << "seed " << kSeed;
}

TEST_F(IndexedDatasetTest, AnUnfinishedWriterLeavesWhatWasThere) {
  Write(kTwoDocuments);
  {
    IndexedDatasetWriter writer = IndexedDatasetWriter::Create(prefix_).value();
    ASSERT_TRUE(writer.AddDocument(std::vector<uint16_t>{1, 2, 3, 256}).ok());
    EXPECT_EQ(writer.documents(), 1);
    EXPECT_EQ(writer.tokens(), 4);
  }
  EXPECT_EQ(IndexedDataset::Open(prefix_).value().tokens(), 5);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 2)
      << "temporary files are left";
}

TEST_F(IndexedDatasetTest, TheWriterNamesItsTroubles) {
  const absl::Status nowhere = IndexedDatasetWriter::Create(folder_ / "missing/text").status();
  EXPECT_EQ(nowhere.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(nowhere.message()), HasSubstr("missing/text.bin"));
  IndexedDatasetWriter writer = IndexedDatasetWriter::Create(prefix_).value();
  EXPECT_EQ(writer.AddDocument({}).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ballast

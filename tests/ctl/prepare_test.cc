// Data preparation on small trees: what is taken, in which order, and what is left out.
#include "ctl/prepare.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "tests/base/temp_dir.h"
#include "worker/model/indexed_dataset.h"

namespace ballast {
namespace {

// The documents as text, "|" for the end of each.
std::string Written(const std::string& prefix) {
  auto data = IndexedDataset::Open(prefix);
  EXPECT_TRUE(data.ok()) << data.status();
  if (!data.ok()) return "";
  std::vector<int32_t> tokens(static_cast<size_t>(data->tokens()));
  EXPECT_TRUE(data->Read(0, kByteLevelVocabulary, tokens).ok());
  std::string text;
  for (int32_t token : tokens) text += token == kByteLevelEndOfDocument ? '|' : static_cast<char>(token);
  return text;
}

TEST(PrepareData, TakesTextInTheOrderOfNames) {
  TempDir folder;
  folder.Write("in/b.txt", "second");
  folder.Write("in/a/z", "first");
  folder.Write("in/c/deep/er", "third \xc3\xa9");
  folder.Write("in/copy", "first");                     // the same content once more
  folder.Write("in/image", std::string("PNG\0\1", 5));  // binary
  folder.Write("in/nothing", "");                       // empty
  folder.Write("elsewhere", "not reached through a link");
  std::filesystem::create_symlink(folder.path() + "/elsewhere", folder.path() + "/in/link");
  std::filesystem::create_directory_symlink(folder.path(), folder.path() + "/in/up");
  mkfifo((folder.path() + "/in/pipe").c_str(), 0600);

  int64_t last_done = 0, last_total = 0;
  PrepareRequest request{
      folder.path() + "/out/data", {folder.path() + "/in"}, [&](int64_t done, int64_t total) {
        EXPECT_GE(done, last_done);
        last_done = done;
        last_total = total;
      }};
  auto summary = PrepareData(request);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(Written(request.prefix), "first|second|third \xc3\xa9|");
  EXPECT_EQ(summary->documents, 3);
  EXPECT_EQ(summary->tokens, 5 + 6 + 8 + 3);
  EXPECT_EQ(summary->duplicates, 1);
  EXPECT_EQ(summary->binary, 1);
  EXPECT_EQ(summary->empty, 1);
  EXPECT_EQ(summary->symlinks, 2);
  EXPECT_EQ(summary->special, 1);
  EXPECT_EQ(last_done, last_total);
  EXPECT_EQ(last_total, 5 + 6 + 8 + 5 + 5);
}

TEST(PrepareData, PathsKeepTheirOrderAndNamedLinksAreFollowed) {
  TempDir folder;
  std::string one = folder.Write("one", "1");
  std::string two = folder.Write("two", "2");
  std::filesystem::create_symlink(one, folder.path() + "/link");
  auto summary = PrepareData({folder.path() + "/data", {two, folder.path() + "/link"}, nullptr});
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(Written(folder.path() + "/data"), "2|1|");
}

TEST(PrepareData, WhatIsRefusedLeavesTheOldDataAlone) {
  TempDir folder;
  std::string text = folder.Write("in/text", "old");
  std::string prefix = folder.path() + "/data";
  ASSERT_TRUE(PrepareData({prefix, {text}, nullptr}).ok());

  auto missing = PrepareData({prefix, {text, folder.path() + "/none"}, nullptr});
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(missing.status().message(), folder.path() + "/none: No such file or directory");

  folder.Write("binary/b", std::string("\0", 1));
  auto nothing = PrepareData({prefix, {folder.path() + "/binary"}, nullptr});
  EXPECT_EQ(nothing.status().message(),
            "found no text in 1 files: 1 binary, 0 empty, 0 symbolic links skipped");

  auto itself = PrepareData({prefix, {folder.path()}, nullptr});
  EXPECT_EQ(itself.status().message(), "--out: " + prefix + ".bin is among the inputs");
  EXPECT_EQ(Written(prefix), "old|");
}

TEST(PrepareData, TheIndexIsMegatrons) {
  TempDir folder;
  folder.Write("in/a", "ab");
  folder.Write("in/b", "c");
  std::string prefix = folder.path() + "/data";
  ASSERT_TRUE(PrepareData({prefix, {folder.path() + "/in"}, nullptr}).ok());
  std::ifstream file(prefix + ".idx", std::ios::binary);
  std::string index((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  auto u64 = [](uint64_t value) { return std::string(reinterpret_cast<const char*>(&value), 8); };
  auto i32 = [](int32_t value) { return std::string(reinterpret_cast<const char*>(&value), 4); };
  EXPECT_EQ(index, std::string("MMIDIDX\0\0", 9) + u64(1) + std::string("\x08", 1) + u64(2) + u64(3) +
                       i32(3) + i32(2) + u64(0) + u64(6) + u64(0) + u64(1) + u64(2));
}

}  // namespace
}  // namespace ballast

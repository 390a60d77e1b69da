#include "replay/trace_import.h"

#include <gtest/gtest.h>

#include "replay/load_trace.h"

namespace ballast {
namespace {

// Two layers, two microbatches, three experts.
std::string Table(int first) {
  return "0:[[" + std::to_string(first) + ".0, 2.0, 3.0], [4.0, 5.0, 6.0]]\n1:[[7, 8, 9], [10, 11, 12]]\n";
}

TEST(TraceImport, TablesBecomeAnArray) {
  const absl::StatusOr<std::string> bytes = ImportSmartMoeTables(
      {{{11, 0}, Table(100)}, {{11, 1}, Table(1)}, {{1, 0}, Table(1)}, {{1, 1}, Table(20)}});
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const NpyArray array = NpyArray::Parse(*bytes).value();
  EXPECT_EQ(array.shape(), (std::vector<int64_t>{2, 2, 2, 2, 3}));
  const LoadTrace trace = LoadTrace::FromArray(array).value();
  EXPECT_EQ(trace.Microbatch(0, 0, 0), (std::vector<int64_t>{21, 4, 6}));
  EXPECT_EQ(trace.Microbatch(1, 0, 0), (std::vector<int64_t>{101, 4, 6}));
  EXPECT_EQ(trace.Microbatch(1, 1, 1), (std::vector<int64_t>{20, 22, 24}));
}

TEST(TraceImport, BadTablesAreNamed) {
  auto message = [](const std::map<std::pair<int, int>, std::string>& files) {
    return std::string(ImportSmartMoeTables(files).status().message());
  };
  EXPECT_NE(message({}).find("found no table_iter"), std::string::npos);
  EXPECT_NE(message({{{1, 1}, Table(1)}}).find("rank 0 of the iteration is missing"), std::string::npos);
  EXPECT_NE(message({{{1, 0}, Table(1)}, {{1, 1}, Table(1)}, {{2, 0}, Table(1)}})
                .find("iteration 2: found 1 ranks"),
            std::string::npos);
  for (const char* text : {"0:[[1, -2]]", "0:[[1, 2.5]]", "0:[[1, 70000]]", "0:[[1, nan]]", "0:[1, 2]",
                           "0:[[1], [2]", "0:[[[1]]]", "1:[[1]]", "x", "0:[[1]]x", "", "0:[[1]][[2]]"}) {
    EXPECT_NE(message({{{1, 0}, text}}).find("table_iter1_rank0.log"), std::string::npos) << text;
  }
  EXPECT_NE(message({{{1, 0}, "0:[[1, 2]]"}, {{1, 1}, "0:[[1, 2, 3]]"}}).find("differ"), std::string::npos);
  EXPECT_NE(message({{{1, 0}, "0:[[1, 2], [3]]"}}).find("differ"), std::string::npos);
}

TEST(TraceImport, NamesOfFiles) {
  std::pair<int, int> key;
  EXPECT_TRUE(ParseSmartMoeName("table_iter4901_rank15.log", key));
  EXPECT_EQ(key, std::make_pair(4901, 15));
  for (const char* name : {"table_iter1_rank.log", "table_iter_rank1.log", "table_iter1_rank1.txt",
                           "iter1_rank1.log", "table_iter1rank1.log", "table_iter-1_rank1.log", ""}) {
    EXPECT_FALSE(ParseSmartMoeName(name, key)) << name;
  }
}

TEST(TraceImport, RawValuesAreReordered) {
  // [step 1][source 2][layer 1][microbatch 2][expert 1]: source 0 has 1 and 2, source 1 has 3 and 4.
  const std::string values("\1\0\2\0\3\0\4\0", 8);
  const absl::StatusOr<std::string> bytes = ImportRawU16(values, {1, 2, 1, 2, 1});
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const NpyArray array = NpyArray::Parse(*bytes).value();
  EXPECT_EQ(array.shape(), (std::vector<int64_t>{1, 1, 2, 2, 1}));
  EXPECT_EQ(array.At(0).value(), 1);
  EXPECT_EQ(array.At(1).value(), 3);
  EXPECT_EQ(array.At(2).value(), 2);
  EXPECT_FALSE(ImportRawU16(values, {1, 2, 1, 2, 2}).ok());
  EXPECT_FALSE(ImportRawU16(values, {1, 2, 1, 2}).ok());
  EXPECT_FALSE(ImportRawU16(values, {1, 2, 1, -2, -1}).ok());
}

}  // namespace
}  // namespace ballast

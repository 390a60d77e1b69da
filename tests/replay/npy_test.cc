#include "replay/npy.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "replay/load_trace.h"

namespace ballast {
namespace {

std::string File(const std::string& dictionary, const std::string& values, char major = 1) {
  std::string header = dictionary + "\n";
  std::string bytes = std::string("\x93NUMPY") + major + '\0' + static_cast<char>(header.size() & 0xff) +
                      static_cast<char>(header.size() >> 8);
  if (major > 1) bytes += std::string(2, '\0');
  return bytes + header + values;
}

std::string Dictionary(const std::string& type, const std::string& shape) {
  return "{'descr': '" + type + "', 'fortran_order': False, 'shape': " + shape + ", }";
}

TEST(Npy, ReadsEveryWidthAndSign) {
  const std::string ones(8, '\xff');
  for (const auto& [type, bytes, expected] :
       std::vector<std::tuple<std::string, size_t, int64_t>>{{"|u1", 1, 255},
                                                             {"|i1", 1, -1},
                                                             {"<u2", 2, 65535},
                                                             {"<i2", 2, -1},
                                                             {"<u4", 4, 4294967295},
                                                             {"<i4", 4, -1},
                                                             {"<i8", 8, -1}}) {
    const absl::StatusOr<NpyArray> array =
        NpyArray::Parse(File(Dictionary(type, "(1,)"), ones.substr(0, bytes)));
    ASSERT_TRUE(array.ok()) << array.status();
    EXPECT_EQ(array->At(0).value(), expected) << type;
  }
  const absl::StatusOr<NpyArray> huge = NpyArray::Parse(File(Dictionary("<u8", "(1,)"), ones));
  ASSERT_TRUE(huge.ok());
  EXPECT_FALSE(huge->At(0).ok());
  const absl::StatusOr<NpyArray> scalar = NpyArray::Parse(File(Dictionary("<u2", "()"), "\x05\x01", 2));
  ASSERT_TRUE(scalar.ok()) << scalar.status();
  EXPECT_EQ(scalar->At(0).value(), 261);
}

TEST(Npy, OwnHeaderIsRead) {
  const std::string bytes = NpyHeader(2, {2, 3}) + std::string("\1\0\2\0\3\0\4\0\5\0\6\0", 12);
  EXPECT_EQ((bytes.size() - 12) % 64, 0u);
  const absl::StatusOr<NpyArray> array = NpyArray::Parse(bytes);
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(array->shape(), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(array->At(5).value(), 6);
}

TEST(Npy, RefusesWhatItCannotRead) {
  const std::string two(4, '\0');
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "not this format"},
      {"PK\x03\x04 and so on, a zip", "not this format"},
      {File(Dictionary("<u2", "(2,)"), two, 9), "version 9"},
      {File(Dictionary("<f4", "(1,)"), two), "type '<f4'"},
      {File(Dictionary(">u2", "(2,)"), two), "type '>u2'"},
      {File(Dictionary("|O", "(2,)"), two), "type '|O'"},
      {File("{'descr': '<u2', 'fortran_order': True, 'shape': (2,)}", two), "Fortran"},
      {File(Dictionary("<u2", "(3,)"), two), "the shape needs 6"},
      {File(Dictionary("<u2", "(1,)"), two), "the shape needs 2"},
      {File(Dictionary("<u2", "(-1,)"), two), "integers of 0 or more"},
      {File(Dictionary("<u2", "(9223372036854775807, 9223372036854775807)"), two), "overflows"},
      {File(Dictionary("<u2", "(99999999999999999999,)"), two), "integers of 0 or more"},
      {File(Dictionary("<u2", "(1,1,1,1,1,1,1,1,2)"), two), "more than 8"},
      {File("{'descr': '<u2', 'shape': (2,)}", two), "lacks"},
      {File("{'descr': '<u2', 'descr': '<u2', 'shape': (2,)}", two), "twice"},
      {File(Dictionary("<u2", "(2,)") + "import os", two), "after the header"},
  };
  for (const auto& [bytes, text] : cases) {
    const absl::StatusOr<NpyArray> array = NpyArray::Parse(bytes);
    ASSERT_FALSE(array.ok()) << text;
    EXPECT_NE(std::string(array.status().message()).find(text), std::string::npos) << array.status();
  }
}

TEST(Npy, EveryCutAndFlippedByteIsAnErrorOrAnArray) {
  const std::string good = NpyHeader(2, {2, 2}) + std::string(8, '\7');
  ASSERT_TRUE(NpyArray::Parse(good).ok());
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(NpyArray::Parse(good.substr(0, length)).ok()) << length;
  }
  const uint64_t seed = 61;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int i = 0; i < 20'000; ++i) {
    std::string bad = good;
    for (uint64_t n = 1 + rng.Below(3); n > 0; --n)
      bad[rng.Below(bad.size())] = static_cast<char>(rng.Next());
    const absl::StatusOr<NpyArray> array = NpyArray::Parse(bad);
    if (!array.ok()) continue;
    for (int64_t k = 0; k < array->size(); ++k) (void)array->At(k).ok();
  }
}

TEST(LoadTrace, SumsSourcesAndRefusesNegativeCounts) {
  const std::string header = NpyHeader(2, {1, 1, 1, 2, 3});
  const absl::StatusOr<NpyArray> array =
      NpyArray::Parse(header + std::string("\1\0\2\0\3\0\4\0\5\0\6\0", 12));
  ASSERT_TRUE(array.ok());
  const absl::StatusOr<LoadTrace> trace = LoadTrace::FromArray(*array);
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_EQ(trace->Sample(0, 0), (std::vector<int64_t>{5, 7, 9}));

  const absl::StatusOr<NpyArray> negative =
      NpyArray::Parse(File(Dictionary("<i2", "(1,1,1,2)"), std::string("\1\0\xff\xff", 4)));
  ASSERT_TRUE(negative.ok());
  EXPECT_NE(std::string(LoadTrace::FromArray(*negative).status().message()).find("expert 1: found -1"),
            std::string::npos);
  for (const char* shape : {"(2,2)", "(0,1,1,4)", "(1,1,1,1,1,4)"}) {
    const bool empty = shape[1] == '0';
    const absl::StatusOr<NpyArray> other =
        NpyArray::Parse(File(Dictionary("|u1", shape), empty ? "" : std::string(4, '\1')));
    ASSERT_TRUE(other.ok()) << other.status();
    EXPECT_FALSE(LoadTrace::FromArray(*other).ok()) << shape;
  }
}

}  // namespace
}  // namespace ballast

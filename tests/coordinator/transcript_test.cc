// Every file of testdata/ is a test: see transcript.h for how to read one.
#include "tests/coordinator/transcript.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "gtest/gtest.h"

namespace ballast {
namespace {

std::string Contents(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<std::string> Names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(BALLAST_TRANSCRIPTS)) {
    if (entry.path().extension() == ".txt") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class Transcript : public testing::TestWithParam<std::string> {};

TEST_P(Transcript, IsWhatTheCoreAnswers) {
  const std::filesystem::path path = std::filesystem::path(BALLAST_TRANSCRIPTS) / (GetParam() + ".txt");
  const std::string expected = Contents(path);
  ASSERT_FALSE(expected.empty()) << path;
  const std::string actual = RunTranscript(expected);
  if (std::getenv("BALLAST_REWRITE_TRANSCRIPTS") != nullptr) {
    std::ofstream(path) << actual;
    return;
  }
  EXPECT_EQ(actual, expected) << path;
}

INSTANTIATE_TEST_SUITE_P(Core, Transcript, testing::ValuesIn(Names()),
                         [](const testing::TestParamInfo<std::string>& info) { return info.param; });

TEST(TranscriptFiles, AreThere) { EXPECT_GE(Names().size(), 8u); }

}  // namespace
}  // namespace ballast

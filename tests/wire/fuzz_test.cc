// Seeded mutations of the shipped examples: every file is read or refused, and nothing crashes or hangs.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/rng.h"
#include "wire/job_reader.h"
#include "wire/message_json.h"
#include "wire/plan_file.h"

namespace ballast {
namespace {

std::string Example(const char* name) {
  auto source = ReadSourceFile(std::string(BALLAST_SOURCE_DIR "/deploy/examples/") + name);
  EXPECT_TRUE(source.ok()) << source.status();
  return source->text;
}

std::string Mutated(std::string text, Rng& rng) {
  static const char* const kPieces[] = {
      "\n", "  ",  "\t",   ":",     "- ",    "[",   "]",   "{",  "}", ",",    "\"",   "'",  "#",   "&a ",
      "*a", "<<",  "!!x ", "---\n", "...\n", "|\n", ">\n", "? ", "~", "null", "nan",  "-1", "1e9", "99999999",
      "0",  "\\u", "\xff", "\xc3",  "%",     "@",   "`",   "\r", "-", "true", "\"\\", "1"};
  for (uint64_t edits = 1 + rng.Below(6); edits > 0; --edits) {
    size_t at = rng.Below(text.size() + 1);
    size_t length = std::min<size_t>(rng.Below(12), text.size() - at);
    switch (rng.Below(4)) {
      case 0:
        text.erase(at, length);
        break;
      case 1:
        text.insert(at, kPieces[rng.Below(std::size(kPieces))]);
        break;
      case 2: {
        std::string piece = text.substr(at, rng.Below(60));
        text.insert(rng.Below(text.size() + 1), piece);
        break;
      }
      default:
        if (at < text.size()) text[at] = static_cast<char>(rng.Next());
    }
  }
  return text;
}

TEST(Fuzz, MutatedExamplesAreReadOrRefused) {
  const char* rounds_text = std::getenv("BALLAST_FUZZ_ROUNDS");  // more by hand, few in every run
  const uint64_t rounds = rounds_text != nullptr ? std::strtoull(rounds_text, nullptr, 10) : 1500;
  const std::string job = Example("gpt-moe-tiny.yaml");
  const std::string plan = Example("plan.yaml");
  auto spec = ReadJob({"job.yaml", job});
  ASSERT_TRUE(spec.ok()) << spec.status();
  const std::string json = JsonText(ToJson(SpecFromJob(*spec)));
  int read = 0, refused = 0;
  for (uint64_t seed = 1; seed <= rounds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    v1::JobSpec from_yaml, from_json;
    auto yaml = ReadStrict({"job.yaml", Mutated(job, rng)}, &from_yaml);
    yaml.ok() ? ++read : ++refused;
    if (yaml.ok()) {
      // What was taken must hold what it says: it can be printed and read again.
      v1::JobSpec again;
      auto printed = ReadStrict({"again.yaml", YamlText(ToJson(from_yaml))}, &again);
      ASSERT_TRUE(printed.ok()) << printed.status();
      ASSERT_EQ(JsonText(ToJson(again)), JsonText(ToJson(from_yaml)));
    } else {
      ASSERT_EQ(yaml.status().code(), absl::StatusCode::kInvalidArgument);
      ASSERT_EQ(yaml.status().message().substr(0, 9), "job.yaml:") << yaml.status();
    }
    auto strict = ReadStrict({"job.json", Mutated(json, rng)}, &from_json);
    if (!strict.ok()) {
      ASSERT_EQ(strict.status().message().substr(0, 9), "job.json:") << strict.status();
    }
    (void)ReadPlanFile({"plan.yaml", Mutated(plan, rng)});
  }
  // Both happen, or the mutations test nothing.
  EXPECT_GT(read, 0);
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace ballast

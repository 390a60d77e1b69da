#include "base/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ballast {
namespace {

Registry<int> Letters() {
  Registry<int> letters("letter");
  letters.Add("beta", "the second", 2);
  letters.Add("alpha", "the first", 1);
  return letters;
}

TEST(Registry, FindsByNameInAlphabeticalOrder) {
  const Registry<int> letters = Letters();
  EXPECT_EQ(*letters.Find("alpha"), 1);
  EXPECT_EQ(*letters.Find("beta"), 2);
  EXPECT_TRUE(letters.Has("beta"));
  EXPECT_FALSE(letters.Has("Beta"));
  EXPECT_EQ(letters.Description("beta"), "the second");
  EXPECT_EQ(letters.kind(), "letter");
  EXPECT_THAT(letters.Names(), ::testing::ElementsAre("alpha", "beta"));
}

TEST(Registry, AnUnknownNameIsToldWhatThereIs) {
  const absl::Status status = Letters().Find("gamma").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "unknown letter \"gamma\"; there are: alpha, beta");
}

TEST(RegistryDeathTest, ANameIsRegisteredOnce) {
  Registry<int> letters = Letters();
  EXPECT_DEATH(letters.Add("alpha", "again", 3), "letter alpha is registered twice");
}

TEST(CheckDeathTest, SaysWhereAndWhat) {
  const int found = 3;
  EXPECT_DEATH(BALLAST_CHECK(found == 4) << "found " << found,
               "registry_test.cc:[0-9]+: CHECK failed: found == 4 found 3");
  EXPECT_DEATH(BALLAST_CHECK_OK(absl::NotFoundError("no such thing")), "CHECK failed: .*no such thing");
}

}  // namespace
}  // namespace ballast

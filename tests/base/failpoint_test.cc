#include "base/failpoint.h"

#include <csignal>

#include "gtest/gtest.h"

namespace ballast {
namespace {

TEST(Failpoint, NamesWhatIsAllowed) {
  for (const char* text : {"here", "here:run", "there:die", ":die", "here:"}) {
    EXPECT_EQ(std::string(Failpoint::Parse(text, {"here", "later"}).status().message()),
              std::string("--failpoint: found \"") + text +
                  "\", allowed: PLACE:die and PLACE:stop with PLACE one of here, later");
  }
}

TEST(FailpointDeathTest, DiesAtItsPlaceAlone) {
  const auto run = [](const std::string& text) {
    const Failpoint failpoint = Failpoint::Parse(text, {"here", "later"}).value();
    failpoint.Pass("here");
    _exit(0);
  };
  EXPECT_EXIT(run("here:die"), testing::KilledBySignal(SIGKILL), "place=here action=die");
  EXPECT_EXIT(run("later:die"), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(run(""), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace ballast

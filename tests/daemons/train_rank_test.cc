// A device that fails under a rank ends the rank with an error, wherever it happens, and not the process.
#include "worker/daemon/train_rank.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/device_error.h"
#include "tests/worker/comm/memory_store.h"

namespace ballast {
namespace {

using testing::HasSubstr;

class ADeviceThatFails : public testing::Test {
 protected:
  ADeviceThatFails() {
    job_->model.layers = 1;
    job_->model.moe.experts = 2;
    assign_.job = job_;
    assign_.members.resize(1);
    context_.assign = &assign_;
    options_.on_device_error = [this](const std::string& what) { told_.push_back(what); };
    device_.on_failure = [this] { ++asked_; };
  }

  const std::shared_ptr<JobConfig> job_ = std::make_shared<JobConfig>();
  Assign assign_;
  RankContext context_;
  RankOptions options_;
  RankDevice device_;
  std::vector<std::string> told_;
  int asked_ = 0;  // what the library that connects has to say
  MemoryStore store_;
};

TEST_F(ADeviceThatFails, WhileItConnects) {
  device_.connect = [](const RankContext&, RendezvousStore&,
                       Time) -> absl::StatusOr<std::unique_ptr<Communicator>> {
    throw DeviceError("cudaMalloc failed with out of memory");
  };
  const auto communicator = MakeRankParts(options_, device_).connect(context_, store_);
  EXPECT_EQ(communicator.status(),
            absl::InternalError("its device failed: cudaMalloc failed with out of memory"));
  EXPECT_EQ(told_, std::vector<std::string>{std::string(communicator.status().message())});
}

TEST_F(ADeviceThatFails, ConnectingInVainIsLookedInto) {
  device_.connect = [](const RankContext&, RendezvousStore&,
                       Time) -> absl::StatusOr<std::unique_ptr<Communicator>> {
    return absl::DeadlineExceededError("the other ranks did not join NCCL in time");
  };
  const auto communicator = MakeRankParts(options_, device_).connect(context_, store_);
  EXPECT_THAT(std::string(communicator.status().message()), HasSubstr("did not join"));
  EXPECT_EQ(asked_, 1);
  EXPECT_TRUE(told_.empty()) << "the device is whole";
}

}  // namespace
}  // namespace ballast

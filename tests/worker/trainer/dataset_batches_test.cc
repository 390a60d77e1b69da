#include "worker/trainer/dataset_batches.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/base/temp_dir.h"
#include "tests/worker/trainer/training_run.h"

namespace ballast {
namespace {

class DatasetBatchesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    job_ = TinyJob();
    job_.model.vocabulary_size = 1000;
    job_.data.sources = {{"rising", folder_ / "rising"}, {"high", folder_ / "high"}};
    job_.data.mixture = {{Step(1), {1, 0}}, {Step(10), {0, 1}}};
    // Token i of the first source is i % 400, of the second 500 + i % 300.
    Write("rising", 0, 400);
    Write("high", 500, 300);
  }

  void Write(const std::string& name, int base, int period) {
    auto writer = IndexedDatasetWriter::Create(folder_ / name);
    ASSERT_TRUE(writer.ok()) << writer.status();
    std::vector<uint16_t> tokens;
    for (int i = 0; i < 2000; ++i) tokens.push_back(static_cast<uint16_t>(base + i % period));
    ASSERT_TRUE(writer->AddDocument(tokens).ok());
    ASSERT_TRUE(writer->Finish().ok());
  }

  TempDir folder_;
  JobConfig job_;
};

TEST_F(DatasetBatchesTest, TargetsAreTheNextTokensAndBatchesDoNotDependOnTheirCut) {
  auto batches = DatasetBatches::Open(job_);
  ASSERT_TRUE(batches.ok()) << batches.status();
  EXPECT_EQ(batches->sources(), (std::vector<std::string>{"rising", "high"}));
  const int64_t length = job_.data.sequence_length;
  for (Step step : {Step(1), Step(12)}) {
    const int base = step < Step(10) ? 0 : 500, period = step < Step(10) ? 400 : 300;
    Microbatch whole = batches->Training(step, 0, 7).value();
    ASSERT_EQ(static_cast<int64_t>(whole.inputs.size()), 7 * length);
    ASSERT_EQ(whole.targets.size(), whole.inputs.size());
    for (int64_t i = 0; i < 7 * length; ++i) {
      EXPECT_EQ(whole.targets[i], base + (whole.inputs[i] - base + 1) % period);
      if (i % length != 0) {
        EXPECT_EQ(whole.inputs[i], whole.targets[i - 1]);
      }
    }
    Microbatch part = batches->Training(step, 3, 2).value();
    EXPECT_EQ(part.sequences, 2);
    EXPECT_TRUE(std::equal(part.inputs.begin(), part.inputs.end(), whole.inputs.begin() + 3 * length));
    Microbatch none = batches->Training(step, 7, 0).value();
    EXPECT_EQ(none.sequences, 0);
    EXPECT_TRUE(none.inputs.empty());
  }
  Microbatch held_out = batches->HeldOut(1, 0, 4).value();
  EXPECT_EQ(held_out.inputs, batches->HeldOut(1, 0, 4)->inputs);
  for (int32_t token : held_out.inputs) EXPECT_GE(token, 500);
}

TEST_F(DatasetBatchesTest, WhatIsWrongWithTheDataIsSaid) {
  JobConfig missing = job_;
  missing.data.sources[1].prefix = folder_ / "absent";
  absl::Status status = DatasetBatches::Open(missing).status();
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find("absent"), absl::string_view::npos) << status;

  JobConfig small = job_;
  small.model.vocabulary_size = 100;
  auto batches = DatasetBatches::Open(small);
  ASSERT_TRUE(batches.ok()) << batches.status();
  status = batches->HeldOut(1, 0, 1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_NE(status.message().find("high"), absl::string_view::npos) << status;
}

}  // namespace
}  // namespace ballast

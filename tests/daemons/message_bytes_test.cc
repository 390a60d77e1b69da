// What goes to many workers is converted once, and is what each would have got.
#include "coordinator/message_bytes.h"

#include <grpcpp/support/slice.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/coordinator/small_job.h"
#include "wire/convert_session.h"

namespace ballast {
namespace {

std::vector<grpc::Slice> Slices(const grpc::ByteBuffer& bytes) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(bytes.Dump(&slices).ok());
  return slices;
}

std::string Text(const grpc::ByteBuffer& bytes) {
  std::string text;
  for (const grpc::Slice& slice : Slices(bytes)) {
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return text;
}

std::string Alone(const CoordinatorMessage& message) { return ToProto(message).SerializeAsString(); }

PlanPtr MakePlan(int64_t version) {
  auto plan = std::make_shared<Plan>();
  plan->stamp.job = JobId("demo");
  plan->stamp.generation = Generation(1);
  plan->stamp.version = PlanVersion(version);
  // Long enough for gRPC not to copy it.
  plan->body.layers.resize(1);
  plan->body.layers[0].slots.assign(200, {ExpertId(1), ExpertId(2)});
  plan->body.homes.assign(500, Rank(1));
  return plan;
}

TEST(MessageBytes, AreThoseOfTheMessageAlone) {
  MessageBytes bytes;
  const Stamp stamp{Term(2), JobId("demo"), Generation(1)};
  const Stage stage{stamp, MakePlan(2)};
  Assign assign;
  assign.stamp = stamp;
  assign.job = SmallJob("demo", 2);
  assign.plan = stage.plan;
  assign.members.resize(2);
  for (int repeat = 0; repeat < 2; ++repeat) {
    EXPECT_EQ(Text(bytes.Of(stage)), Alone(stage));
    EXPECT_EQ(Text(bytes.Of(assign)), Alone(assign));
    EXPECT_EQ(Text(bytes.Of(Commit{stamp, PlanVersion(2), PlanDigest(7), Step()})),
              Alone(Commit{stamp, PlanVersion(2), PlanDigest(7), Step()}));
  }
}

TEST(MessageBytes, OfOnePlanAreShared) {
  MessageBytes bytes;
  const Stage stage{{Term(2), JobId("demo"), Generation(1)}, MakePlan(2)};
  const grpc::ByteBuffer first = bytes.Of(stage), second = bytes.Of(stage);
  ASSERT_GT(first.Length(), 1000u);
  EXPECT_EQ(Slices(first)[0].begin(), Slices(second)[0].begin()) << "one buffer for both streams";
}

TEST(MessageBytes, AnotherPlanTermOrGenerationHasItsOwn) {
  MessageBytes bytes;
  Stage stage{{Term(2), JobId("demo"), Generation(1)}, MakePlan(2)};
  for (const Stage& other :
       {stage, Stage{stage.stamp, MakePlan(3)}, Stage{{Term(3), JobId("demo"), Generation(1)}, stage.plan},
        Stage{{Term(3), JobId("demo"), Generation(2)}, stage.plan}, stage}) {
    EXPECT_EQ(Text(bytes.Of(other)), Alone(other));
  }
  // A plan that is gone leaves its address to the next.
  for (int64_t version = 4; version < 40; ++version) {
    stage.plan = MakePlan(version);
    EXPECT_EQ(Text(bytes.Of(stage)), Alone(stage));
    stage.plan = nullptr;
  }
}

}  // namespace
}  // namespace ballast

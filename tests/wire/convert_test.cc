// Values to protobuf and back: nothing is lost, and hostile messages become errors.
#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/wire/random_values.h"
#include "wire/convert_plan.h"
#include "wire/convert_session.h"
#include "wire/job_reader.h"
#include "wire/records_codec.h"

namespace ballast {
namespace {

constexpr int kRounds = 200;

// A value through its bytes, as on the wire.
template <class Proto>
Proto Travelled(const Proto& message) {
  Proto out;
  EXPECT_TRUE(out.ParseFromString(message.SerializeAsString()));
  return out;
}

TEST(Convert, PlansKeepTheirDigest) {
  for (int seed = 1; seed <= kRounds; ++seed) {
    Rng rng(seed);
    Plan plan = RandomPlan(rng);
    auto back = FromProto(Travelled(ToProto(plan)));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_TRUE(*back == plan) << "seed " << seed;
    EXPECT_EQ(Digest(*back), Digest(plan)) << "seed " << seed;
  }
}

TEST(Convert, JobsAreGivenBack) {
  for (int seed = 1; seed <= kRounds; ++seed) {
    Rng rng(seed);
    JobConfig job = RandomJob(rng);
    v1::JobSpec spec = SpecFromJob(job);
    auto back = JobFromSpec(Travelled(spec));
    ASSERT_TRUE(back.ok()) << "seed " << seed << ": " << back.status();
    EXPECT_EQ(SpecFromJob(*back).DebugString(), spec.DebugString()) << "seed " << seed;
    EXPECT_EQ(back->training.seed, job.training.seed);
    EXPECT_EQ(back->data.mixture.back().weights, job.data.mixture.back().weights);
  }
}

TEST(Convert, EveryWorkerMessageIsGivenBack) {
  for (int seed = 1; seed <= kRounds; ++seed) {
    for (size_t kind = 0; kind < std::variant_size_v<WorkerMessage>; ++kind) {
      Rng rng(HashSeed({static_cast<uint64_t>(seed), kind}));
      WorkerMessage message = RandomWorkerMessage(rng, kind);
      ASSERT_EQ(message.index(), kind);
      v1::WorkerMessage proto = ToProto(message);
      auto back = FromProto(Travelled(proto));
      ASSERT_TRUE(back.ok()) << "seed " << seed << " kind " << kind << ": " << back.status();
      EXPECT_EQ(back->index(), kind);
      EXPECT_EQ(ToString(*back), ToString(message));
      EXPECT_EQ(ToProto(*back).DebugString(), proto.DebugString()) << "seed " << seed;
    }
  }
}

TEST(Convert, EveryCoordinatorMessageIsGivenBack) {
  for (int seed = 1; seed <= kRounds; ++seed) {
    for (size_t kind = 0; kind < std::variant_size_v<CoordinatorMessage>; ++kind) {
      Rng rng(HashSeed({static_cast<uint64_t>(seed), kind}));
      CoordinatorMessage message = RandomCoordinatorMessage(rng, kind);
      ASSERT_EQ(message.index(), kind);
      v1::CoordinatorMessage proto = ToProto(message);
      auto back = FromProto(Travelled(proto));
      ASSERT_TRUE(back.ok()) << "seed " << seed << " kind " << kind << ": " << back.status();
      EXPECT_EQ(back->index(), kind);
      EXPECT_EQ(ToString(*back), ToString(message));
      EXPECT_EQ(ToProto(*back).DebugString(), proto.DebugString()) << "seed " << seed;
    }
  }
}

// A field that is converted one way only would survive the tests above as its default; here every field of
// every message must have been set by the random values at least once.
void CountSet(const google::protobuf::Message& message, std::map<std::string, int>* set) {
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i)
    (*set)[message.GetDescriptor()->field(i)->full_name()];
  for (const auto* field : fields) {
    ++(*set)[field->full_name()];
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    int n = field->is_repeated() ? message.GetReflection()->FieldSize(message, field) : 1;
    for (int k = 0; k < n; ++k) {
      CountSet(field->is_repeated() ? message.GetReflection()->GetRepeatedMessage(message, field, k)
                                    : message.GetReflection()->GetMessage(message, field),
               set);
    }
  }
}

TEST(Convert, NoFieldIsForgotten) {
  std::map<std::string, int> set;
  for (int seed = 1; seed <= 50; ++seed) {
    for (size_t kind = 0; kind < std::variant_size_v<WorkerMessage>; ++kind) {
      Rng rng(HashSeed({static_cast<uint64_t>(seed), kind}));
      CountSet(ToProto(RandomWorkerMessage(rng, kind)), &set);
    }
    for (size_t kind = 0; kind < std::variant_size_v<CoordinatorMessage>; ++kind) {
      Rng rng(HashSeed({static_cast<uint64_t>(seed), kind}));
      CountSet(ToProto(RandomCoordinatorMessage(rng, kind)), &set);
    }
  }
  // The transport's own, and what 0 stands for in every random job here.
  for (const char* not_ours :
       {"ballast.v1.WorkerMessage.heartbeat", "ballast.v1.CoordinatorMessage.heartbeat",
        "ballast.v1.Welcome.heartbeat_ms", "ballast.v1.Welcome.lease_ms"}) {
    EXPECT_EQ(set[not_ours], 0) << not_ours;
    set.erase(not_ours);
  }
  for (const auto& [field, times] : set) EXPECT_GT(times, 0) << field;
}

TEST(Convert, HostileMessages) {
  auto worker = [](auto fill) {
    v1::WorkerMessage message;
    fill(message);
    return std::string(FromProto(message).status().message());
  };
  auto coordinator = [](auto fill) {
    v1::CoordinatorMessage message;
    fill(message);
    return std::string(FromProto(message).status().message());
  };
  EXPECT_EQ(worker([](auto&) {}), "message: found none that this protocol version knows");
  EXPECT_EQ(coordinator([](auto&) {}), "message: found none that this protocol version knows");
  EXPECT_EQ(worker([](auto& m) { m.mutable_heartbeat(); }), "message: found a heartbeat, which says nothing");
  EXPECT_EQ(worker([](auto& m) { m.mutable_hello()->set_ranks(-1); }), "ranks: found -1, allowed at least 0");
  EXPECT_EQ(worker([](auto& m) { m.mutable_staged()->mutable_stamp()->set_term(-5); }),
            "stamp.term: found -5, allowed at least 0");
  EXPECT_EQ(worker([](auto& m) { m.mutable_lost_peer()->set_rank(-1); }),
            "rank: found -1, allowed at least 0");
  const auto file = [](const char* name, const char* digest) {
    return [=](auto& m) {
      v1::CheckpointFile* to = m.mutable_checkpoint_written()->add_files();
      to->set_name(name);
      to->set_sha256(digest);
    };
  };
  const std::string digest(64, 'a');
  EXPECT_EQ(worker(file("model-00001-of-00002.safetensors", digest.c_str())), "");
  for (const char* name : {"", "..", "../x", "a/b", ".hidden", "a\"b"}) {
    EXPECT_EQ(worker(file(name, digest.c_str())),
              "files.name: found what is not a file of a checkpoint, allowed are a-z, 0-9, '-', '_' and '.'");
  }
  EXPECT_EQ(worker(file("a", "A0")), "files.sha256: found what is not 64 hexadecimal digits");
  EXPECT_EQ(coordinator([](auto& m) { m.mutable_step_request()->set_kind(static_cast<v1::RequestKind>(9)); }),
            "kind: found 9, allowed 0..3");
  EXPECT_EQ(coordinator([](auto& m) { m.mutable_stage(); }), "plan.version: found 0, allowed at least 1");
  EXPECT_EQ(coordinator([](auto& m) {
              m.mutable_stage()->mutable_plan()->set_version(1);
              m.mutable_stage()->mutable_plan()->mutable_body()->add_layers()->add_slots()->add_experts(-2);
            }),
            "plan.body.layers[0].slots[0][0]: found -2, allowed an expert, or -1 for an empty slot");
  EXPECT_EQ(coordinator([](auto& m) {
              m.mutable_stage()->mutable_plan()->set_version(1);
              m.mutable_stage()->mutable_plan()->mutable_body()->add_homes(-1);
            }),
            "plan.body.homes[0]: found -1, allowed a rank");
  EXPECT_EQ(coordinator([](auto& m) {
              m.mutable_stage()->mutable_plan()->set_version(1);
              m.mutable_stage()->mutable_plan()->mutable_body()->add_layers()->mutable_split()->set_kind(
                  static_cast<v1::SplitKind>(77));
            }),
            "plan.body.layers[0].split.kind: found 77, allowed 1 (exact), 2 (fractions), 3 (even)");
  EXPECT_EQ(coordinator([](auto& m) { m.mutable_assign(); }),
            "job.name: found nothing, allowed a name: 1 to 63 of a-z, 0-9, '-', '_' and '.', beginning and "
            "ending with a "
            "letter or digit");
  EXPECT_EQ(coordinator([](auto& m) {
              Rng rng(1);
              *m.mutable_assign()->mutable_job() = SpecFromJob(RandomJob(rng));
              m.mutable_assign()->add_members()->set_rank(3);
            }),
            "members[0].rank: found 3, allowed 0 (by rank)");
}

TEST(Convert, AStageThatCannotBeReadCanStillBeAnswered) {
  Rng rng(3);
  v1::CoordinatorMessage message = ToProto(RandomCoordinatorMessage(rng, 3));
  ASSERT_TRUE(message.has_stage());
  auto plan = FromProto(message.stage().plan());
  ASSERT_TRUE(plan.ok()) << plan.status();
  message.mutable_stage()->mutable_plan()->mutable_body()->add_homes(-1);
  absl::Status why = FromProto(message).status();
  ASSERT_FALSE(why.ok());
  auto stage = AsUnreadableStage(message, why);
  ASSERT_TRUE(stage.has_value());
  EXPECT_EQ(stage->stamp.term.value(), message.stage().stamp().term());
  EXPECT_EQ(stage->stamp.job.value(), message.stage().stamp().job());
  EXPECT_EQ(stage->stamp.generation.value(), message.stage().stamp().generation());
  EXPECT_EQ(stage->version, plan->stamp.version);
  EXPECT_EQ(stage->digest, Digest(*plan)) << "as the coordinator knows it";
  EXPECT_EQ(stage->reason, std::string(why.message()));

  message.mutable_stage()->mutable_stamp()->set_term(-1);
  EXPECT_FALSE(AsUnreadableStage(message, why).has_value()) << "nobody to answer";
  EXPECT_FALSE(AsUnreadableStage(v1::CoordinatorMessage(), why).has_value());
}

TEST(Records, AreGivenBack) {
  for (int seed = 1; seed <= kRounds; ++seed) {
    Rng rng(seed);
    JobRecord job = RandomJobRecord(rng);
    auto job_back = DecodeJobRecord(EncodeRecord(job));
    ASSERT_TRUE(job_back.ok()) << "seed " << seed << ": " << job_back.status();
    EXPECT_EQ(EncodeRecord(*job_back), EncodeRecord(job)) << "seed " << seed;
    EXPECT_EQ(job_back->last_steps, job.last_steps);
    EXPECT_EQ(job_back->evaluations, job.evaluations);
    EXPECT_EQ(job_back->wanted_homes, job.wanted_homes);
    EXPECT_EQ(job_back->state, job.state);
    EXPECT_EQ(job_back->device, job.device);

    PlanRecord plan = RandomPlanRecord(rng);
    plan.digest = Digest(*plan.plan);
    auto plan_back = DecodePlanRecord(EncodeRecord(plan));
    ASSERT_TRUE(plan_back.ok()) << "seed " << seed << ": " << plan_back.status();
    EXPECT_TRUE(*plan_back->plan == *plan.plan);
    EXPECT_EQ(EncodeRecord(*plan_back), EncodeRecord(plan)) << "seed " << seed;
    EXPECT_EQ(plan_back->outcome, plan.outcome);

    GenerationRecord generation = RandomGenerationRecord(rng);
    auto generation_back = DecodeGenerationRecord(EncodeRecord(generation));
    ASSERT_TRUE(generation_back.ok()) << "seed " << seed << ": " << generation_back.status();
    EXPECT_EQ(generation_back->members, generation.members);
    EXPECT_EQ(EncodeRecord(*generation_back), EncodeRecord(generation)) << "seed " << seed;
    EXPECT_EQ(generation_back->checkpoint, generation.checkpoint);
    EXPECT_EQ(generation_back->retained, generation.retained);

    CheckpointRecord checkpoint = RandomCheckpointRecord(rng);
    auto checkpoint_back = DecodeCheckpointRecord(EncodeRecord(checkpoint));
    ASSERT_TRUE(checkpoint_back.ok()) << "seed " << seed << ": " << checkpoint_back.status();
    EXPECT_EQ(EncodeRecord(*checkpoint_back), EncodeRecord(checkpoint)) << "seed " << seed;
    EXPECT_EQ(checkpoint_back->directory, checkpoint.directory);
    EXPECT_EQ(checkpoint_back->step, checkpoint.step);
    JobEvent event = RandomJobEvent(rng);
    auto event_back = DecodeJobEvent(EncodeRecord(event));
    ASSERT_TRUE(event_back.ok()) << "seed " << seed << ": " << event_back.status();
    EXPECT_EQ(*event_back, event) << "seed " << seed;
    ExplanationRecord why = RandomExplanationRecord(rng);
    auto why_back = DecodeExplanationRecord(EncodeRecord(why));
    ASSERT_TRUE(why_back.ok()) << "seed " << seed << ": " << why_back.status();
    EXPECT_EQ(EncodeRecord(*why_back), EncodeRecord(why)) << "seed " << seed;
    EXPECT_EQ(why_back->explanation.layers.size(), why.explanation.layers.size());
    EXPECT_EQ(why_back->explanation.prices, why.explanation.prices);
  }
}

TEST(Records, DamageIsFound) {
  Rng rng(7);
  PlanRecord plan = RandomPlanRecord(rng);  // its digest is not that of its content
  EXPECT_EQ(DecodePlanRecord(EncodeRecord(plan)).status().ToString(),
            "DATA_LOSS: stored plan: digest: found content of another digest than the stored one");
  EXPECT_EQ(DecodeJobRecord("").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(DecodeGenerationRecord("\xff\xff").status().code(), absl::StatusCode::kDataLoss);
  JobEvent event = RandomJobEvent(rng);
  event.kind = static_cast<JobEvent::Kind>(0);
  EXPECT_EQ(DecodeJobEvent(EncodeRecord(event)).status().message(),
            "stored event: kind: found 0, allowed 1..8");
  JobRecord job = RandomJobRecord(rng);
  std::string newer = EncodeRecord(job) + std::string("\xf8\x3f\x01", 3);  // field 1023
  EXPECT_EQ(DecodeJobRecord(newer).status().message(), "stored job: found a field that is unknown here");
  job.state = static_cast<JobState>(99);
  EXPECT_EQ(DecodeJobRecord(EncodeRecord(job)).status().message(),
            "stored job: state: found 99, allowed 1..7");
}

// Cut and flipped bytes give an error or some value, never a crash.
TEST(Records, RandomDamageNeverCrashes) {
  google::protobuf::LogSilencer silencer;  // protobuf logs every text that is not UTF-8
  for (int seed = 1; seed <= kRounds; ++seed) {
    Rng rng(seed);
    std::string bytes[] = {EncodeRecord(RandomJobRecord(rng)),
                           EncodeRecord(RandomPlanRecord(rng)),
                           EncodeRecord(RandomGenerationRecord(rng)),
                           EncodeRecord(RandomJobEvent(rng)),
                           EncodeRecord(RandomExplanationRecord(rng)),
                           ToProto(RandomCoordinatorMessage(rng, 2)).SerializeAsString()};
    for (std::string& text : bytes) {
      for (uint64_t flips = rng.Below(4); flips > 0 && !text.empty(); --flips) {
        text[rng.Below(text.size())] = static_cast<char>(rng.Next());
      }
      if (rng.Chance(0.3)) text.resize(rng.Below(text.size() + 1));
      (void)DecodeJobRecord(text);
      (void)DecodePlanRecord(text);
      (void)DecodeGenerationRecord(text);
      (void)DecodeJobEvent(text);
      (void)DecodeExplanationRecord(text);
      v1::CoordinatorMessage coordinator;
      if (coordinator.ParseFromString(text)) (void)FromProto(coordinator);
      v1::WorkerMessage worker;
      if (worker.ParseFromString(text)) (void)FromProto(worker);
    }
  }
}

TEST(Convert, ARankReportNamesTheFieldThatIsWrong) {
  v1::WorkerMessage message;
  v1::RankReport* report = message.mutable_rank_report();
  report->set_rank(1);
  report->add_steps()->set_step(7);
  auto short_of_phases = FromProto(message);
  EXPECT_EQ(short_of_phases.status().message(), "steps.phase_seconds: found 0 numbers, allowed 18");
  for (size_t phase = 0; phase < kPhases; ++phase) report->mutable_steps(0)->add_phase_seconds(0.5);
  EXPECT_TRUE(FromProto(message).ok());
  report->mutable_steps(0)->add_links()->set_peer(-1);
  EXPECT_EQ(FromProto(message).status().message(), "steps.links.peer: found -1, allowed at least 0");
}

TEST(Convert, ATokenReportNamesTheFieldThatIsWrong) {
  v1::WorkerMessage message;
  v1::TokenReport* report = message.mutable_token_report();
  report->set_tokens(2);
  report->add_choices(65535);
  EXPECT_TRUE(FromProto(message).ok());
  report->add_choices(65536);
  EXPECT_EQ(FromProto(message).status().message(), "choices[1]: found 65536, allowed 0..65535");
  report->mutable_choices()->Resize(kSampledChoicesMax + 1, 0);
  EXPECT_EQ(FromProto(message).status().message(), "choices: found 131073 experts, allowed at most 131072");
  report->set_tokens(257);
  EXPECT_EQ(FromProto(message).status().message(), "tokens: found 257, allowed 0..256");
}

TEST(Convert, AnAssignNamesTheRuleOfSamplingThatIsWrong) {
  Rng rng(7);
  v1::CoordinatorMessage message = ToProto(RandomCoordinatorMessage(rng, 2));
  message.mutable_assign()->clear_sampling();
  auto none = FromProto(message);
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_FALSE(std::get<Assign>(*none).sampling.on()) << "as a coordinator says that knows of none";
  message.mutable_assign()->mutable_sampling()->set_every(-1);
  EXPECT_EQ(FromProto(message).status().message(), "sampling.every: found -1, allowed at least 1, or all 0");
}

}  // namespace
}  // namespace ballast

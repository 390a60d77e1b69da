// Job files: the shipped example, defaults, and every range with its exact complaint.
#include "wire/job_reader.h"

#include <gtest/gtest.h>

#include "absl/strings/str_replace.h"
#include "plan/layout.h"

namespace ballast {
namespace {

const std::vector<std::string> kStrategies = {"auto", "contiguous", "greedy"};

SourceText Example() {
  auto source = ReadSourceFile(BALLAST_SOURCE_DIR "/deploy/examples/gpt-moe-tiny.yaml");
  EXPECT_TRUE(source.ok()) << source.status();
  return {"job.yaml", source->text};
}

// A job with as little as there may be.
constexpr char kSmall[] = R"(name: small
model:
  hidden_size: 8
  layers: 1
  attention_heads: 2
  moe:
    experts: 4
    top_k: 2
    intermediate_size: 8
data:
  sources:
    - name: a
      prefix: ./a
  sequence_length: 16
optimizer:
  learning_rate: 0.01
training:
  steps: 5
  global_batch_sequences: 3
placement:
  ranks: 2
  slots_per_rank: 2
)";

// kSmall with `from` replaced by `to`; from must be there.
std::string Changed(const std::string& from, const std::string& to) {
  std::string text = kSmall;
  size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::string ErrorOf(const std::string& text) {
  auto job = ReadJob({"j.yaml", text}, kStrategies);
  return job.ok() ? "ok" : std::string(job.status().message());
}

TEST(JobReader, TheLargeExampleIsAJobOfABillionParameters) {
  const auto source = ReadSourceFile(BALLAST_SOURCE_DIR "/deploy/examples/gpt-moe-1b.yaml");
  ASSERT_TRUE(source.ok()) << source.status();
  const auto job = ReadJob({"job.yaml", source->text}, {"auto"});
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->training.compute_dtype, DType::kBFloat16);
  const auto layout = ParameterLayout::Make(job->model, job->placement.block_elements);
  ASSERT_TRUE(layout.ok()) << layout.status();
  int64_t elements = 0;
  for (const Block& block : layout->blocks()) elements += block.elements;
  EXPECT_EQ(elements, 1'049'267'200);
}

TEST(JobReader, TheShippedExampleIsRead) {
  auto job = ReadJob(Example(), kStrategies);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->name.value(), "gpt-moe-tiny");
  ASSERT_EQ(job->data.sources.size(), 2u);
  EXPECT_EQ(job->data.sources[0].name, "english");
  EXPECT_EQ(job->data.sources[1].name, "cpp");
  ASSERT_EQ(job->data.mixture.size(), 2u);
  EXPECT_EQ(job->data.mixture[0].weights, (std::vector<double>{90, 10}));
  EXPECT_EQ(job->data.mixture[1].weights, (std::vector<double>{10, 90}));
  EXPECT_EQ(job->data.mixture[1].from_step.value(), job->training.steps / 2 + 1);
  EXPECT_EQ(job->placement.ranks, 4);
}

TEST(JobReader, TopKAboveExpertsNamesThePlace) {
  SourceText example = Example();
  size_t at = example.text.find("    top_k: 2");
  ASSERT_NE(at, std::string::npos);
  example.text.replace(at, 12, "    top_k: 9");
  auto lines =
      std::count(example.text.begin(), example.text.begin() + static_cast<std::ptrdiff_t>(at), '\n') + 1;
  EXPECT_EQ(
      ReadJob(example).status().message(),
      "job.yaml:" + std::to_string(lines) + ":5: model.moe.top_k: found 9, allowed 1..8 (number of experts)");
}

TEST(JobReader, Defaults) {
  auto job = ReadJob({"j.yaml", kSmall}, kStrategies);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->model.vocabulary_size, 257);
  EXPECT_EQ(job->model.key_value_heads, 2);
  EXPECT_EQ(job->model.head_size, 4);
  EXPECT_EQ(job->model.rope_theta, 10000);
  EXPECT_EQ(job->model.moe.load_balance_coefficient, 0.01);
  ASSERT_EQ(job->data.mixture.size(), 1u);
  EXPECT_EQ(job->data.mixture[0].from_step, Step(1));
  EXPECT_EQ(job->data.mixture[0].weights, std::vector<double>{1});
  EXPECT_EQ(job->optimizer.beta2, 0.95);
  EXPECT_EQ(job->training.microbatch_sequences, 3);
  EXPECT_EQ(job->training.evaluation_sequences, 8);
  EXPECT_EQ(job->placement.block_elements, 1 << 20);
  EXPECT_EQ(job->planner.strategy, "auto");
  EXPECT_EQ(job->schedule.all_to_all, "direct");
}

struct Case {
  const char* from;
  const char* to;
  const char* error;
};

TEST(JobReader, ResolvedLimitsAreThoseThatPlansAreHeldTo) {
  auto job = ReadJob({"job.yaml", kSmall}, kStrategies);
  ASSERT_TRUE(job.ok()) << job.status();
  const v1::JobSpec resolved = ResolvedSpec(*job);
  EXPECT_EQ(resolved.placement().home_move_bytes_max(), int64_t{64} << 20);
  EXPECT_GT(resolved.placement().home_elements_per_rank(), 0);
  // Submitted again, it is the same job with the same limits.
  auto again = JobFromSpec(resolved, kStrategies);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ResolvedSpec(*again).DebugString(), resolved.DebugString());
  // What a file says stays.
  job->placement.home_move_bytes_max = 123456;
  job->placement.home_elements_per_rank = 654321;
  EXPECT_EQ(ResolvedSpec(*job).DebugString(), SpecFromJob(*job).DebugString());
}

TEST(JobReader, EveryRange) {
  const std::string name_rule =
      "allowed a name: 1 to 63 of a-z, 0-9, '-', '_' and '.', beginning and ending with a letter or digit";
  EXPECT_EQ(ErrorOf(Changed("name: small", "name: Small")),
            "j.yaml:1:1: name: found \"Small\", " + name_rule);
  EXPECT_EQ(ErrorOf(Changed("name: small", "name: ../x")), "j.yaml:1:1: name: found \"../x\", " + name_rule);
  EXPECT_EQ(ErrorOf(Changed("name: small", "name: \"a\\n" + std::string(99, 'b') + "\"")),
            "j.yaml:1:1: name: found \"a " + std::string(38, 'b') + "...\", " + name_rule);
  EXPECT_EQ(ErrorOf(Changed("name: small\n", "")), "j.yaml:1:1: name: found nothing, " + name_rule);
  const Case cases[] = {
      {"hidden_size: 8", "hidden_size: 0", "j.yaml:3:3: model.hidden_size: found 0, allowed 1..65536"},
      {"  hidden_size: 8\n", "", "j.yaml:2:1: model.hidden_size: found nothing, allowed 1..65536"},
      {"layers: 1", "layers: 1025", "j.yaml:4:3: model.layers: found 1025, allowed 1..1024"},
      {"layers: 1", "vocabulary_size: 1", "j.yaml:4:3: model.vocabulary_size: found 1, allowed 2..1048576"},
      {"attention_heads: 2", "attention_heads: 3",
       "j.yaml:2:1: model.head_size: found nothing, and hidden_size 8 does not divide by 3 "
       "(attention_heads)"},
      {"attention_heads: 2", "attention_heads: 8", "j.yaml:2:1: model.head_size: found 1, allowed 2..4096"},
      {"attention_heads: 2", "attention_heads: 2\n  head_size: 3",
       "j.yaml:6:3: model.head_size: found 3, allowed even numbers (for the rotary embedding)"},
      {"attention_heads: 2", "attention_heads: 2\n  key_value_heads: 3",
       "j.yaml:6:3: model.key_value_heads: found 3, allowed 1..2 (attention_heads)"},
      {"attention_heads: 2", "attention_heads: 4\n  key_value_heads: 3",
       "j.yaml:6:3: model.key_value_heads: found 3, allowed divisors of 4 (attention_heads)"},
      {"layers: 1", "layers: 1\n  rope_theta: 0",
       "j.yaml:5:3: model.rope_theta: found 0, allowed at least 1 and at most 1e+12"},
      {"layers: 1", "layers: 1\n  rms_norm_epsilon: 0",
       "j.yaml:5:3: model.rms_norm_epsilon: found 0, allowed more than 0 and at most 1"},
      {"layers: 1", "layers: 1\n  initializer_range: 11",
       "j.yaml:5:3: model.initializer_range: found 11, allowed more than 0 and at most 10"},
      {"experts: 4", "experts: 0", "j.yaml:7:5: model.moe.experts: found 0, allowed 1..4096"},
      {"layers: 1", "layers: 1000", "ok"},
      {"experts: 4", "experts: 4096",
       "j.yaml:22:3: placement.slots_per_rank: found 2, allowed 2048..4096 (2 ranks must hold 4096 experts)"},
      {"top_k: 2", "top_k: 0", "j.yaml:8:5: model.moe.top_k: found 0, allowed 1..4 (number of experts)"},
      {"top_k: 2", "top_k: 5", "j.yaml:8:5: model.moe.top_k: found 5, allowed 1..4 (number of experts)"},
      {"intermediate_size: 8", "intermediate_size: -1",
       "j.yaml:9:5: model.moe.intermediate_size: found -1, allowed 1..262144"},
      {"intermediate_size: 8", "intermediate_size: 8\n    z_loss_coefficient: -0.5",
       "j.yaml:10:5: model.moe.z_loss_coefficient: found -0.5, allowed at least 0 and at most 100"},
      {"  sources:\n    - name: a\n      prefix: ./a\n", "  sources: []\n",
       "j.yaml:11:3: data.sources: found 0 sources, allowed 1..64"},
      {"      prefix: ./a\n", "      prefix: ./a\n    - name: a\n      prefix: ./b\n",
       "j.yaml:14:7: data.sources[1].name: found a a second time, allowed one source of a name"},
      {"      prefix: ./a\n", "", "j.yaml:12:7: data.sources[0].prefix: found nothing, allowed text"},
      {"      prefix: ./a\n", "      prefix: ''\n",
       "j.yaml:13:7: data.sources[0].prefix: found an empty text, allowed text"},
      {"  sequence_length: 16",
       "  sequence_length: 16\n  mixture:\n    - from_step: 2\n      weights: {a: 1}",
       "j.yaml:16:7: data.mixture[0].from_step: found 2, allowed 1..1 (the first phase begins with the job)"},
      {"  sequence_length: 16",
       "  sequence_length: 16\n  mixture:\n    - from_step: 1\n      weights: {a: 1}\n    - from_step: 1\n   "
       "   weights: {a: 1}",
       "j.yaml:18:7: data.mixture[1].from_step: found 1, allowed 2..1000000000 (after the phase before it)"},
      {"  sequence_length: 16",
       "  sequence_length: 16\n  mixture:\n    - from_step: 1\n      weights: {a: 1, b: 2}",
       "j.yaml:17:23: data.mixture[0].weights.b: found no such source in data.sources"},
      {"  sequence_length: 16", "  sequence_length: 16\n  mixture:\n    - from_step: 1",
       "j.yaml:16:7: data.mixture[0].weights: found no weight of source a, allowed one of every source"},
      {"  sequence_length: 16",
       "  sequence_length: 16\n  mixture:\n    - from_step: 1\n      weights: {a: 0}",
       "j.yaml:17:7: data.mixture[0].weights: found weights that are all 0, allowed at least one above 0"},
      {"  sequence_length: 16",
       "  sequence_length: 16\n  mixture:\n    - from_step: 1\n      weights: {a: -1}",
       "j.yaml:17:17: data.mixture[0].weights.a: found -1, allowed at least 0 and at most 1e+09"},
      {"sequence_length: 16", "sequence_length: 0",
       "j.yaml:14:3: data.sequence_length: found 0, allowed 1..1048576"},
      {"  sequence_length: 16", "  sequence_length: 16\n  held_out_fraction: 1",
       "j.yaml:15:3: data.held_out_fraction: found 1, allowed more than 0 and less than 1"},
      {"  learning_rate: 0.01\n", "  beta1: 0.9\n",
       "j.yaml:15:1: optimizer.learning_rate: found nothing, allowed more than 0 and at most 100"},
      {"learning_rate: 0.01", "learning_rate: 0",
       "j.yaml:16:3: optimizer.learning_rate: found 0, allowed more than 0 and at most 100"},
      {"learning_rate: 0.01", "learning_rate: 0.01\n  learning_rate_min: 0.02",
       "j.yaml:17:3: optimizer.learning_rate_min: found 0.02, allowed at least 0 and at most 0.01 "
       "(learning_rate)"},
      {"learning_rate: 0.01", "learning_rate: 0.01\n  warmup_steps: -1",
       "j.yaml:17:3: optimizer.warmup_steps: found -1, allowed 0..1000000000"},
      {"learning_rate: 0.01", "learning_rate: 0.01\n  beta2: 1",
       "j.yaml:17:3: optimizer.beta2: found 1, allowed at least 0 and less than 1"},
      {"learning_rate: 0.01", "learning_rate: 0.01\n  epsilon: 0",
       "j.yaml:17:3: optimizer.epsilon: found 0, allowed more than 0 and at most 1"},
      {"learning_rate: 0.01", "learning_rate: 0.01\n  clip_norm: -1",
       "j.yaml:17:3: optimizer.clip_norm: found -1, allowed at least 0 and at most 1e+09"},
      {"steps: 5", "steps: 0", "j.yaml:18:3: training.steps: found 0, allowed 1..1000000000"},
      {"global_batch_sequences: 3", "global_batch_sequences: 0",
       "j.yaml:19:3: training.global_batch_sequences: found 0, allowed 1..1048576"},
      {"steps: 5", "steps: 5\n  microbatch_sequences: 4",
       "j.yaml:19:3: training.microbatch_sequences: found 4, allowed 1..3 (global_batch_sequences)"},
      {"steps: 5", "steps: 5\n  evaluate_every: 6",
       "j.yaml:19:3: training.evaluate_every: found 6, allowed 0..5 (training.steps)"},
      {"steps: 5", "steps: 5\n  compute_dtype: float64",
       "j.yaml:19:3: training.compute_dtype: found float64, allowed float32, bfloat16"},
      {"steps: 5", "steps: 5\n  recompute: all",
       "j.yaml:19:3: training.recompute: found all, allowed none, moe, full"},
      {"steps: 5", "steps: 5\n  evaluation_sequences: 0",
       "j.yaml:19:3: training.evaluation_sequences: found 0, allowed 1..1048576"},
      {"ranks: 2", "ranks: 0", "j.yaml:21:3: placement.ranks: found 0, allowed 1..16384"},
      {"slots_per_rank: 2", "slots_per_rank: 1",
       "j.yaml:22:3: placement.slots_per_rank: found 1, allowed 2..4 (2 ranks must hold 4 experts)"},
      {"slots_per_rank: 2", "slots_per_rank: 5",
       "j.yaml:22:3: placement.slots_per_rank: found 5, allowed 2..4 (2 ranks must hold 4 experts)"},
      {"slots_per_rank: 2", "slots_per_rank: 2\n  block_elements: 0",
       "j.yaml:23:3: placement.block_elements: found 0, allowed 1..1073741824"},
      {"slots_per_rank: 2", "slots_per_rank: 2\n  home_move_bytes_max: 100",
       "j.yaml:23:3: placement.home_move_bytes_max: found 100, allowed at least 24672 (one block), or 0 for "
       "the default"},
      {"slots_per_rank: 2", "slots_per_rank: 2\nplanner:\n  strategy: best",
       "j.yaml:24:3: planner.strategy: found best, allowed auto, contiguous, greedy"},
      {"slots_per_rank: 2", "slots_per_rank: 2\nplanner:\n  plan_every_steps: 0",
       "j.yaml:24:3: planner.plan_every_steps: found 0, allowed 1..1000000000"},
      {"slots_per_rank: 2", "slots_per_rank: 2\nplanner:\n  predictor_ewma: 0",
       "j.yaml:24:3: planner.predictor_ewma: found 0, allowed more than 0 and at most 1"},
      {"slots_per_rank: 2", "slots_per_rank: 2\ncheckpoint:\n  every_steps: 10",
       "j.yaml:23:1: checkpoint.path: found nothing, and every_steps is 10, allowed a directory that every "
       "worker sees"},
      {"slots_per_rank: 2", "slots_per_rank: 2\ncheckpoint:\n  path: /c\n  keep_last: 0",
       "j.yaml:25:3: checkpoint.keep_last: found 0, allowed 1..1048576"},
      {"slots_per_rank: 2", "slots_per_rank: 2\ncheckpoint:\n  path: /c\n  every_steps: -1",
       "j.yaml:25:3: checkpoint.every_steps: found -1, allowed 0..1000000000"},
      {"slots_per_rank: 2", "slots_per_rank: 2\nschedule:\n  all_to_all: warp",
       "j.yaml:24:3: schedule.all_to_all: found warp, allowed direct, rails, two_level"},
      {"slots_per_rank: 2", "slots_per_rank: 2\nschedule:\n  chunks: 0",
       "j.yaml:24:3: schedule.chunks: found 0, allowed 1..1048576"},
      {"slots_per_rank: 2", "slots_per_rank: 2\nschedule:\n  dispatch_compressor: zip",
       "j.yaml:24:3: schedule.dispatch_compressor: found zip, allowed none, bf16"},
      {"slots_per_rank: 2", "slots_per_rank: 2\nranks:\n  min: 3",
       "j.yaml:24:3: ranks.min: found 3, allowed 1..2 (ranks.max)"},
      {"slots_per_rank: 2", "slots_per_rank: 2\nranks:\n  max: 4",
       "j.yaml:21:3: placement.ranks: found 2, allowed 4 (ranks.max), or leave it out"},
      {"slots_per_rank: 2", "slots_per_rank: 2\nrecovery:\n  max_recoveries: -1",
       "j.yaml:24:3: recovery.max_recoveries: found -1, allowed 0..100"},
      {"slots_per_rank: 2", "slots_per_rank: 2\nrecovery:\n  window_s: 0",
       "j.yaml:24:3: recovery.window_s: found 0, allowed 1..1000000"},
  };
  for (const Case& c : cases) EXPECT_EQ(ErrorOf(Changed(c.from, c.to)), c.error) << c.to;
}

TEST(JobReader, RanksAreOneNumberOrARange) {
  const auto one = ReadJob({"j.yaml", kSmall}, kStrategies);
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ(one->ranks_min(), 2);
  EXPECT_EQ(one->ranks_max(), 2);
  EXPECT_EQ(one->recovery.max_recoveries, 5);
  const auto range =
      ReadJob({"j.yaml", Changed("  ranks: 2\n", "") + "ranks: {min: 2, max: 3}\n"}, kStrategies);
  ASSERT_TRUE(range.ok()) << range.status();
  EXPECT_EQ(range->ranks_min(), 2);
  EXPECT_EQ(range->ranks_max(), 3);
  // A job made by a program says nothing of the fewest ranks: it needs all.
  JobConfig made = *one;
  made.placement.ranks_min = 0;
  EXPECT_EQ(made.ranks_min(), 2);
}

TEST(JobReader, ModelsThatNobodyCanHoldAreRefused) {
  EXPECT_EQ(
      ErrorOf(absl::StrReplaceAll(kSmall, {{"layers: 1", "layers: 1000"}, {"experts: 4", "experts: 1000"}})),
      "j.yaml:7:5: model.moe.experts: found 1000 in each of 1000 layers, allowed 131072 in all");
  std::string error =
      ErrorOf(Changed("slots_per_rank: 2", "slots_per_rank: 2\n  home_elements_per_rank: 100"));
  EXPECT_EQ(error.substr(0, 93),
            "j.yaml:23:3: placement.home_elements_per_rank: found 100, but the contiguous plan on 2 ranks ")
      << error;
}

}  // namespace
}  // namespace ballast

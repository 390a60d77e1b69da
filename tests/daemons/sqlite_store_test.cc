#include "coordinator/sqlite_store.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "base/clock.h"
#include "coordinator/sqlite.h"
#include "tests/base/temp_dir.h"
#include "tests/wire/random_values.h"
#include "wire/records_codec.h"

namespace ballast {
namespace {

std::unique_ptr<StateStore> MustOpen(const std::string& directory) {
  absl::StatusOr<std::unique_ptr<StateStore>> store = OpenSqliteStore(directory);
  EXPECT_TRUE(store.ok()) << store.status();
  return *std::move(store);
}

JobRecord MakeJob(const std::string& name, int64_t order) {
  Rng rng(17);
  JobRecord job = RandomJobRecord(rng);
  auto config = std::make_shared<JobConfig>(*job.config);
  config->name = JobId(name);
  job.config = config;
  job.order = order;
  return job;
}

PlanRecord MakePlan(uint64_t seed) {
  Rng rng(seed);
  PlanRecord plan = RandomPlanRecord(rng);
  plan.digest = Digest(*plan.plan);  // checked when it is read
  return plan;
}

TEST(SqliteStore, KeepsEverythingOverAReopening) {
  TempDir dir;
  JobRecord first = MakeJob("first", 1);
  JobRecord second = MakeJob("second", 2);
  PlanRecord plan = MakePlan(3);
  Rng rng(4);
  GenerationRecord generation = RandomGenerationRecord(rng);
  CheckpointRecord checkpoint = RandomCheckpointRecord(rng);
  const WorkerRecord worker{WorkerId("w1"), true};
  Term term;
  {
    std::unique_ptr<StateStore> store = MustOpen(dir / "data");
    term = store->Acquire(Term(0)).value();
    ASSERT_TRUE(store->Commit({term, {second, first, plan, generation, checkpoint, worker}}).ok());
    first.reason = "replaced";
    ASSERT_TRUE(store->Commit({term, {first}}).ok());
  }
  std::unique_ptr<StateStore> store = MustOpen(dir / "data");
  EXPECT_EQ(store->Acquire(Term(0)).value(), term.Next());
  StoreContents contents = store->Load().value();
  ASSERT_EQ(contents.jobs.size(), 2u);
  EXPECT_EQ(EncodeRecord(contents.jobs[0]), EncodeRecord(first)) << "jobs come in order of submission";
  EXPECT_EQ(EncodeRecord(contents.jobs[1]), EncodeRecord(second));
  ASSERT_EQ(contents.plans.size(), 1u);
  EXPECT_EQ(EncodeRecord(contents.plans[0]), EncodeRecord(plan));
  ASSERT_EQ(contents.generations.size(), 1u);
  EXPECT_EQ(EncodeRecord(contents.generations[0]), EncodeRecord(generation));
  ASSERT_EQ(contents.checkpoints.size(), 1u);
  EXPECT_EQ(EncodeRecord(contents.checkpoints[0]), EncodeRecord(checkpoint));
  ASSERT_EQ(contents.workers.size(), 1u);
  EXPECT_EQ(contents.workers[0].worker, worker.worker);
  EXPECT_TRUE(contents.workers[0].cordoned);
}

// What the first version's program has left: everything but the checkpoints.
TEST(SqliteStore, AnOlderStoreIsBroughtUpToDate) {
  TempDir dir;
  JobRecord job = MakeJob("first", 1);
  {
    std::unique_ptr<StateStore> store = MustOpen(dir.path());
    ASSERT_TRUE(store->Commit({store->Acquire(Term(4)).value(), {job}}).ok());
  }
  ASSERT_TRUE(SqliteDatabase::Open(dir / "ballast.db")
                  ->Execute("DROP TABLE checkpoints; DROP TABLE events; DROP TABLE explanations; "
                            "DROP TABLE workers; PRAGMA user_version=1")
                  .ok());
  std::unique_ptr<StateStore> store = MustOpen(dir.path());
  Rng rng(4);
  CheckpointRecord checkpoint = RandomCheckpointRecord(rng);
  ASSERT_TRUE(store->Commit({store->Acquire(Term(0)).value(), {checkpoint}}).ok());
  StoreContents contents = store->Load().value();
  ASSERT_EQ(contents.jobs.size(), 1u);
  EXPECT_EQ(EncodeRecord(contents.jobs[0]), EncodeRecord(job));
  ASSERT_EQ(contents.checkpoints.size(), 1u);
}

TEST(SqliteStore, AnEarlierTermWritesNothing) {
  TempDir dir;
  std::unique_ptr<StateStore> store = MustOpen(dir.path());
  Term old_term = store->Acquire(Term(0)).value();
  Term new_term = store->Acquire(Term(0)).value();
  EXPECT_GT(new_term, old_term);
  absl::Status refused = store->Commit({old_term, {MakeJob("late", 1)}});
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(refused.message(), "term 1 was fenced: term 2 leads");
  EXPECT_EQ(store->Commit({old_term, {}}).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(store->Load().value().jobs.empty());
  EXPECT_TRUE(store->Commit({new_term, {MakeJob("now", 1)}}).ok());
  EXPECT_EQ(store->Load().value().jobs.size(), 1u);
}

TEST(SqliteStore, AdoptingJumpsOverTheHighestTermSeen) {
  TempDir dir;
  std::unique_ptr<StateStore> store = MustOpen(dir.path());
  EXPECT_EQ(store->Acquire(Term(41)).value(), Term(42));
  EXPECT_EQ(store->Acquire(Term(7)).value(), Term(43));
}

TEST(SqliteStore, ASecondProcessIsKeptOffTheDirectory) {
  TempDir dir;
  std::unique_ptr<StateStore> store = MustOpen(dir.path());
  pid_t child = fork();
  if (child == 0) {
    absl::StatusOr<std::unique_ptr<StateStore>> second = OpenSqliteStore(dir.path());
    bool right = second.status().code() == absl::StatusCode::kFailedPrecondition &&
                 second.status().message().find("used by another coordinator (process " +
                                                std::to_string(getppid())) != absl::string_view::npos;
    if (!right) std::fprintf(stderr, "%s\n", second.status().ToString().c_str());
    _exit(right ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  store.reset();
  MustOpen(dir.path());  // free again
}

TEST(SqliteStore, WhatWasAcknowledgedSurvivesKillAndLeavesNoLock) {
  TempDir dir;
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  pid_t child = fork();
  if (child == 0) {
    std::unique_ptr<StateStore> store = MustOpen(dir.path());
    Term term = store->Acquire(Term(0)).value();
    for (int64_t i = 1;; ++i) {
      if (!store->Commit({term, {MakeJob("job", i)}}).ok()) _exit(1);
      if (write(pipe_ends[1], &i, sizeof i) != sizeof i) _exit(1);  // acknowledged
    }
  }
  int64_t acknowledged = 0;
  while (acknowledged < 20) ASSERT_EQ(read(pipe_ends[0], &acknowledged, sizeof acknowledged), 8);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(pipe_ends[1]);
  while (read(pipe_ends[0], &acknowledged, sizeof acknowledged) == 8) {
  }
  close(pipe_ends[0]);
  StoreContents contents = MustOpen(dir.path())->Load().value();
  ASSERT_EQ(contents.jobs.size(), 1u);
  // The kill may have come between the commit and its acknowledgement.
  EXPECT_GE(contents.jobs[0].order, acknowledged);
  EXPECT_LE(contents.jobs[0].order, acknowledged + 1);
}

TEST(SqliteStore, KeepsTheNewestEventsOfEachJob) {
  TempDir dir;
  Rng rng(6);
  std::vector<RecordWrite> writes;
  for (const char* job : {"long", "short"}) {
    const int64_t last = job == std::string("long") ? kEventsMax + 5 : 2;
    for (int64_t number = 1; number <= last; ++number) {
      JobEvent event = RandomJobEvent(rng);
      event.job = JobId(job);
      event.number = number;
      writes.push_back(event);
    }
  }
  {
    std::unique_ptr<StateStore> store = MustOpen(dir.path());
    ASSERT_TRUE(store->Commit({store->Acquire(Term(0)).value(), writes}).ok());
  }
  const StoreContents contents = MustOpen(dir.path())->Load().value();
  ASSERT_EQ(contents.events.size(), static_cast<size_t>(kEventsMax + 2));
  for (size_t i = 0; i < contents.events.size(); ++i) {
    EXPECT_EQ(contents.events[i], std::get<JobEvent>(writes[i + 5])) << i;
  }
}

TEST(SqliteStore, KeepsTheExplanationsOfTheNewestPlans) {
  TempDir dir;
  Rng rng(8);
  std::vector<ExplanationRecord> records;
  for (const char* job : {"long", "short"}) {
    const size_t count = job == std::string("long") ? kExplanationsMax + 3 : 2;
    for (size_t i = 0; i < count; ++i) {
      ExplanationRecord record = RandomExplanationRecord(rng);
      record.job = JobId(job);
      record.version = PlanVersion(static_cast<int64_t>(3 * i + 1));  // not every plan has one
      records.push_back(record);
    }
  }
  {
    std::unique_ptr<StateStore> store = MustOpen(dir.path());
    const Term term = store->Acquire(Term(0)).value();
    for (const ExplanationRecord& record : records) ASSERT_TRUE(store->Commit({term, {record}}).ok());
    records.back().measured.complete = true;
    ASSERT_TRUE(store->Commit({term, {records.back()}}).ok()) << "replaces";
  }
  const StoreContents contents = MustOpen(dir.path())->Load().value();
  ASSERT_EQ(contents.explanations.size(), kExplanationsMax + 2);
  for (size_t i = 0; i < contents.explanations.size(); ++i) {
    EXPECT_EQ(EncodeRecord(contents.explanations[i]), EncodeRecord(records[i + 3])) << i;
  }
}

TEST(SqliteStore, ANewerSchemaIsRefused) {
  TempDir dir;
  MustOpen(dir.path());
  ASSERT_TRUE(SqliteDatabase::Open(dir / "ballast.db")->Execute("PRAGMA user_version=7").ok());
  absl::StatusOr<std::unique_ptr<StateStore>> store = OpenSqliteStore(dir.path());
  EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(std::string(store.status().message()),
            dir / "ballast.db: schema version 7, this program knows 5; start the newer program again");
}

TEST(SqliteStore, AFileThatIsNoDatabaseIsAnError) {
  TempDir dir;
  FILE* file = fopen((dir / "ballast.db").c_str(), "w");
  std::string noise(5000, 'x');
  fputs(noise.c_str(), file);
  fclose(file);
  absl::StatusOr<std::unique_ptr<StateStore>> store = OpenSqliteStore(dir.path());
  EXPECT_NE(store.status().message().find("not a database"), absl::string_view::npos) << store.status();
  EXPECT_FALSE(OpenSqliteStore(dir / "missing/below").ok());
}

TEST(SqliteStore, ADamagedRecordIsAnErrorOfLoad) {
  TempDir dir;
  std::unique_ptr<StateStore> store = MustOpen(dir.path());
  Term term = store->Acquire(Term(0)).value();
  ASSERT_TRUE(store->Commit({term, {MakePlan(5)}}).ok());
  ASSERT_TRUE(SqliteDatabase::Open(dir / "ballast.db")->Execute("UPDATE plans SET record = x'ff'").ok());
  EXPECT_EQ(store->Load().status().code(), absl::StatusCode::kDataLoss);
}

TEST(SqliteStore, ALockedFileIsNeitherOkNorFenced) {
  TempDir dir;
  std::unique_ptr<StateStore> store = MustOpen(dir.path());
  Term term = store->Acquire(Term(0)).value();
  SqliteDatabase other = SqliteDatabase::Open(dir / "ballast.db").value();
  ASSERT_TRUE(other.Execute("BEGIN IMMEDIATE").ok());
  absl::Status status = store->Commit({term, {MakeJob("job", 1)}});
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.code(), absl::StatusCode::kFailedPrecondition) << "locked is not fenced: " << status;
  ASSERT_TRUE(other.Execute("ROLLBACK").ok());
  EXPECT_TRUE(store->Commit({term, {MakeJob("job", 1)}}).ok());
}

}  // namespace
}  // namespace ballast

// ballastctl against a coordinator that only pretends, over mutual TLS: output, waiting, exit codes.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "ctl/certs.h"
#include "ctl/cli.h"
#include "ctl/exit_code.h"
#include "net/certificates.h"
#include "replay/npy.h"
#include "tests/base/temp_dir.h"
#include "tests/ctl/fake_control.h"

namespace ballast {
namespace {

struct Result {
  int code = 0;
  std::string out;
  std::string err;
};

class CtlServer : public testing::Test {
 protected:
  void SetUp() override {
    setenv("GRPC_VERBOSITY", "NONE", 0);
    DevCertificates request;
    request.folder = folder_.path();
    request.operators = {"me"};
    auto certificates = WriteDevCertificates(request);
    ASSERT_TRUE(certificates.ok()) << certificates.status();
    auto credentials = MakeServerCredentials(Files("coordinator"));
    ASSERT_TRUE(credentials.ok()) << credentials.status();
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", *credentials, &port);
    builder.RegisterService(&control_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    address_ = "127.0.0.1:" + std::to_string(port);
  }
  void TearDown() override {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  }

  CertificateFiles Files(const std::string& name) const {
    return {folder_.path() + "/ca.pem", folder_.path() + "/" + name + ".pem",
            folder_.path() + "/" + name + ".key", false};
  }

  Result Ctl(std::vector<std::string> arguments) {
    CertificateFiles files = Files("operator-me");
    for (const std::string& flag : {std::string("--coordinator"), address_, std::string("--ca"), files.ca,
                                    std::string("--cert"), files.cert, std::string("--key"), files.key}) {
      arguments.push_back(flag);
    }
    return Plain(arguments);
  }
  static Result Plain(const std::vector<std::string>& arguments) {
    std::ostringstream out, err;
    int code = RunCli(arguments, out, err, false);
    return {code, out.str(), err.str()};
  }

  TempDir folder_;
  FakeControl control_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

TEST_F(CtlServer, JobsAsTableAndJson) {
  Result table = Ctl({"job", "list"});
  ASSERT_EQ(table.code, kExitOk) << table.err;
  EXPECT_EQ(table.out,
            "NAME  STATE      STEP  PLAN  TOKENS/S  ETA  REASON\n"
            "demo  SUCCEEDED   2/2     0       512    -\n");
  Result json = Ctl({"job", "list", "-o", "json"});
  EXPECT_EQ(nlohmann::json::parse(json.out)[0]["state"], "SUCCEEDED");
  Result one = Ctl({"job", "get", "demo", "-o", "json"});
  EXPECT_EQ(nlohmann::json::parse(one.out)["state"], "SUCCEEDED") << one.out;
  // Left out, the only job is meant.
  EXPECT_EQ(Ctl({"job", "get", "-o", "json"}).out, one.out);
}

TEST_F(CtlServer, EventsAsTableAndJsonAndAsTheyCome) {
  Result table = Ctl({"job", "events", "demo", "--since", "2023-11-14T22:13:20Z"});
  ASSERT_EQ(table.code, kExitOk) << table.err;
  EXPECT_EQ(control_.events_asked.since_unix_ms(), 1'700'000'000'000);
  EXPECT_EQ(table.out,
            "                    TIME  STEP  KIND   PLAN  WHAT\n"
            "2023-11-14T22:13:20.250Z     0  state     -  what 0\n"
            "2023-11-14T22:13:20.251Z    10  plan      1  what 1\n");
  EXPECT_EQ(table.err, "3 older events are not kept any more\n");
  control_.event_polls = 0;
  Result json = Ctl({"job", "events", "demo", "-o", "json"});
  EXPECT_EQ(nlohmann::json::parse(json.out)[1],
            nlohmann::json::parse(R"({"number": 5, "unix_ms": 1700000000251, "step": 10, "kind": "plan",
                                      "plan_version": 1, "text": "what 1"})"));
  control_.event_polls = 0;
  Result follow = Ctl({"job", "events", "demo", "--follow", "-o", "json"});
  EXPECT_EQ(follow.code, kExitOk);
  std::istringstream lines(follow.out);
  int next = 4;
  for (std::string line; std::getline(lines, line); ++next) {
    EXPECT_EQ(nlohmann::json::parse(line)["number"], next);
  }
  EXPECT_EQ(next, 8) << "each event once, until the job has ended";
  EXPECT_EQ(Ctl({"job", "events", "demo", "--since", "yesterday"}).code, kExitUsage);
}

TEST_F(CtlServer, AnExplanationForPeopleAndPrograms) {
  const Result people = Ctl({"plan", "explain", "demo", "7"});
  ASSERT_EQ(people.code, kExitOk) << people.err;
  EXPECT_EQ(people.out,
            "plan         7 of job demo: ACTIVE since step 12\n"
            "reason       imbalance 1.60 -> 1.05 predicted, 2 slot writes\n"
            "made by      auto at step 9, from the loads of steps 1 to 9\n"
            "verdict      imbalance 1.60 -> 1.05 predicted, 2 slot writes\n"
            "prices       flat\n"
            "predicted    imbalance 1.600 -> 1.050; no placement gets below 1.010\n"
            "cost         2 slot writes (4096 bytes of weights, with the refresh), 0 home moves (0 bytes)\n"
            "measured     steps 12 to 31: imbalance 1.060, with the plan before it would have been 1.620\n"
            "step time    0.5 s before, 0.25 s under it (medians); at the switch 0.75 s\n"
            "\n"
            "LAYER  BOUND  BEFORE  AFTER  HOTTEST                           WHY\n"
            "    0  1.010   1.600  1.050  expert 1: 70 %, 2: 20 %, 0: 10 %  J 1.0500 instead of 1.6000\n"
            "\n"
            "LAYER  CANDIDATE        IMBALANCE  COST J    LOAD    SYNC   PORTS   MOVES  SLOT WRITES\n"
            "    0  splitpack + 0 %      1.050  1.0512  1.0500  0.0010  0.0000  0.0002            2  chosen\n"
            "\n"
            "last look    step 41, auto: no better placement\n");
  const Result programs = Ctl({"plan", "explain", "demo", "7", "-o", "json"});
  const nlohmann::json json = nlohmann::json::parse(programs.out);
  EXPECT_EQ(json["explanation"]["layers"][0]["load"], nlohmann::json({10, 70, 20}));
  EXPECT_EQ(json["measured"]["imbalance_without"], 1.62);
}

TEST_F(CtlServer, ATraceHoldsTheStepsThatEveryLayerHas) {
  const std::string file = folder_.path() + "/trace.npy";
  const Result result = Ctl({"trace", "save", "demo", "--out", file, "--follow"});
  ASSERT_EQ(result.code, kExitOk) << result.err;
  EXPECT_EQ(result.out, file + ": 2 steps, 2 to 4; 1 between them were never reported\n");
  std::stringstream bytes;
  bytes << std::ifstream(file, std::ios::binary).rdbuf();
  const auto array = NpyArray::Parse(bytes.str());
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(array->shape(), (std::vector<int64_t>{2, 2, 1, 3}));
  std::vector<int64_t> values;
  for (int64_t i = 0; i < array->size(); ++i) values.push_back(*array->At(i));
  EXPECT_EQ(values, (std::vector<int64_t>{200'000, 200'001, 200'002, 200'010, 200'011, 200'012,  //
                                          400'000, 400'001, 400'002, 400'010, 400'011, 400'012}));
  EXPECT_EQ(Ctl({"replay", "--loads", file, "--gpus", "3", "--slots", "2"}).code, kExitOk);
}

TEST_F(CtlServer, ATraceHoldsWhatSampledTokensChoseAsReplayReadsIt) {
  const std::string loads = folder_.path() + "/trace.npy", file = folder_.path() + "/tokens.npy";
  const Result result = Ctl({"trace", "save", "demo", "--out", loads, "--follow", "--tokens", file});
  ASSERT_EQ(result.code, kExitOk) << result.err;
  EXPECT_NE(result.out.find(file + ": 3 sequences of 2 tokens\n"), std::string::npos) << result.out;
  std::stringstream bytes;
  bytes << std::ifstream(file, std::ios::binary).rdbuf();
  const auto array = NpyArray::Parse(bytes.str());
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(array->shape(), (std::vector<int64_t>{2, 6, 2})) << "[layer][token][k]";
  std::vector<int64_t> values;
  for (int64_t i = 0; i < array->size(); ++i) values.push_back(*array->At(i));
  EXPECT_EQ(values, (std::vector<int64_t>{0, 1, 0, 1, 1, 0, 2, 0, 0, 2, 1, 2,  //
                                          1, 2, 1, 2, 2, 1, 0, 1, 2, 0, 2, 1}));
  const std::vector<std::string> replay = {"replay", "--loads", loads, "--gpus",   "2",  "--gpus-per-node",
                                           "1",      "--slots", "2",   "--tokens", file, "--strategy"};
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> all = replay;
    all.insert(all.end(), more.begin(), more.end());
    return Ctl(all);
  };
  for (const char* strategy : {"coactivation", "kmeans", "genetic"}) {
    const Result pairs = with({strategy});
    EXPECT_EQ(pairs.code, kExitOk) << strategy << ": " << pairs.err;
  }
  const Result sequences = with({"kmeans", "--sequence-length", "2"});
  EXPECT_EQ(sequences.code, kExitOk) << sequences.err;
  const Result placed = Ctl({"place", "--loads", loads, "--gpus", "2", "--gpus-per-node", "1", "--slots", "2",
                             "--tokens", file, "--strategy", "coactivation"});
  EXPECT_EQ(placed.code, kExitOk) << placed.err;
  control_.no_tokens = true;
  const Result none = Ctl({"trace", "save", "demo", "--out", loads, "--follow", "--tokens", file});
  EXPECT_EQ(none.code, kExitConflict) << none.err;
  EXPECT_NE(none.err.find("planner.strategy is coactivation, genetic, kmeans"), std::string::npos)
      << none.err;
}

TEST_F(CtlServer, ExitCodes) {
  EXPECT_EQ(Ctl({"job", "get", "other"}).code, kExitNotFound);
  EXPECT_EQ(Ctl({"job", "get", "other"}).err, "ballastctl: no job other\n");
  EXPECT_EQ(Ctl({"job", "stop", "demo"}).code, kExitConflict);
  EXPECT_EQ(Ctl({"adopt"}).code, kExitDenied);
  EXPECT_EQ(Ctl({"strategies"}).code, kExitError);  // this pretended coordinator has no such RPC
  Result slow = Ctl({"job", "get", "hang", "--timeout", "0.2"});
  EXPECT_EQ(slow.code, kExitTimedOut) << slow.err;
  Result plaintext = Plain({"job", "list", "--coordinator", address_, "--insecure", "--timeout", "5"});
  EXPECT_TRUE(plaintext.code == kExitUnavailable || plaintext.code == kExitDenied)
      << plaintext.code << plaintext.err;
  EXPECT_NE(plaintext.err.find("--insecure"), std::string::npos) << plaintext.err;
}

TEST_F(CtlServer, AForeignAuthorityIsExplained) {
  TempDir other;
  DevCertificates request;
  request.folder = other.path();
  request.operators = {"me"};
  ASSERT_TRUE(WriteDevCertificates(request).ok());
  std::vector<std::string> own = {"job",           "list",
                                  "--coordinator", address_,
                                  "--timeout",     "5",
                                  "--ca",          other.path() + "/ca.pem",
                                  "--cert",        other.path() + "/operator-me.pem",
                                  "--key",         other.path() + "/operator-me.key"};
  Result all_foreign = Plain(own);
  EXPECT_TRUE(all_foreign.code == kExitDenied || all_foreign.code == kExitUnavailable) << all_foreign.code;
  EXPECT_NE(all_foreign.err.find("--ca"), std::string::npos) << all_foreign.err;
  own[7] = folder_.path() + "/ca.pem";  // it trusts the server, which does not trust it
  Result foreign_client = Plain(own);
  EXPECT_TRUE(foreign_client.code == kExitDenied || foreign_client.code == kExitUnavailable)
      << foreign_client.code;
  EXPECT_NE(foreign_client.err.find("cert"), std::string::npos) << foreign_client.err;
}

TEST_F(CtlServer, WatchOpensABrokenStreamAgainAndRepeatsNothing) {
  Result table = Ctl({"job", "watch", "demo"});
  EXPECT_EQ(table.code, kExitOk) << table.err;
  EXPECT_EQ(table.out,
            "job demo: RUNNING\n"
            "step 1/2  loss 1.3333  1000 tokens/s  imbalance 1.25  plan 3  ETA 1m01s\n"
            "step 2: plan 3 active: 5 slot writes\n"
            "step 2/2  loss 2.3333  1000 tokens/s  imbalance 1.25  plan 3  ETA 1m01s\n"
            "job demo: SUCCEEDED\n");
  EXPECT_NE(table.err.find("waiting for the coordinator"), std::string::npos) << table.err;
}

TEST_F(CtlServer, WatchInJsonIsOneObjectPerStep) {
  Result json = Ctl({"job", "watch", "demo", "-o", "json"});
  EXPECT_EQ(json.code, kExitOk) << json.err;
  std::istringstream lines(json.out);
  std::string line;
  for (int step = 1; step <= 2; ++step) {
    ASSERT_TRUE(std::getline(lines, line));
    auto object = nlohmann::ordered_json::parse(line);
    std::vector<std::string> keys;
    for (const auto& [key, value] : object.items()) keys.push_back(key);
    EXPECT_EQ(keys, (std::vector<std::string>{"step", "loss", "tokens_per_s", "imbalance", "plan_version",
                                              "eta_s"}));
    EXPECT_EQ(object["step"], step);
    EXPECT_EQ(object["loss"].get<double>(), 1.0 / 3 + step);  // to the last bit
  }
  EXPECT_NE(json.out.find("1.3333333333333333"), std::string::npos);
  EXPECT_FALSE(std::getline(lines, line)) << line;
}

TEST_F(CtlServer, AFailedJobIsExitCodeOne) {
  control_.state = v1::JOB_STATE_FAILED;
  EXPECT_EQ(Ctl({"job", "watch", "demo"}).code, kExitError);
  Result summary = Ctl({"job", "summary", "demo"});
  EXPECT_EQ(summary.code, kExitConflict);
  EXPECT_EQ(summary.err, "ballastctl: job demo is FAILED; a summary is for jobs that SUCCEEDED\n");
}

TEST_F(CtlServer, SummaryHasExactlyTheKeysOfARun) {
  Result summary = Ctl({"job", "summary", "demo"});
  ASSERT_EQ(summary.code, kExitOk) << summary.err;
  EXPECT_EQ(summary.out,
            "{\"steps\":2,\"loss_first\":5.0,\"loss_last\":1.6666666666666665,"
            "\"loss_by_source\":{\"zulu\":[6.0,2.0],\"alpha\":[4.0,1.3333333333333333]},"
            "\"plans_committed\":4,\"slot_writes\":7,\"imbalance_before\":2.0,\"imbalance_after\":1.25,"
            "\"tokens_per_s\":512.5,\"step_s_predicted\":null,\"step_s_measured\":null}\n");
}

TEST_F(CtlServer, PushSendsTheFileAndWaits) {
  std::string file =
      folder_.Write("plan.yaml", "base_version: 3\nlayers:\n  - layer: 0\n    hosts: [[0], [1]]\n");
  Result dry = Ctl({"plan", "push", "demo", "-f", file, "--dry-run", "--wait"});
  ASSERT_EQ(dry.code, kExitOk) << dry.err;
  EXPECT_EQ(dry.out, "dry run: 1 slot write\n");
  EXPECT_TRUE(control_.pushed.dry_run());
  EXPECT_EQ(control_.plan_polls, 0);

  Result push = Ctl({"plan", "push", "--job", "demo", "-f", file, "--wait"});
  EXPECT_EQ(push.code, kExitOk) << push.err;
  EXPECT_EQ(push.out, "plan 4: 1 slot write\n");
  EXPECT_EQ(control_.pushed.plan().layers(0).hosts(1).experts(0), 1);
  EXPECT_GE(control_.plan_polls, 2);

  control_.plan_end = v1::PLAN_STATE_ABORTED;
  Result refused = Ctl({"plan", "push", "demo", "-f", file, "--wait"});
  EXPECT_EQ(refused.code, kExitConflict);
  EXPECT_EQ(refused.err, "ballastctl: plan 4 is ABORTED: worker w1: not enough memory\n");
}

TEST_F(CtlServer, WhatTheCoordinatorRefusesIsShownAtItsPlace) {
  std::string file =
      folder_.Write("plan.yaml", "base_version: 9\nlayers:\n  - layer: 0\n    hosts: [[0], [9]]\n");
  Result run = Ctl({"plan", "push", "demo", "-f", file});
  EXPECT_EQ(run.code, kExitUsage);
  EXPECT_EQ(run.err, "ballastctl: " + file + ":4:19: layers[0].hosts[1][0]: found expert 9, allowed 0..7\n");
}

}  // namespace
}  // namespace ballast

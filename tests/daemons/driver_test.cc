// The driver's promises: durable before sent, one answer for every question, an end that leaves nobody
// waiting.
#include "coordinator/driver.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/mutex.h"
#include "coordinator/memory_store.h"
#include "protocol/version.h"
#include "tests/coordinator/small_job.h"

namespace ballast {
namespace {

// A MemoryStore that fails from a given commit on, and remembers what was durable when.
class UnreliableStore final : public StateStore {
 public:
  explicit UnreliableStore(absl::Status failure) : failure_(std::move(failure)) {}
  absl::StatusOr<Term> Acquire(Term at_least) override { return inner_.Acquire(at_least); }
  absl::StatusOr<StoreContents> Load() override { return inner_.Load(); }
  absl::Status Commit(const Transaction& transaction) override {
    if (failing) return failure_;
    ++commits;
    return inner_.Commit(transaction);
  }
  std::atomic<bool> failing{false};
  std::atomic<int> commits{0};

 private:
  const absl::Status failure_;
  MemoryStore inner_;
};

class FakeStream final : public WorkerStream {
 public:
  explicit FakeStream(UnreliableStore* store) : store_(store) {}
  void Send(const CoordinatorMessage& message) override {
    MutexLock lock(mutex_);
    sent_.push_back(ToString(message));
    if (std::holds_alternative<Assign>(message)) commits_at_assign_ = store_->commits;
  }
  void Close(const std::string& reason) override {
    MutexLock lock(mutex_);
    closed_ = true;
    reason_ = reason;
  }
  void KeepAlive(Time) override { ++kept_alive; }
  bool closed() const override {
    MutexLock lock(mutex_);
    return closed_;
  }
  std::vector<std::string> sent() const {
    MutexLock lock(mutex_);
    return sent_;
  }
  std::string reason() const {
    MutexLock lock(mutex_);
    return reason_;
  }
  int commits_at_assign() const {
    MutexLock lock(mutex_);
    return commits_at_assign_;
  }
  std::atomic<int> kept_alive{0};

 private:
  UnreliableStore* const store_;
  mutable Mutex mutex_;
  std::vector<std::string> sent_ GUARDED_BY(mutex_);
  bool closed_ GUARDED_BY(mutex_) = false;
  std::string reason_ GUARDED_BY(mutex_);
  int commits_at_assign_ GUARDED_BY(mutex_) = -1;
};

bool Eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 500; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

class DriverTest : public testing::Test {
 protected:
  explicit DriverTest(absl::Status failure = absl::UnknownError("the disk is gone")) {
    auto store = std::make_unique<UnreliableStore>(std::move(failure));
    store_ = store.get();
    DriverOptions options;
    options.tick = Seconds(0.02);
    options.reply_deadline = Seconds(5);
    driver_ = std::make_unique<Driver>(std::move(store), options,
                                       [this](const std::string& reason) { exit_reason_.set_value(reason); });
    BALLAST_CHECK_OK(driver_->Start());
    stream_ = std::make_shared<FakeStream>(store_);
  }
  Hello HelloOf(const std::string& name, int ranks) {
    Hello hello;
    hello.protocol_version = kProtocolVersion;
    hello.worker = WorkerId(name);
    hello.incarnation = Incarnation(1);
    hello.node = "node0";
    hello.device = "cpu";
    hello.ranks = ranks;
    hello.data_address = "127.0.0.1";
    hello.neighbour_address = "127.0.0.1:9";
    return hello;
  }
  void AttachWorker() {
    id_ = driver_->NewStreamId();
    driver_->Open(id_, stream_);
    ASSERT_TRUE(driver_->Attach(id_, HelloOf("w0", 2)));
    ASSERT_TRUE(Eventually([this] { return !stream_->sent().empty(); }));
  }
  // The status of the answer; waits for it.
  absl::Status Submit(const std::string& name) {
    std::promise<absl::Status> answer;
    bool taken =
        driver_->Ask([&](ReplyToken token) { return SubmitJob{.reply = token, .config = SmallJob(name, 2)}; },
                     [&answer](const Reply& reply, const Core&) { answer.set_value(reply.status); });
    if (!taken) return absl::CancelledError("not taken");
    return answer.get_future().get();
  }

  UnreliableStore* store_;
  std::promise<std::string> exit_reason_;
  std::unique_ptr<Driver> driver_;
  std::shared_ptr<FakeStream> stream_;
  StreamId id_;
};

TEST_F(DriverTest, AnAssignLeavesAfterItsGenerationIsDurable) {
  AttachWorker();
  EXPECT_EQ(stream_->sent()[0].substr(0, 7), "Welcome");
  int before = store_->commits;
  ASSERT_TRUE(Submit("demo").ok());
  ASSERT_TRUE(Eventually([this] { return stream_->commits_at_assign() >= 0; }));
  EXPECT_GT(stream_->commits_at_assign(), before);
  EXPECT_GT(stream_->kept_alive, 0);
}

TEST_F(DriverTest, AStoreWithAnUnknownResultEndsTheCoordinatorAndSendsNothing) {
  AttachWorker();
  size_t sent = stream_->sent().size();
  store_->failing = true;
  EXPECT_EQ(Submit("demo").code(), absl::StatusCode::kUnavailable) << "answered, though not decided";
  EXPECT_FALSE(exit_reason_.get_future().get().empty());
  EXPECT_TRUE(Eventually([this] { return stream_->closed(); }));
  EXPECT_EQ(stream_->sent().size(), sent) << "nothing may follow a write that is not known to be durable";
  EXPECT_TRUE(Eventually([this] { return !driver_->running(); }));
  EXPECT_EQ(Submit("late").code(), absl::StatusCode::kCancelled);
}

TEST_F(DriverTest, StopAnswersEverybody) {
  AttachWorker();
  ASSERT_TRUE(Submit("demo").ok());
  driver_->Stop();
  EXPECT_EQ(stream_->reason(), "the coordinator is stopping");
  EXPECT_FALSE(driver_->Read([](const Core*) { ADD_FAILURE() << "refused reads must not run"; }));
  EXPECT_FALSE(driver_->Say(id_, Finished{}));
  driver_->Stop();  // idempotent
}

TEST_F(DriverTest, AStreamThatClosedWithoutAWordIsNoticed) {
  AttachWorker();
  stream_->Close("broken");
  EXPECT_TRUE(Eventually([this] {
    std::promise<bool> attached;
    driver_->Read([&attached](const Core* core) { attached.set_value(core->Workers().at(0).attached); });
    return !attached.get_future().get();
  }));
}

}  // namespace
}  // namespace ballast

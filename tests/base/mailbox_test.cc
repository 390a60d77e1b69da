#include "base/mailbox.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace ballast {
namespace {

Time In(double seconds) { return SteadyClock().Now() + Seconds(seconds); }
// Long enough that only a hang reaches it.
constexpr double kNever = 60;

TEST(Mailbox, KeepsOrderAndRefusesWhatIsTooMuch) {
  Mailbox<int> mailbox(2);
  EXPECT_TRUE(mailbox.Post(1));
  EXPECT_TRUE(mailbox.Post(2));
  EXPECT_FALSE(mailbox.Post(3));
  EXPECT_EQ(mailbox.size(), 2u);
  EXPECT_EQ(mailbox.TakeUntil(In(kNever)), 1);
  EXPECT_TRUE(mailbox.Post(4));
  EXPECT_EQ(mailbox.TakeUntil(In(kNever)), 2);
  EXPECT_EQ(mailbox.TakeUntil(In(kNever)), 4);
}

TEST(Mailbox, WaitsNoLongerThanToldAndNoShorter) {
  Mailbox<int> mailbox(2);
  EXPECT_EQ(mailbox.TakeUntil(In(-1)), std::nullopt);
  const Time deadline = In(0.02);
  EXPECT_EQ(mailbox.TakeUntil(deadline), std::nullopt);
  EXPECT_GE(SteadyClock().Now(), deadline);
  ASSERT_TRUE(mailbox.Post(5));
  EXPECT_EQ(mailbox.TakeUntil(In(-1)), 5) << "an item that is there is taken whatever the time";
}

TEST(Mailbox, AClosedMailboxIsEmptiedFirst) {
  Mailbox<std::unique_ptr<int>> mailbox(4);  // items need not be copied
  ASSERT_TRUE(mailbox.Post(std::make_unique<int>(7)));
  EXPECT_FALSE(mailbox.closed());
  mailbox.Close();
  EXPECT_TRUE(mailbox.closed());
  EXPECT_FALSE(mailbox.Post(std::make_unique<int>(8)));
  const auto item = mailbox.TakeUntil(In(kNever));
  ASSERT_TRUE(item);
  EXPECT_EQ(**item, 7);
  EXPECT_EQ(mailbox.TakeUntil(In(kNever)), std::nullopt);
}

TEST(Mailbox, CloseWakesTheReceiver) {
  Mailbox<int> mailbox(1);
  std::optional<int> taken = 1;
  std::thread receiver([&] { taken = mailbox.TakeUntil(In(kNever)); });
  mailbox.Close();
  receiver.join();
  EXPECT_EQ(taken, std::nullopt);
}

TEST(Mailbox, ManySendersOneReceiver) {
  struct Item {
    int sender = 0;
    int number = 0;
  };
  constexpr int kSenders = 4, kItems = 2000;
  Mailbox<Item> mailbox(8);  // small, so that senders run into the bound
  std::vector<std::thread> senders;
  for (int s = 0; s < kSenders; ++s) {
    senders.emplace_back([&, s] {
      for (int i = 0; i < kItems; ++i) {
        while (!mailbox.Post({s, i})) std::this_thread::yield();
      }
    });
  }
  std::vector<int> next(kSenders, 0);
  for (int i = 0; i < kSenders * kItems; ++i) {
    const auto item = mailbox.TakeUntil(In(kNever));
    ASSERT_TRUE(item);
    EXPECT_EQ(item->number, next[item->sender]++) << "a sender's items came out of order";
  }
  for (std::thread& sender : senders) sender.join();
  EXPECT_EQ(mailbox.size(), 0u);
}

TEST(CondVar, ThreadsTakeTurns) {
  struct Turns {
    Mutex mutex;
    CondVar changed;
    int turn GUARDED_BY(mutex) = 0;
  } turns;
  constexpr int kRounds = 500;
  const auto play = [&](int self) {
    for (int i = 0; i < kRounds; ++i) {
      MutexLock lock(turns.mutex);
      while (turns.turn % 2 != self) turns.changed.Wait(turns.mutex);
      ++turns.turn;
      turns.changed.SignalAll();
    }
  };
  std::thread other(play, 1);
  play(0);
  other.join();
  MutexLock lock(turns.mutex);
  EXPECT_EQ(turns.turn, 2 * kRounds);
}

TEST(CondVar, WaitUntilSaysWhetherTheDeadlinePassed) {
  Mutex mutex;
  CondVar changed;
  MutexLock lock(mutex);
  const Time deadline = In(0.02);
  while (changed.WaitUntil(mutex, deadline)) {
  }
  EXPECT_GE(SteadyClock().Now(), deadline - Seconds(0.002)) << "woken by nobody, long before the deadline";
}

}  // namespace
}  // namespace ballast

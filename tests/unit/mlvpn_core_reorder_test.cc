// Order of DATA: what is waited for, what is given up, and that nothing stalls.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "bondd/mlvpn/core/reorder_buffer.h"
#include "bondd/mlvpn/core/replay.h"

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

// Packets are told apart by their size, which is their number modulo a prime.
struct Bench {
  BufferPool pool{600};
  Ring<PacketRef> out{4096};
  ReorderBuffer buffer{256, 800ms, pool, out};
  TimePoint now{1h};
  std::vector<std::uint32_t> got;

  static std::uint32_t mark(std::uint64_t seq) { return static_cast<std::uint32_t>(seq % 100'003 + 1); }
  void insert(LinkId link, std::uint64_t seq) {
    auto packet = pool.take();
    ASSERT_TRUE(packet);
    packet->size = mark(seq);
    buffer.insert(now, link, seq, *packet);
    buffer.settle(now);
    drain();
  }
  void pass(Duration time) {
    const TimePoint end = now + time;
    while (buffer.deadline() && *buffer.deadline() <= end) {
      now = std::max(now, *buffer.deadline());
      const std::size_t held = buffer.held();
      buffer.settle(now);
      ASSERT_TRUE(!buffer.deadline() || *buffer.deadline() > now || buffer.held() < held) << "spins";
      drain();
    }
    now = end;
  }
  void drain() {
    while (!out.empty()) {
      const PacketRef packet = out.pop();
      got.push_back(packet.size);
      pool.give(packet);
    }
  }
  static std::vector<std::uint32_t> marks(std::initializer_list<std::uint64_t> seqs) {
    std::vector<std::uint32_t> out;
    for (const auto s : seqs) out.push_back(mark(s));
    return out;
  }
};

TEST(ReorderBuffer, PassesOrderedPacketsAtOnce) {
  Bench b;
  for (std::uint64_t s = 1000; s < 1010; ++s) b.insert(0, s);
  EXPECT_EQ(b.got.size(), 10U);
  EXPECT_FALSE(b.buffer.deadline());
}

TEST(ReorderBuffer, GivesUpAHoleOnceEveryLinkDeliveredSomethingNewer) {
  Bench b;
  b.insert(0, 0);
  b.insert(1, 1);
  b.insert(0, 3);  // 2 may still come on link 1
  EXPECT_EQ(b.got, Bench::marks({0, 1}));
  b.insert(1, 4);  // no more
  EXPECT_EQ(b.got, Bench::marks({0, 1, 3, 4}));
  EXPECT_EQ(b.buffer.counters().holes_lost, 1U);
}

TEST(ReorderBuffer, GivesUpOnlyWhatEveryLinkHasPassed) {
  Bench b;
  b.insert(0, 0);
  b.insert(1, 1);
  b.insert(0, 10);
  b.insert(1, 5);  // 2 to 4 are lost, 6 to 9 may come on link 1
  EXPECT_EQ(b.got, Bench::marks({0, 1, 5}));
  b.insert(1, 6);
  EXPECT_EQ(b.got, Bench::marks({0, 1, 5, 6}));
}

TEST(ReorderBuffer, WaitsForASlowLinkNoLongerThanTheMeasuredSpread) {
  Bench b;
  b.buffer.set_spread_hint(20ms);
  b.insert(0, 0);
  b.insert(1, 1);
  b.insert(0, 3);
  b.pass(15ms);
  EXPECT_EQ(b.got.size(), 2U);
  b.pass(15ms);
  EXPECT_EQ(b.got, Bench::marks({0, 1, 3}));
}

TEST(ReorderBuffer, LaterPacketsDoNotRestartTheWait) {
  Bench b;
  b.buffer.set_spread_hint(20ms);
  b.insert(0, 0);
  b.insert(1, 1);
  for (std::uint64_t s = 3; s < 40; ++s) {
    b.insert(0, s);
    b.pass(1ms);
  }
  EXPECT_EQ(b.got.size(), 39U);
}

TEST(ReorderBuffer, DeliversALatePacketOnceAndWaitsLongerNextTime) {
  Bench b;
  b.buffer.set_spread_hint(5ms);
  b.insert(0, 0);
  b.insert(1, 1);
  b.insert(0, 3);
  b.pass(50ms);
  const Duration before = b.buffer.patience();
  b.insert(1, 2);
  b.insert(1, 2);
  EXPECT_EQ(b.got, Bench::marks({0, 1, 3, 2}));
  EXPECT_EQ(b.buffer.counters().late, 1U);
  EXPECT_EQ(b.buffer.counters().duplicates, 1U);
  EXPECT_GT(b.buffer.patience(), before);
}

TEST(ReorderBuffer, DropsDuplicatesHeldAndDelivered) {
  Bench b;
  b.insert(0, 0);
  b.insert(1, 1);
  b.insert(0, 3);
  b.insert(0, 3);
  b.insert(1, 1);
  b.insert(1, 2);
  EXPECT_EQ(b.got, Bench::marks({0, 1, 2, 3}));
  EXPECT_EQ(b.buffer.counters().duplicates, 2U);
}

TEST(ReorderBuffer, OneForgedNumberMovesNothing) {
  Bench b;
  for (std::uint64_t s = 0; s < 10; ++s) b.insert(0, s);
  b.insert(0, ~std::uint64_t{0});
  b.insert(0, std::uint64_t{1} << 40);
  for (std::uint64_t s = 10; s < 20; ++s) b.insert(0, s);
  EXPECT_EQ(b.got.size(), 22U);
  EXPECT_EQ(b.got.back(), Bench::mark(19));
  EXPECT_EQ(b.buffer.held(), 0U);
}

TEST(ReorderBuffer, FollowsAPeerThatReallyCountsElsewhere) {
  Bench b;
  for (std::uint64_t s = 1'000'000; s < 1'000'100; ++s) b.insert(0, s);
  for (std::uint64_t s = 0; s < 100; ++s) b.insert(0, s);  // restarted, and nobody said so
  EXPECT_EQ(b.got.size(), 200U);
  b.insert(0, 101);
  b.insert(0, 100);
  b.pass(1s);
  EXPECT_EQ(b.got.size(), 202U);
}

TEST(ReorderBuffer, AFullWindowGivesUpTheOldest) {
  Bench b;
  b.insert(0, 0);
  b.insert(1, 1);
  for (std::uint64_t s = 3; s < 3 + 400; ++s) b.insert(0, s);
  EXPECT_GE(b.got.size(), 2U + 400 - 256);
  EXPECT_LE(b.buffer.held(), 256U);
  b.pass(1s);
  EXPECT_EQ(b.got.size(), 402U);
  EXPECT_TRUE(std::is_sorted(b.got.begin(), b.got.end()));
}

TEST(ReorderBuffer, CopiesWhatWaitsInBorrowedMemory) {
  Bench b;
  b.insert(0, 0);
  b.insert(1, 1);
  std::uint8_t slab[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  b.buffer.insert(b.now, 0, 3, PacketRef{slab, 8, PacketRef::kBorrowed});
  b.buffer.own_all();
  std::fill(std::begin(slab), std::end(slab), std::uint8_t{0xee});
  auto packet = b.pool.take();
  packet->size = 3;
  b.buffer.insert(b.now, 1, 2, *packet);
  ASSERT_EQ(b.out.size(), 2U);
  b.pool.give(b.out.pop());
  const PacketRef held = b.out.pop();
  EXPECT_FALSE(held.borrowed());
  EXPECT_EQ(held.data[4], 5);
}

// Whatever comes, in whatever order: nothing twice, nothing lost that came,
// nothing held once the longest wait has passed, every buffer returned.
TEST(ReorderBuffer, NeverStallsDuplicatesOrLosesWhatCame) {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    Bench b;
    const std::size_t free = b.pool.free_buffers();
    std::multimap<std::uint64_t, std::pair<LinkId, std::uint64_t>> arrivals;
    std::size_t sent = 0;
    for (std::uint64_t s = 0; s < 2000; ++s) {
      const auto link = static_cast<LinkId>(random() % 3);
      if (random() % 10 == 0) continue;  // lost
      const std::uint64_t at = s * 100 + link * 7000 + random() % (link == 2 ? 5000 : 50);
      arrivals.emplace(at, std::pair(link, s));
      ++sent;
      if (random() % 20 == 0) arrivals.emplace(at + random() % 20000, std::pair(link, s));
    }
    const TimePoint start = b.now;
    for (const auto& [at, packet] : arrivals) {
      const TimePoint when = start + std::chrono::microseconds(at);
      if (when > b.now) b.pass(when - b.now);
      b.insert(packet.first, packet.second);
    }
    b.pass(801ms);
    EXPECT_EQ(b.buffer.held(), 0U);
    EXPECT_EQ(b.pool.free_buffers(), free);
    std::map<std::uint32_t, int> count;
    for (const auto g : b.got) EXPECT_EQ(++count[g], 1);
    EXPECT_EQ(count.size(), sent);
    EXPECT_EQ(b.buffer.counters().no_buffer, 0U);
  }
}

TEST(ReplayWindow, TellsSeenFromFreshAndForgetsTheOld) {
  std::mt19937_64 random(7);
  ReplayWindow window;
  std::map<std::uint64_t, bool> seen;
  std::uint64_t newest = 5000;
  EXPECT_TRUE(window.accept(newest));
  seen[newest] = true;
  for (int i = 0; i < 20000; ++i) {
    const std::uint64_t seq = newest + 200 - random() % 4000;
    const bool fresh = !seen[seq];
    ASSERT_EQ(window.fresh(seq), fresh) << seq;
    ASSERT_EQ(window.accept(seq), fresh) << seq;
    seen[seq] = true;
    newest = std::max(newest, seq);
  }
  EXPECT_FALSE(window.accept(newest - ReplayWindow::kReach - 1));
  EXPECT_TRUE(window.accept(newest + (std::uint64_t{1} << 50)));
  EXPECT_FALSE(window.accept(newest));
}

}  // namespace
}  // namespace bondd::mlvpn

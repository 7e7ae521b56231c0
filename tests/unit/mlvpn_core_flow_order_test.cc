// Order of what a bondd peer sends, and when a jittering line's packets go on.
#include <gtest/gtest.h>

#include <random>

#include "bondd/mlvpn/core/flow_order.h"
#include "bondd/mlvpn/core/play_out.h"
#include "bondd/mlvpn/core/wire.h"

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;
constexpr TimePoint kStart{1h};
constexpr std::uint8_t kTcp = 6, kUdp = 17;

struct Order {
  std::vector<int> out, dropped;
  std::array<std::uint8_t, 64> bytes{};
  FlowOrder order{100,
                  {.deliver = [this](const PacketRef& p) { out.push_back(static_cast<int>(p.index)); },
                   .drop = [this](const PacketRef& p) { dropped.push_back(static_cast<int>(p.index)); },
                   .keep = [](const PacketRef& p) { return p; }}};
  void insert(TimePoint now, FlowBucket bucket, std::uint64_t number, int id, bool delicate = false,
              Duration hold = {}) {
    order.insert(now, pack_flow_seq({bucket, delicate, number}),
                 {bytes.data(), 64, static_cast<std::uint32_t>(id)}, hold);
  }
  // Of a flow's datagram that a line brought early.
  void insert_early(TimePoint now, std::uint64_t number, Duration hold) {
    insert(now, 1, number, static_cast<int>(number), false, hold);
  }
  void carry(std::uint8_t protocol) {
    bytes[0] = 0x45;
    bytes[9] = protocol;
  }
  // Ninety-nine packets of an IPv4 protocol wait for the first, which comes last.
  void fill_a_hole(std::uint8_t protocol) {
    carry(protocol);
    for (int i = 1; i < 100; ++i) insert(kStart, 1, static_cast<std::uint64_t>(i), i);
    insert(kStart, 1, 0, 0);
  }
};

TEST(FlowOrder, AHoleHoldsUpItsOwnFlowOnly) {
  Order o;
  o.insert(kStart, 1, 1, 11);
  o.insert(kStart, 2, 0, 20);
  o.insert(kStart, 2, 1, 21);
  EXPECT_EQ(o.out, (std::vector{20, 21}));
  o.insert(kStart, 1, 0, 10);
  EXPECT_EQ(o.out, (std::vector{20, 21, 10, 11}));
  EXPECT_FALSE(o.order.next_timeout());
}

TEST(FlowOrder, GivesAHoleUpAfterItsPatienceAndTakesTheLateOneOnce) {
  Order o;
  o.order.set_patience(100ms);
  o.insert(kStart, 1, 0, 10);
  o.insert(kStart, 1, 2, 12);
  EXPECT_EQ(o.order.next_timeout(), kStart + 100ms);
  o.order.handle_timeout(kStart + 99ms);
  EXPECT_EQ(o.out, (std::vector{10}));
  o.order.handle_timeout(kStart + 100ms);
  EXPECT_EQ(o.out, (std::vector{10, 12}));
  o.insert(kStart + 120ms, 1, 1, 11);
  o.insert(kStart + 121ms, 1, 1, 99);
  EXPECT_EQ(o.out, (std::vector{10, 12, 11}));
  EXPECT_EQ(o.dropped, (std::vector{99}));
}

TEST(FlowOrder, DelicateFlowsNeverWait) {
  Order o;
  o.insert(kStart, 1, 1, 11, true);
  o.insert(kStart, 1, 1, 99, true);
  o.insert(kStart, 1, 0, 10, true);
  EXPECT_EQ(o.out, (std::vector{11, 10}));
  EXPECT_EQ(o.dropped, (std::vector{99}));
  o.insert(kStart, 1, 2, 12, true);
  EXPECT_EQ(o.out, (std::vector{11, 10, 12}));
}

// Of all that a hole held up, a UDP socket's buffer takes 90 packets at once.
TEST(FlowOrder, DatagramsBehindAHoleGoInPortions) {
  Order o;
  o.fill_a_hole(kUdp);
  EXPECT_EQ(o.out.size(), 17);
  EXPECT_EQ(o.order.next_timeout(), kStart + 1ms);
  o.insert(kStart, 1, 100, 100);  // the ones that follow stay behind them
  o.insert(kStart, 1, 40, 999);
  o.insert(kStart, 1, 17, 999);
  EXPECT_EQ(o.dropped, (std::vector{999, 999}));
  o.order.handle_timeout(kStart + 500us);
  EXPECT_EQ(o.out.size(), 17);
  o.order.handle_timeout(kStart + 1ms);
  EXPECT_EQ(o.out.size(), 33);
  for (int i = 2; o.order.next_timeout(); ++i) o.order.handle_timeout(kStart + i * 1ms);
  EXPECT_EQ(o.out.size(), 101);
  EXPECT_TRUE(std::ranges::is_sorted(o.out));
  EXPECT_EQ(o.order.held(), 0);
}

TEST(FlowOrder, SegmentsOfTcpBehindAHoleGoAtOnce) {
  Order o;
  o.fill_a_hole(kTcp);
  EXPECT_EQ(o.out.size(), 100);
}

TEST(FlowOrder, AJumpTooFarBeginsAnewOnceSixteenAgree) {
  Order o;
  o.insert(kStart, 1, 0, 10);
  o.insert(kStart, 1, 2, 12);
  for (int i = 0; i < 15; ++i) o.insert(kStart, 1, 1'000'000U + static_cast<unsigned>(i), 100 + i);
  EXPECT_EQ(o.out.size(), 16);  // at once, but 12 still waits
  EXPECT_EQ(o.order.held(), 1);
  o.insert(kStart, 1, 1'000'015, 115);
  EXPECT_EQ(o.order.held(), 0);
  o.insert(kStart, 1, 1'000'017, 117);  // in order from here
  o.insert(kStart, 1, 1'000'016, 116);
  EXPECT_EQ(o.out.size(), 20);
  EXPECT_EQ(o.out.back(), 117);
  o.insert(kStart, 1, 1'000'003, 999);  // a copy
  EXPECT_EQ(o.dropped, (std::vector{999}));
}

// Whoever holds a line can write any number into what it carries.
TEST(FlowOrder, AForgedNumberMakesNoOtherPacketGetLost) {
  for (const std::uint64_t forged : {std::uint64_t{1} << 50, std::uint64_t{16483}, std::uint64_t{5000}}) {
    Order o;
    TimePoint now = kStart;
    const auto stream = [&](std::uint64_t first, std::uint64_t end) {
      for (std::uint64_t n = first; n < end; ++n, now += 1ms) {
        o.insert(now, 1, n, static_cast<int>(n));
        o.order.handle_timeout(now);
      }
    };
    stream(0, 100);
    for (int i = 0; i < 10; ++i) o.insert(now, 1, forged + static_cast<std::uint64_t>(i), 9999);
    stream(100, 1000);
    std::erase(o.out, 9999);
    EXPECT_EQ(o.out.size(), 1000) << forged;
    EXPECT_TRUE(std::ranges::is_sorted(o.out)) << forged;
  }
}

TEST(FlowOrder, ForgedNumbersOfAllFlowsFillLittleMemory) {
  Order o;
  for (FlowBucket bucket = 0; bucket < kFlowBuckets; ++bucket) o.insert(kStart, bucket, 16383, bucket);
  EXPECT_LE(o.order.places(), 65536);
  o.order.handle_timeout(kStart + 1s);
  EXPECT_LE(o.order.places(), 65536);
  EXPECT_EQ(o.out.size(), kFlowBuckets);
  // And every flow is carried as before.
  for (FlowBucket bucket = 0; bucket < kFlowBuckets; ++bucket) {
    for (std::uint64_t n = 0; n < 10; ++n) o.insert(kStart + 2s, bucket, n, static_cast<int>(n));
  }
  o.order.handle_timeout(kStart + 3s);
  EXPECT_EQ(o.out.size(), 11 * kFlowBuckets);
}

TEST(FlowOrder, ASessionMayBeginAtAnyNumber) {
  Order o;
  constexpr std::uint64_t kFirst = std::uint64_t{1} << 40;
  o.insert(kStart, 1, kFirst, 0);
  o.insert(kStart, 1, kFirst + 2, 2);
  o.insert(kStart, 1, kFirst + 1, 1);
  o.insert(kStart, 1, kFirst - 1, 99);  // it was overtaken
  EXPECT_EQ(o.out, (std::vector{0, 1, 2, 99}));
}

TEST(FlowOrder, AFlowThatGoesOnFarBehindIsFollowed) {
  Order o;
  for (std::uint64_t n = 0; n < 10'000; ++n) o.insert(kStart, 1, n, 1);
  for (int i = 0; i < 100; ++i) o.insert(kStart, 1, static_cast<std::uint64_t>(i), 2);
  EXPECT_EQ(std::ranges::count(o.out, 2), 36);  // after 64 of them
  o.insert(kStart, 1, 101, 4);
  o.insert(kStart, 1, 100, 3);
  EXPECT_EQ(o.out.back(), 4);
}

TEST(FlowOrder, AnEarlyDatagramIsKeptAndThoseBehindItToo) {
  Order o;
  o.carry(kUdp);
  o.insert_early(kStart, 0, 10ms);
  o.insert_early(kStart + 3ms, 1, {});
  EXPECT_TRUE(o.out.empty());
  EXPECT_EQ(o.order.next_timeout(), kStart + 10ms);
  o.insert(kStart + 4ms, 1, 0, 99);  // its copy, by another line
  EXPECT_EQ(o.dropped, (std::vector{99}));
  o.order.handle_timeout(kStart + 10ms);
  EXPECT_EQ(o.out, (std::vector{0, 1}));
  EXPECT_FALSE(o.order.next_timeout());
}

TEST(FlowOrder, WhatIsToGoWithinAMillisecondGoesAtOnce) {
  Order o;
  o.carry(kUdp);
  o.insert_early(kStart, 0, 5ms);
  o.insert_early(kStart + 1ms, 1, 4500us);
  o.insert_early(kStart + 2ms, 2, 6ms);
  o.order.handle_timeout(kStart + 5ms);
  EXPECT_EQ(o.out, (std::vector{0, 1}));
  EXPECT_EQ(o.order.next_timeout(), kStart + 8ms);
}

TEST(FlowOrder, SegmentsOfTcpAndSmallPacketsAreNotKept) {
  Order o;
  o.carry(kTcp);
  o.insert_early(kStart, 0, 10ms);
  o.carry(kUdp);
  o.insert(kStart, 2, 0, 20, true, 10ms);
  EXPECT_EQ(o.out, (std::vector{0, 20}));
}

// A repair is late as it is.
TEST(FlowOrder, WhatFillsAHoleIsNotKept) {
  Order o;
  o.carry(kUdp);
  o.insert_early(kStart, 0, {});
  o.insert_early(kStart, 2, {});
  o.insert_early(kStart + 50ms, 1, 10ms);
  EXPECT_EQ(o.out, (std::vector{0, 1, 2}));
}

TEST(FlowOrder, NothingIsKeptOnceHalfOfTheRoomIsTaken) {
  Order o;
  o.carry(kUdp);
  for (std::uint64_t i = 0; i < 60; ++i) o.insert_early(kStart, i, 10ms);
  EXPECT_EQ(o.order.held(), 60);  // those behind kept ones cannot go
  o.insert(kStart, 2, 0, 200, false, 10ms);
  EXPECT_EQ(o.out, (std::vector{200}));
}

TEST(FlowOrder, AJumpTooFarOrANewSessionEndsAllKeeping) {
  Order o;
  o.carry(kUdp);
  o.insert_early(kStart, 0, 10ms);
  for (std::uint64_t n = 1'000'000; n < 1'000'016; ++n) o.insert_early(kStart, n, {});
  EXPECT_EQ(o.out.size(), 17);
  EXPECT_FALSE(o.order.next_timeout());
  o.insert_early(kStart, 1'000'016, 10ms);
  o.order.reset();
  EXPECT_EQ(o.out.back(), 1'000'016);
  EXPECT_EQ(o.order.held(), 0);
  o.insert_early(kStart, 0, {});
  EXPECT_EQ(o.out.back(), 0);
}

// A line of 20 ms whose packets come some milliseconds sooner or later.
struct JitteringLine {
  PlayOut play_out;
  std::minstd_rand random{7};
  TimePoint sent = kStart;
  std::int64_t offset_ms;  // between the two clocks
  explicit JitteringLine(std::int64_t offset = 12345) : offset_ms(offset) {}
  // The next packet arrives `way` ms after it was sent.
  Duration carry(double way) {
    sent += 20ms;
    const auto stamp = wire_timestamp(static_cast<std::int64_t>(to_ms(sent.time_since_epoch())) + offset_ms);
    play_out.on_packet(sent + from_ms(way), stamp);
    return play_out.hold();
  }
  void learn(double most_ms) {
    std::uniform_real_distribution<double> extra(-most_ms, most_ms);
    for (int i = 0; i < 60; ++i) carry(20 + extra(random));
  }
};

TEST(PlayOut, ASteadyLineKeepsNothing) {
  JitteringLine line;
  line.learn(1);
  for (const double way : {15.0, 19.0, 20.0, 40.0}) EXPECT_EQ(line.carry(way), 0ms) << way;
}

TEST(PlayOut, OnAJitteringLineTheEarlyOnesWaitForTheLateOnes) {
  JitteringLine line;
  line.learn(10);  // 5 ms from the mean on average: 27.5 ms is the aim
  const double early = 10 + to_ms(line.carry(10));
  const double usual = 20 + to_ms(line.carry(20));
  EXPECT_NEAR(early, 27.5, 4);
  EXPECT_NEAR(usual, early, 2);
  EXPECT_EQ(line.carry(34), 0ms);
}

TEST(PlayOut, NeverForMoreThanSixtyMilliseconds) {
  JitteringLine line;
  line.learn(200);
  EXPECT_EQ(line.carry(-180), 60ms);
}

TEST(PlayOut, FollowsAPeerThatBeginsAnewWithAnotherClock) {
  JitteringLine line;
  line.learn(10);
  line.offset_ms += 30000;
  EXPECT_EQ(line.carry(10), 0ms);
  line.learn(10);
  EXPECT_NEAR(10 + to_ms(line.carry(10)), 27.5, 4);
}

// 65535 stands for no timestamp, and the count begins anew every 65.5 s.
TEST(PlayOut, TimestampsMayWrapAndBeMissing) {
  JitteringLine line(65536 - 3600'000 % 65536 - 600);
  line.learn(10);
  line.play_out.on_packet(line.sent + 20ms, kNoTimestamp);
  EXPECT_NEAR(10 + to_ms(line.carry(10)), 27.5, 4);
}

}  // namespace
}  // namespace bondd::mlvpn

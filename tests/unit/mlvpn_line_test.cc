// One line as our side sends to it: its delays, its rate, its phases.
#include <gtest/gtest.h>

#include <deque>

#include "bondd/mlvpn/line/line.h"

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;
constexpr TimePoint kStart{1h};

TEST(WindowedBest, ForgetsWhatIsOld) {
  WindowedBest<true> most(800ms);
  most.add(kStart, 5);
  most.add(kStart + 400ms, 3);
  EXPECT_EQ(most.best(), 5);
  most.add(kStart + 900ms, 2);
  EXPECT_EQ(most.best(), 3);
  most.add(kStart + 5s, 1);
  EXPECT_EQ(most.best(), 1);
}

// An engine that gets no processor time delivers little, and looks busy with what waited.
TEST(Line, WhatMeetsNoQueueIsNotTheLinesLimit) {
  Line line;
  RateSample sample;
  sample.now = TimePoint(std::chrono::hours(1));
  const auto feed = [&](double rate, double queue_ms) {
    sample.now += std::chrono::milliseconds(20);
    sample.sent = sample.now - std::chrono::milliseconds(1);
    sample.one_way_ms = queue_ms;
    sample.rtt_ms = 1 + queue_ms;
    sample.rate = rate;
    sample.delivered += rate * 0.02;
    line.on_sample(sample);
  };
  feed(1e6, 0);
  for (int i = 0; i < 300; ++i) feed(4000, 0);
  EXPECT_GE(line.capacity(), 0.9e6);
  for (int i = 0; i < 300; ++i) feed(4000, 40);  // but with a queue it is
  EXPECT_LT(line.capacity(), 1e4);
}

// A line of 50 Mbit/s and 40 ms that delivers all it can, with a queue before it.
struct FullLine {
  Line line;
  RateSample sample;
  double queue_ms = 0;
  FullLine() { sample.now = kStart; }
  void run(Duration time, double growth) {  // of the queue, ms per ms
    for (const TimePoint end = sample.now + time; sample.now < end;) {
      sample.now += 5ms;
      queue_ms += 5 * growth;
      sample.rtt_ms = 40 + queue_ms;
      sample.one_way_ms = 20 + queue_ms;
      sample.sent = sample.now - from_ms(sample.rtt_ms);
      sample.rate = 6.25e6;
      sample.in_flight = *sample.rate * sample.rtt_ms / 1000;
      sample.delivered += *sample.rate * 0.005;
      line.on_sample(sample);
    }
  }
};

TEST(Line, DelaysThatRiseWithoutMoreOnTheWayAreNoFullLine) {
  Line line;
  RateSample sample;
  sample.now = kStart;
  sample.app_limited = true;  // start-up sends what comes at once
  const auto run = [&](double extra_ms, double in_flight) {
    for (int i = 0; i < 100; ++i) {
      sample.now += 5ms;
      sample.rtt_ms = 40 + extra_ms;
      sample.one_way_ms = 20 + extra_ms;
      sample.sent = sample.now - from_ms(sample.rtt_ms);
      sample.rate = 2e6;
      sample.in_flight = in_flight;
      sample.delivered += *sample.rate * 0.005;
      line.on_sample(sample);
    }
  };
  run(0, 80e3);
  run(60, 100e3);
  EXPECT_EQ(line.phase(), Phase::kStartup);
  run(60, 155e3);  // 110e3 are what the line holds
  EXPECT_NE(line.phase(), Phase::kStartup);
}

// A flow in slow start brings twice as much each round trip, all at once: what the link
// carried without being kept busy must open its window for the next burst.
TEST(Line, StartUpHasRoomForTheNextBurstOfAGrowingFlow) {
  Line line;
  RateSample sample;
  sample.now = kStart;
  sample.app_limited = true;
  sample.rtt_ms = 100;
  for (double burst = 15e3; burst < 500e3; burst *= 2) {
    EXPECT_GT(line.window(), burst);
    sample.now += 100ms;
    sample.sent = sample.now - 100ms;
    sample.delivered += burst;
    sample.rate = burst / 0.1;
    line.on_sample(sample);
  }
}

TEST(Line, StartUpEndsWithALongQueueThatBringsNoMoreRate) {
  FullLine full;
  full.run(50ms, 0);
  full.run(60ms, 0.5);
  EXPECT_EQ(full.line.phase(), Phase::kStartup);
  full.run(60ms, 0.5);  // 60 ms of queue
  EXPECT_EQ(full.line.phase(), Phase::kDrain);
}

TEST(Line, JitterOfAnUnusedLineEndsNoStartUp) {
  Line line;
  RateSample sample;
  sample.now = kStart;
  for (const double delay : {0.0, 45.0}) {
    sample.now += 50ms;
    sample.sent = sample.now - from_ms(40 + delay);
    sample.one_way_ms = delay;
    sample.rtt_ms = 40 + delay;
    sample.app_limited = true;
    sample.light = delay != 0;
    line.on_sample(sample);
  }
  EXPECT_EQ(line.phase(), Phase::kStartup);
}

TEST(Line, LetsALongQueueGo) {
  FullLine full;
  full.run(50ms, 0);
  full.run(120ms, 0.5);
  for (int i = 0; i < 100; ++i) {
    full.run(10ms, 0);
    EXPECT_LE(full.line.pacing_rate(), 0.86 * full.line.capacity()) << i;
  }
}

// A line with 70 ms of round trip that is sent to as Line says, all the time.
struct PacedLine {
  Line line;
  RateSample sample;
  double rate = 6.25e6, queue_ms = 0, longest_ms = 0;
  std::deque<RateSample> on_the_way;
  PacedLine() { sample.now = kStart; }
  void run(Duration time) {
    longest_ms = 0;
    for (const TimePoint end = sample.now + time; sample.now < end;) {
      sample.now += 1ms;
      const double offered = std::min(line.pacing_rate(), 2 * rate);
      sample.rate = queue_ms > 0 ? rate : std::min(rate, offered);
      queue_ms = std::max(0.0, queue_ms + offered / rate - 1);
      longest_ms = std::max(longest_ms, queue_ms);
      sample.sent = sample.now;
      sample.one_way_ms = 35 + queue_ms;
      sample.rtt_ms = 70 + queue_ms;
      sample.delivered += *sample.rate * 0.001;
      on_the_way.push_back(sample);
      while (on_the_way.front().sent + from_ms(on_the_way.front().rtt_ms) <= sample.now) {
        on_the_way.front().now = sample.now;
        line.on_sample(on_the_way.front());
        on_the_way.pop_front();
      }
    }
  }
};

TEST(Line, ProbesWithLittleQueueAndFindsWhatALineHasMore) {
  PacedLine paced;
  paced.run(3s);
  paced.run(10s);
  EXPECT_LE(paced.longest_ms, 18);
  EXPECT_GE(paced.line.capacity(), 0.98 * paced.rate);
  paced.rate *= 2;
  paced.run(4s);
  EXPECT_GE(paced.line.capacity(), 0.95 * paced.rate);
}

// The picture at the head of rate_control.h.
TEST(Phase, FollowsOnlyAlongTheLegalEdges) {
  EXPECT_TRUE(may_follow(Phase::kProbe, Phase::kFastProbe));
  EXPECT_FALSE(may_follow(Phase::kStartup, Phase::kCruise));
  EXPECT_FALSE(may_follow(Phase::kCruise, Phase::kFastProbe));
  EXPECT_FALSE(may_follow(Phase::kDrain, Phase::kStartup));
}

}  // namespace
}  // namespace bondd::mlvpn

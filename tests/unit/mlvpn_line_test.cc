// One line as our side sends to it: its delays, its rate, its phases.
#include <gtest/gtest.h>

#include <deque>
#include <string_view>

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

// A cellular line: a deep buffer, a rate and a delay that change. It is sent to as Line says.
struct CellularLine {
  struct Packet {
    TimePoint sent;
    double bytes, in_flight, delivered_before;
  };
  Line line;
  double rate = 2.5e6;  // bytes/s
  double way_ms = 30;
  bool outage = false;
  TimePoint now = kStart;
  double delivered = 0, in_flight = 0, served = 0, credit = 0;
  std::deque<Packet> queue;
  std::deque<std::pair<TimePoint, RateSample>> reports;

  double queue_ms() const {
    double bytes = 0;
    for (const Packet& p : queue) bytes += p.bytes;
    return 1000 * bytes / rate;
  }
  void run(Duration time) {
    for (const TimePoint end = now + time; now < end; now += 1ms) {
      credit = std::min(credit + line.pacing_rate() * 0.001, 6000.0);
      for (; credit >= 1400 && in_flight < line.window(); credit -= 1400) {
        in_flight += 1400;
        queue.push_back({now, 1400, in_flight, delivered});
      }
      served = outage ? 0 : std::min(served + rate * 0.001, queue.empty() ? 1400.0 : 1e9);
      for (; !queue.empty() && served >= 1400; served -= 1400) arrive();
      for (; !reports.empty() && reports.front().first <= now; reports.pop_front())
        confirm(reports.front().second);
    }
  }
  void arrive() {
    const Packet packet = queue.front();
    queue.pop_front();
    RateSample sample;
    sample.sent = packet.sent;
    sample.arrived = now + from_ms(way_ms);
    sample.one_way_ms = to_ms(*sample.arrived - packet.sent);
    sample.rtt_ms = sample.one_way_ms + 30;
    sample.in_flight = packet.in_flight;
    sample.rate = 0;
    sample.delivered = packet.delivered_before;  // until it is confirmed
    reports.emplace_back(*sample.arrived + 30ms, sample);
  }
  void confirm(RateSample sample) {
    sample.now = now;
    delivered += 1400;
    in_flight -= 1400;
    sample.rate = 1000 * (delivered - sample.delivered) / sample.rtt_ms;
    sample.delivered = delivered;
    line.on_sample(sample);
  }
};

TEST(Line, FollowsALineThatFallsToATenth) {
  CellularLine cell;
  cell.run(5s);
  EXPECT_GE(cell.line.capacity(), 0.9 * 2.5e6);
  cell.rate = 0.25e6;
  cell.run(1500ms);  // what was in flight takes 600 ms to leave
  EXPECT_LE(cell.line.capacity(), 1.3 * 0.25e6);
  cell.run(500ms);
  EXPECT_LE(cell.queue_ms(), 150);
}

TEST(Line, FollowsALineThatRisesTenfold) {
  CellularLine cell;
  cell.run(3s);
  cell.rate = 0.25e6;
  cell.run(2s);
  cell.rate = 2.5e6;
  cell.run(2500ms);
  EXPECT_GE(cell.line.capacity(), 0.8 * 2.5e6);
}

TEST(Line, AnOutageLeavesTheRateAsItWas) {
  CellularLine cell;
  cell.run(5s);
  cell.outage = true;
  cell.run(400ms);
  cell.outage = false;
  cell.run(500ms);
  EXPECT_GE(cell.line.capacity(), 0.7 * 2.5e6);
  EXPECT_LE(cell.line.capacity(), 1.5 * 2.5e6);
  EXPECT_LE(cell.queue_ms(), 150);
}

// A satellite further away: 60 ms more are no queue.
TEST(Line, ALongerWayIsNoQueue) {
  CellularLine cell;
  cell.run(5s);
  cell.way_ms += 60;
  cell.run(5s);
  EXPECT_GE(cell.line.capacity(), 0.9 * 2.5e6);
  EXPECT_LE(cell.line.queue_ms(), 60);
}

TEST(Tuning, NamesEveryNumberOnce) {
  EXPECT_EQ(tuning_fields().size() * sizeof(double), sizeof(Tuning));
  for (const TuningField& field : tuning_fields()) {
    EXPECT_NE(std::string_view(field.why), "") << field.name;
  }
}

// The picture at the head of rate_control.h.
TEST(Phase, FollowsOnlyAlongTheLegalEdges) {
  EXPECT_TRUE(may_follow(Phase::kProbe, Phase::kFastProbe));
  EXPECT_FALSE(may_follow(Phase::kStartup, Phase::kCruise));
  EXPECT_FALSE(may_follow(Phase::kCruise, Phase::kFastProbe));
  EXPECT_FALSE(may_follow(Phase::kDrain, Phase::kStartup));
}

// An answer and a question before any traffic, the second 42 ms late. The line was taken to carry 64 kbit/s,
// asked for no more and hardly used again.
TEST(Line, LateFirstPacketOfAnUnusedLineTellsNoRate) {
  Line line;
  const double first = line.capacity();
  RateSample sample;
  const auto feed = [&](Duration now, double one_way_ms, bool control) {
    sample.now = kStart + now;
    sample.one_way_ms = one_way_ms;
    sample.rtt_ms = 37.2 + one_way_ms;
    sample.sent = sample.now - from_ms(sample.rtt_ms);
    sample.arrived = sample.sent + from_ms(one_way_ms);
    sample.delivered += 86;
    sample.app_limited = true;
    sample.control = control;
    sample.light = !control;
    sample.in_flight = control ? 0 : 86;
    line.on_sample(sample);
  };
  feed(121ms, 17.9, true);
  feed(312ms, 59.9, false);
  EXPECT_EQ(line.phase(), Phase::kStartup);
  EXPECT_EQ(line.capacity(), first);
}

}  // namespace
}  // namespace bondd::mlvpn

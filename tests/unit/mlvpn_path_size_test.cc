// Long datagrams that a line drops without a word.
#include <gtest/gtest.h>

#include "bondd/mlvpn/line/path_size.h"

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;
constexpr Duration kTrip = 40ms;
constexpr std::size_t kLong = 1472;

// A line that carries datagrams up to `carries` bytes.
struct NarrowLine {
  PathSize size;
  TimePoint now{1h};
  std::size_t carries;
  int probes = 0;

  void send(std::size_t bytes) {
    if (bytes <= carries) {
      size.on_confirmed(now, bytes);
    } else {
      size.on_lost(now, bytes);
    }
  }
  void run_for(Duration duration) {
    for (const TimePoint end = now + duration; now < end; now += 10ms) {
      if (const auto probe = size.take_probe(now, kTrip)) {
        ++probes;
        if (*probe <= carries) size.on_confirmed(now, *probe);
      }
    }
  }
  void narrow() {
    for (unsigned i = 0; i < PathSize::kRow; ++i) send(kLong);
  }
};

TEST(PathSize, FindsTheLongestThatPasses) {
  for (std::size_t carries = PathSize::kBase; carries < kLong; ++carries) {
    NarrowLine line{.carries = carries};
    line.narrow();
    EXPECT_FALSE(line.size.fits(kLong));
    EXPECT_TRUE(line.size.fits(PathSize::kBase));
    line.run_for(6s);
    ASSERT_TRUE(line.size.found()) << carries;
    EXPECT_LE(*line.size.limit(), carries);
    EXPECT_GE(*line.size.limit() + 8, carries);
  }
}

TEST(PathSize, LossesAmongArrivalsAreNone) {
  NarrowLine line{.carries = 1500};
  for (int i = 0; i < 1000; ++i) {
    for (unsigned lost = 1; lost < PathSize::kRow; ++lost) line.size.on_lost(line.now, kLong);
    line.size.on_confirmed(line.now, kLong);
    for (int lost = 0; lost < 20; ++lost) line.size.on_lost(line.now, PathSize::kBase);  // no long ones
  }
  EXPECT_FALSE(line.size.limit());
}

TEST(PathSize, AsksAfterAFewAndDoesNotWaitForTheRow) {
  NarrowLine line{.carries = 1400};
  for (unsigned i = 0; i < PathSize::kAskRow; ++i) line.send(kLong);
  EXPECT_TRUE(line.size.fits(kLong));
  for (int i = 0; i < 600; ++i) {
    line.run_for(10ms);
    line.size.on_confirmed(line.now, 100);
  }
  EXPECT_TRUE(line.size.found());
}

// Drops of a full queue hit all sizes; only what is longer than all that arrives was dropped for its length.
TEST(PathSize, MiddleSizesThatAreLostByChanceHideNothing) {
  NarrowLine line{.carries = 1400};
  for (unsigned i = 0; i < PathSize::kRow; ++i) {
    line.size.on_lost(line.now, 1250);
    line.send(kLong);
    line.send(1300);
  }
  EXPECT_TRUE(line.size.limit());
  line.run_for(6s);
  line.send(1390);
  EXPECT_TRUE(line.size.limit());
}

TEST(PathSize, ShortOnesThatArriveDoNotEndARow) {
  NarrowLine line{.carries = 1300};
  for (unsigned i = 0; i < PathSize::kRow; ++i) {
    line.send(kLong);
    line.send(1000);
  }
  EXPECT_TRUE(line.size.limit());
}

TEST(PathSize, AMistakeEndsWithTheFirstProbe) {
  NarrowLine line{.carries = 1500};
  for (unsigned i = 0; i < PathSize::kRow; ++i) line.size.on_lost(line.now, kLong);
  EXPECT_TRUE(line.size.limit());
  line.run_for(10ms);
  EXPECT_EQ(line.probes, 1);
  EXPECT_FALSE(line.size.limit());
}

TEST(PathSize, WhatWasSentBeforeAndArrivesNowEndsItToo) {
  NarrowLine line{.carries = 1500};
  for (unsigned i = 0; i < PathSize::kRow; ++i) line.size.on_lost(line.now, kLong);
  line.size.on_confirmed(line.now, kLong);
  EXPECT_FALSE(line.size.limit());
}

TEST(PathSize, SeesThatALineIsWideAgainAndAsksLessAndLess) {
  NarrowLine line{.carries = 1300};
  line.narrow();
  line.run_for(10s);
  const int before = line.probes;
  line.run_for(1h);
  EXPECT_LE(line.probes - before, 3 * 17) << "the pauses grow to ten minutes";
  line.carries = 1500;
  line.run_for(10min);
  EXPECT_FALSE(line.size.limit());
}

TEST(PathSize, FollowsALineThatBecomesNarrowerStill) {
  NarrowLine line{.carries = 1400};
  line.narrow();
  line.run_for(6s);
  line.carries = 1250;
  for (unsigned i = 0; i < PathSize::kRow; ++i) line.send(1390);
  EXPECT_FALSE(line.size.fits(1390));
  line.run_for(6s);
  EXPECT_TRUE(line.size.found());
  EXPECT_GE(*line.size.limit() + 8, 1250U);
}

// A quick line falls silent at the first long packets: nothing else is on it.
TEST(PathSize, AsksWhenALineAnswersAgainAfterLongOnesWereLost) {
  NarrowLine line{.carries = 1400};
  line.size.on_answer_after_silence(line.now, kLong);
  EXPECT_TRUE(line.size.fits(kLong)) << "they may have been lost with all the rest";
  for (int i = 0; i < 600; ++i) {
    line.run_for(10ms);
    line.size.on_confirmed(line.now, 100);
  }
  ASSERT_TRUE(line.size.found());
  EXPECT_NEAR(static_cast<double>(*line.size.limit()), 1396, 4);
}

TEST(PathSize, ALineThatWasCutIsNotNarrow) {
  NarrowLine line{.carries = 1500};
  line.size.on_answer_after_silence(line.now, kLong);
  line.run_for(10ms);
  EXPECT_FALSE(line.size.next_probe());
  // And one that is dead again while it is asked tells nothing.
  line.carries = 0;
  line.size.on_answer_after_silence(line.now, kLong);
  line.run_for(60s);
  EXPECT_FALSE(line.size.limit());
  line.carries = 1500;
  line.run_for(1s);
  EXPECT_FALSE(line.size.next_probe());
}

}  // namespace
}  // namespace bondd::mlvpn

#include "bondd/control/wan_traffic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bondd::control {
namespace {

using namespace std::chrono_literals;
using ::testing::DoubleNear;
using ::testing::Optional;

constexpr TimePoint kStart{1h};

// Two WANs whose counters grow by given rates; looked at each second.
struct Lines {
  WanTraffic traffic;
  std::vector<model::WanStatus> wans{2};
  TimePoint now = kStart;
  std::int64_t day = 1;

  Lines() {
    wans[0].name = "dsl";
    wans[1].name = "lte";
    for (auto& wan : wans) wan.rx_bytes = wan.tx_bytes = 1'000'000;
    traffic.add(now, day, wans);
  }
  struct PerSecond {
    std::uint64_t rx = 0, tx = 0;
  };
  void run(int seconds, PerSecond dsl, PerSecond lte) {
    for (int i = 0; i < seconds; ++i) {
      now += 1s;
      *wans[0].rx_bytes += dsl.rx;
      *wans[0].tx_bytes += dsl.tx;
      *wans[1].rx_bytes += lte.rx;
      *wans[1].tx_bytes += lte.tx;
      traffic.add(now, day, wans);
    }
    traffic.fill(now, wans);
  }
};

TEST(WanTraffic, SharesAreOfTheLastTenSecondsNotSinceTheStart) {
  Lines lines;
  lines.run(3600, {0, 100'000}, {0, 0});
  EXPECT_THAT(lines.wans[0].share_percent, Optional(DoubleNear(100, 0.1)));
  lines.run(10, {0, 25'000}, {0, 75'000});
  EXPECT_THAT(lines.wans[0].share_percent, Optional(DoubleNear(25, 0.1)));
  EXPECT_THAT(lines.wans[1].share_percent, Optional(DoubleNear(75, 0.1)));
}

TEST(WanTraffic, DownloadsHaveAShareOfTheirOwn) {
  Lines lines;
  lines.run(12, {300'000, 10'000}, {100'000, 0});
  EXPECT_THAT(lines.wans[1].rx_share_percent, Optional(DoubleNear(25, 0.1)));
  EXPECT_THAT(lines.wans[1].share_percent, Optional(DoubleNear(0, 0.1)));
  EXPECT_THAT(lines.wans[0].rx_mbit, Optional(DoubleNear(2.4, 0.01)));
}

TEST(WanTraffic, AShareOfNextToNothingIsUnknown) {
  Lines lines;
  lines.run(12, {300, 300}, {300, 300});
  EXPECT_EQ(lines.wans[0].share_percent, std::nullopt);
  EXPECT_EQ(lines.wans[0].rx_share_percent, std::nullopt);
  EXPECT_TRUE(lines.wans[0].tx_mbit.has_value());
}

TEST(WanTraffic, AnEngineThatStartsAnewLosesNoBytesOfToday) {
  Lines lines;
  lines.run(2, {1000, 500}, {0, 0});
  lines.wans[0].rx_bytes = lines.wans[0].tx_bytes = 0;
  lines.run(1, {1000, 500}, {0, 0});
  EXPECT_THAT(lines.wans[0].today_rx_bytes, Optional(3000));
  EXPECT_THAT(lines.wans[0].today_tx_bytes, Optional(1500));
}

TEST(WanTraffic, TodayBeginsAnewAtMidnight) {
  Lines lines;
  lines.run(5, {1000, 0}, {0, 0});
  lines.day = 2;
  lines.run(1, {1000, 0}, {0, 0});
  EXPECT_THAT(lines.wans[0].today_rx_bytes, Optional(1000));
}

TEST(WanTraffic, AWanWithoutCountersHasNoFigures) {
  Lines lines;
  lines.wans[1].rx_bytes.reset();
  WanTraffic fresh;
  fresh.add(kStart, 1, lines.wans);
  fresh.fill(kStart + 2s, lines.wans);
  EXPECT_EQ(lines.wans[1].rx_mbit, std::nullopt);
  EXPECT_EQ(lines.wans[1].today_rx_bytes, std::nullopt);
}

}  // namespace
}  // namespace bondd::control

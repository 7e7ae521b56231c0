// `bondd speedtest`: what its ends say to each other, what comes of figures, and when it may begin.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bondd/control/speed_test.h"
#include "bondd/speedtest/protocol.h"
#include "bondd/speedtest/rate.h"
#include "bondd/speedtest/report.h"

namespace bondd::speedtest {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

const std::string kToken(problems::kSpeedTestToken, 'a');

TEST(SpeedtestWords, AreReadBack) {
  for (const bool send : {true, false}) {
    const Wish wish{kToken, send, 4s, 20'000'000};
    const std::string line = render(wish);
    ASSERT_LE(line.size(), kLongestLine);
    EXPECT_EQ(parse_wish(std::string_view(line).substr(0, line.size() - 1)), wish);
  }
  const Progress progress{1234567us, 4'500'000};
  const std::string line = render(progress);
  EXPECT_EQ(parse_progress(std::string_view(line).substr(0, line.size() - 1)), progress);
}

TEST(SpeedtestWords, AnythingElseIsNone) {
  for (const char* line :
       {"", " ", "a send 4000", "a send 4000 0 ", "a  send 4000 0", "a give 4000 0", "a send x 0",
        "a send 30001 0", "a send -1 0", "a send 4000 99999999999999999999", "send 4000 0"})
    EXPECT_FALSE(parse_wish(line)) << line;
  for (const char* line : {"", "1", "1 2 3", "1 x", "-1 2", "3600000001 2"})
    EXPECT_FALSE(parse_progress(line)) << line;
}

std::vector<Progress> steady(Duration time, double mbit, Duration slow = Duration(0)) {
  std::vector<Progress> out;
  double bytes = 0;
  for (Duration at{}; at <= time; at += 100ms) {
    out.push_back({at, static_cast<std::uint64_t>(bytes)});
    bytes += at < slow ? 0 : mbit * 1e6 / 8 / 10;
  }
  return out;
}

TEST(SpeedtestRate, LeavesTheWarmUpOut) {
  EXPECT_NEAR(rate_mbit(steady(4s, 20, 1s)).value_or(0), 20, 0.1);
}

TEST(SpeedtestRate, CountsTheSecondHalfOfAShortTransferAndNothingOfAShorterOne) {
  EXPECT_NEAR(rate_mbit(steady(1200ms, 200, 600ms)).value_or(0), 200, 1);
  EXPECT_EQ(rate_mbit(steady(500ms, 200)), std::nullopt);
  EXPECT_EQ(rate_mbit({}), std::nullopt);
}

TEST(SpeedtestRate, TheMedianIsTheMiddleOne) {
  EXPECT_EQ(median({30, 10, 20}), 20);
  EXPECT_EQ(median({}), std::nullopt);
}

Row row(const std::string& wan) {
  return {wan, "", 21.26, {48.12, 54.0, 24'000'000}, {9.21, 80.4, 4'600'000}, ""};
}

TEST(SpeedtestReport, FitsAScreen) {
  const std::string text = table_head() + table_row(row("a-line-with-a-long-name")) + table_row(row(""));
  EXPECT_EQ(text,
            "                      down        up      latency    while down      while up\n"
            "LINE                Mbit/s    Mbit/s         idle       is full       is full\n"
            "a-line-with-a-lo        48       9.2        21 ms         54 ms         80 ms\n"
            "bond                    48       9.2        21 ms         54 ms         80 ms\n");
  Row missing;
  missing.wan = "lte";
  missing.reason = "not measured: it is silent";
  EXPECT_THAT(table_row(missing), HasSubstr("-\n  not measured: it is silent\n"));
}

TEST(SpeedtestReport, SaysWhatItMayCost) {
  EXPECT_EQ(announcement("office", 3, {}),
            "office: takes about 36 s. While one line is measured, all traffic takes it.\n");
  EXPECT_THAT(announcement("office", 3, {{"lte", "fallback_only"}}),
              HasSubstr("lte may cost money (fallback_only in the file): at most about 40 MB"));
}

TEST(SpeedtestReport, JsonHasEachLineAndTheBond) {
  Report report{"office", 1'700'000'000, {row("dsl"), row("")}};
  report.rows[0].metered = "fallback_only";
  EXPECT_EQ(json(report), R"({
  "name": "office",
  "time": "2023-11-14T22:13:20Z",
  "complete": true,
  "wans": [
    {
      "name": "dsl",
      "metered": true,
      "idle_rtt_ms": 21.26,
      "down": {
        "mbit": 48.12,
        "rtt_ms": 54.0,
        "bytes": 24000000
      },
      "up": {
        "mbit": 9.21,
        "rtt_ms": 80.4,
        "bytes": 4600000
      },
      "reason": ""
    }
  ],
  "bond": {
    "idle_rtt_ms": 21.26,
    "down": {
      "mbit": 48.12,
      "rtt_ms": 54.0,
      "bytes": 24000000
    },
    "up": {
      "mbit": 9.21,
      "rtt_ms": 80.4,
      "bytes": 4600000
    },
    "reason": ""
  }
})");
  report.rows[1].down.mbit.reset();
  report.rows[1].reason = "not measured: \x80";
  EXPECT_THAT(json(report), HasSubstr("\"mbit\": null"));
  EXPECT_FALSE(complete(report));
}

struct Asker {
  model::Config config;
  problems::PeerSettings theirs;
  control::SpeedTestAsker asker;
  TimePoint now{};

  Asker() {
    for (const char* name : {"dsl", "lte"}) {
      model::Wan& wan = config.wans.emplace_back();
      wan.name = name;
      wan.port = static_cast<std::uint16_t>(5080 + config.wans.size());
    }
    config.backend = model::Backend::kMlvpn;
    config.wans[1].fallback_only = true;
    theirs.takes_speed_tests = true;
  }
  std::string ask(std::uint64_t connection, const std::string& wan) {
    const auto asked = asker.ask(now, connection, wan, config, &theirs);
    return asked ? "" : asked.error().message;
  }
  ipc::SpeedTestNow state(const std::string& alone) { return asker.now(now, config, &theirs, alone); }
  void answer(std::uint16_t wan_port) {
    theirs.speed_test_ready = {40000, wan_port, problems::speed_test_name(asker.asks()->token)};
  }
};

TEST(SpeedTestAsker, IsReadyOnceTheOtherEndDoesAsWasAsked) {
  Asker asker;
  EXPECT_EQ(asker.ask(1, "dsl"), "");
  ASSERT_TRUE(asker.asker.asks());
  EXPECT_EQ(asker.asker.asks()->token.size(), problems::kSpeedTestToken);
  EXPECT_EQ(asker.asker.asks()->wan_port, 5081);
  EXPECT_THAT(asker.state("dsl").why_not_yet, HasSubstr("does not answer"));
  asker.answer(0);
  EXPECT_THAT(asker.state("dsl").why_not_yet, HasSubstr("by dsl alone"));
  asker.answer(5081);
  EXPECT_FALSE(asker.state("").ready) << "not yet at this end";
  EXPECT_THAT(asker.state("dsl").why_not_yet, HasSubstr("in flight"));
  asker.now += 1s;
  const ipc::SpeedTestNow now = asker.state("dsl");
  EXPECT_TRUE(now.ready);
  EXPECT_EQ(now.port, 40000);
  EXPECT_EQ(now.token, asker.asker.asks()->token);
  ASSERT_EQ(now.metered.size(), 1U);
  EXPECT_EQ(now.metered[0].first, "lte");
  EXPECT_EQ(ipc::parse_speed_test(ipc::render(now)).value(), now);
  EXPECT_EQ(asker.ask(1, "lte"), "");
  EXPECT_FALSE(asker.state("dsl").ready);
}

TEST(SpeedTestAsker, WaitsUntilATapHasLeftTheKernelsBond) {
  Asker asker;
  asker.config.backend = model::Backend::kOpenVpnBond;
  EXPECT_EQ(asker.ask(1, "dsl"), "");
  asker.answer(5081);
  asker.now += 3s;
  EXPECT_FALSE(asker.state("dsl").ready);
  asker.now += 1s;
  EXPECT_TRUE(asker.state("dsl").ready);
}

TEST(SpeedTestAsker, AnAnswerToAnEarlierTestIsNone) {
  Asker asker;
  EXPECT_EQ(asker.ask(1, ""), "");
  asker.answer(0);
  asker.theirs.speed_test_ready->test = "00000000";
  asker.now += 1s;
  EXPECT_EQ(asker.state("").port, 0);
  EXPECT_FALSE(asker.state("").ready);
}

TEST(SpeedTestAsker, RefusesASecondOneAndAnEarlierVersion) {
  Asker asker;
  EXPECT_EQ(asker.ask(1, ""), "");
  EXPECT_THAT(asker.ask(2, ""), HasSubstr("another"));
  EXPECT_THAT(asker.ask(1, "dls"), HasSubstr("no WAN dls"));
  asker.theirs.takes_speed_tests = false;
  EXPECT_THAT(asker.ask(1, ""), HasSubstr("earlier version"));
  asker.theirs.speed_test = problems::PeerSettings::SpeedTest{kToken, 0};
  EXPECT_THAT(asker.ask(1, ""), HasSubstr("runs at the other end"));
}

TEST(SpeedTestAsker, EndsWithItsConnectionOrItsLease) {
  Asker asker;
  EXPECT_EQ(asker.ask(1, "dsl"), "");
  EXPECT_FALSE(asker.asker.close(2));
  EXPECT_TRUE(asker.asker.close(1));
  EXPECT_FALSE(asker.asker.runs());
  EXPECT_EQ(asker.asker.wan(), "");
  EXPECT_EQ(asker.ask(2, "dsl"), "");
  asker.now += control::SpeedTestAsker::kLease - 1s;
  EXPECT_FALSE(asker.asker.expire(asker.now));
  asker.now += 1s;
  EXPECT_TRUE(asker.asker.expire(asker.now));
  EXPECT_FALSE(asker.asker.asks());
}

}  // namespace
}  // namespace bondd::speedtest

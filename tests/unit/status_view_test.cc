// `bondd status` for people: 79 columns, measured values only, and below them only what is wrong.
#include "bondd/main/status_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <sstream>

#include "bondd/main/command_help.h"

namespace bondd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::int64_t kNow = 1'800'000'000;

model::SiteStatus office() {
  model::SiteStatus site;
  site.name = "office";
  site.role = "client";
  site.backend = "mlvpn";
  site.server = "203.0.113.10";
  site.state = model::SiteState::kUp;
  site.since = kNow - 3 * 3600 - 12 * 60;
  for (const char* name : {"dsl", "lte"}) {
    model::WanStatus wan;
    wan.name = name;
    wan.state = model::WanState::kUp;
    wan.gateway = "192.168.1.1";
    wan.rtt_ms = 31.4;
    wan.loss_percent = 0.04;
    wan.rx_mbit = 7.81;
    wan.rx_capacity_mbit = 8;
    wan.tx_mbit = 0.3;
    wan.capacity_mbit = 1.94;
    site.wans.push_back(wan);
  }
  site.wans[0].since = kNow - 3 * 3600;
  site.wans[1].capacity_mbit.reset();
  return site;
}

std::string shown(const model::SiteStatus& site) {
  return status_view(site, {false, kNow});
}

std::size_t widest(const std::string& text) {
  std::istringstream lines(text);
  std::size_t most = 0;
  for (std::string line; std::getline(lines, line);) most = std::max(most, line.size());
  return most;
}

TEST(StatusView, ShowsBothDirectionsAndAQuestionMarkForWhatIsUnknown) {
  EXPECT_EQ(shown(office()),
            "office: up, 2 of 2 WANs up, since 3 h 12 min (mlvpn, server 203.0.113.10)\n"
            "WAN        STATE    FOR GATEWAY         LATENCY  LOSS  DOWN Mbit/s    UP Mbit/s\n"
            "dsl        up        3h 192.168.1.1       31 ms 0.0 %  7.8 of  8.0  0.3 of  1.9\n"
            "lte        up         - 192.168.1.1       31 ms 0.0 %  7.8 of  8.0  0.3 of    ?\n"
            "all                                                   15.6 of 16.0  0.6 of    ?\n");
}

TEST(StatusView, SaysByWhatKeysTheWansAreProtected) {
  model::SiteStatus site = office();
  EXPECT_THAT(shown(site), Not(HasSubstr("keys: ")));
  for (auto& wan : site.wans) wan.protection = model::Protection::kSession;
  site.wans[0].key_age_s = 12.2;
  site.wans[1].key_age_s = 84.4;
  EXPECT_THAT(shown(site), HasSubstr("\nkeys: new for each session and WAN, the oldest is 84 s old\n"));
  site.wans[1].protection = model::Protection::kPassword;
  site.wans[1].key_age_s.reset();
  EXPECT_THAT(shown(site), HasSubstr("\nkeys: new for each session and WAN, the oldest is 12 s old\n"));
  EXPECT_THAT(shown(site), HasSubstr("\nkeys of lte: made of the password, always the same; "));
  EXPECT_LE(widest(shown(site)), kColumns);
}

TEST(StatusView, FitsSeventyNineColumnsWithLongNamesAndFigures) {
  model::SiteStatus site = office();
  site.wans[0].name = std::string(32, 'w');
  site.wans[0].gateway = "255.255.255.255";
  site.wans[0].state = model::WanState::kStarting;
  site.wans[0].rtt_ms = 1234.5;
  site.wans[0].loss_percent = 100;
  site.wans[0].rx_mbit = site.wans[0].rx_capacity_mbit = 9876.5;
  site.problems.push_back({"gateway-silent", model::Severity::kError, "lte",
                           "gateway 192.168.2.99 does not answer (ARP) on wan2 and a few more words",
                           "check gateway in /etc/bondd/office.toml, and the modem-router's power and cable",
                           kNow});
  EXPECT_LE(widest(shown(site)), kColumns);
}

TEST(StatusView, FitsWithTheLongestNamesOfASiteAndAServer) {
  model::SiteStatus site = office();
  site.server = std::string(30, 's') + "." + std::string(31, 'x') + ".org";
  EXPECT_LE(widest(shown(site)), kColumns);
  EXPECT_THAT(shown(site), HasSubstr("    (mlvpn, server\n    sss"));
  site.name = std::string(32, 'n');
  site.since = kNow - 400 * 86400;
  site.state = model::SiteState::kDegraded;
  site.problems.push_back(
      {"name-unresolved", model::Severity::kError, "", site.server + " does not resolve", "", kNow});
  EXPECT_LE(widest(shown(site)), kColumns) << shown(site);
}

TEST(StatusView, NamesThatAreCutStayDifferent) {
  model::SiteStatus site = office();
  site.wans[0].name = "a-very-long-name-dsl";
  site.wans[1].name = "a-very-long-name-lte";
  EXPECT_THAT(shown(site), HasSubstr("\na-ver~-dsl "));
  EXPECT_THAT(shown(site), HasSubstr("\na-ver~-lte "));
  site.wans[0].name = "a-very-long-one-line";
  site.wans[1].name = "a-very-long-two-line";
  EXPECT_THAT(shown(site), HasSubstr("\na-ver~line "));
  EXPECT_THAT(shown(site), HasSubstr("\na-very-l~2 "));
}

TEST(StatusView, AWanThatIsNotHeardHasNoLatencyAndNoLoss) {
  model::SiteStatus site = office();
  for (const auto state : {model::WanState::kStarting, model::WanState::kSilent, model::WanState::kDown}) {
    site.wans[1].state = state;
    EXPECT_THAT(shown(site), HasSubstr("192.168.1.1           -     -")) << to_string(state);
  }
}

TEST(StatusView, WhatIsWrongWithTheSiteIsNotSaidOfEachWan) {
  model::SiteStatus site = office();
  const std::string text = "vps.exampel.invalid does not resolve";
  site.problems.push_back({"name-unresolved", model::Severity::kError, "", text, "", kNow});
  for (auto& wan : site.wans) wan.reason = text;
  const std::string view = shown(site);
  EXPECT_EQ(view.find(text), view.rfind(text)) << view;
}

TEST(StatusView, BelowTheTableStandsOnlyWhatIsWrongWithItsCure) {
  EXPECT_THAT(shown(office()), Not(HasSubstr("note:")));
  model::SiteStatus site = office();
  site.state = model::SiteState::kDegraded;
  site.wans[1].state = model::WanState::kStarting;
  site.wans[1].reason = "said by the problem";
  site.problems.push_back({"gateway-silent", model::Severity::kError, "lte",
                           "gateway 192.168.2.99 does not answer", "check gateway in the file", kNow - 90});
  const std::string text = shown(site);
  EXPECT_THAT(text, HasSubstr("lte: gateway 192.168.2.99 does not answer (for 1 min)\n"));
  EXPECT_THAT(text, HasSubstr("    check gateway in the file\n"));
  EXPECT_THAT(text, Not(HasSubstr("said by the problem")));
}

TEST(StatusView, AProblemThatNamesItsLineIsNotNamedTwiceNorRepeatedAsANote) {
  model::SiteStatus site = office();
  const std::string lossy = "lte has 2.3 % packet loss";
  site.problems.push_back({"line-lossy", model::Severity::kWarning, "lte", lossy, "", kNow - 90});
  site.warnings.push_back(lossy);
  EXPECT_THAT(shown(site), HasSubstr("\nlte has 2.3 % packet loss (for 1 min)\n"));
  EXPECT_THAT(shown(site), Not(HasSubstr("note:")));
}

TEST(StatusView, EscapeCodesOnlyWhenAskedFor) {
  EXPECT_THAT(shown(office()), Not(HasSubstr("\033")));
  EXPECT_THAT(status_view(office(), {true, kNow}), HasSubstr("\033[32mup\033[0m"));
}

TEST(StatusView, ASiteThatIsNotUpIsDown) {
  model::SiteStatus site;
  site.name = "office";
  EXPECT_EQ(shown(site), "office: down\n");
}

TEST(StatusView, AServerSpeaksOfInAndOut) {
  model::SiteStatus site = office();
  site.role = "server";
  EXPECT_THAT(shown(site), HasSubstr("IN Mbit/s   OUT Mbit/s"));
  EXPECT_THAT(shown(site), Not(HasSubstr("GATEWAY")));
}

TEST(StatusView, TimesAreShort) {
  EXPECT_EQ(ago_text(45), "45 s");
  EXPECT_EQ(ago_text(60 * 59), "59 min");
  EXPECT_EQ(ago_text(3600 * 25), "1 day 1 h");
  EXPECT_EQ(ago_text(-5), "0 s");
  EXPECT_EQ(brief_ago_text(-5), "0s");
  EXPECT_EQ(brief_ago_text(99), "99s");
  EXPECT_EQ(brief_ago_text(100), "1m");
  EXPECT_EQ(brief_ago_text(99 * 3600), "99h");
  EXPECT_EQ(brief_ago_text(400 * 86'400LL), "1y");
}

TEST(CommandHelp, NamesTheLikelyCommandAndOption) {
  const std::array<std::string, 3> commands = {"up", "down", "status"};
  EXPECT_EQ(no_such_command("satus", commands), R"(there is no command "satus"; did you mean "status"?)");
  EXPECT_THAT(no_such_command("start", commands), HasSubstr("bondd up NAME"));
  EXPECT_EQ(no_such_command("xyzzy", commands), R"(there is no command "xyzzy")");
  const std::array<std::string, 2> options = {"--json", "--watch"};
  EXPECT_EQ(no_such_option("--jsn", options), R"(there is no option "--jsn"; did you mean "--json"?)");
}

}  // namespace
}  // namespace bondd

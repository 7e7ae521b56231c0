// What `bondd top` shows.
#include "bondd/main/top_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bondd {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::vector<std::string> texts(const TopView& view, std::size_t columns = 79, std::size_t rows = 24) {
  std::vector<std::string> out;
  for (const Line& line : view.render({columns, rows}, "14:03:20")) {
    std::string& text = out.emplace_back();
    for (const Span& span : line) text += span.text;
  }
  return out;
}

model::SiteStatus office(std::uint64_t bytes = 0) {
  model::SiteStatus site;
  site.name = "office";
  site.backend = "mlvpn";
  site.state = model::SiteState::kUp;
  site.since = 1000;
  for (const char* name : {"dsl", "a-line-with-a-long-name"}) {
    model::WanStatus& wan = site.wans.emplace_back();
    wan.name = name;
    wan.state = model::WanState::kUp;
    wan.since = 1000;
    wan.rtt_ms = 31.25;
    wan.loss_percent = 0;
    wan.queue_ms = 2.5;
    wan.share_percent = 50;
    wan.rx_bytes = 10 * bytes;
    wan.tx_bytes = bytes;
  }
  return site;
}

TopView two_looks() {
  TopView view(true);
  view.update(1060, 10, {office(0)});
  view.update(1062, 12, {office(250'000)});
  return view;
}

TEST(TopView, ShowsEachLineWithTheRatesBetweenTwoLooks) {
  const auto lines = texts(two_looks());
  ASSERT_EQ(lines.size(), 24U);
  EXPECT_EQ(lines[0], "office: up, 2 of 2 WANs up, since 1 min (mlvpn)                        14:03:20");
  EXPECT_EQ(lines[1], "  WAN        STATE     FOR DOWN Mbit/s UP Mbit/s  SHARE  LATENCY   LOSS   QUEUE");
  EXPECT_EQ(lines[2], "> dsl        up        62s          10       1.0   50 %    31 ms  0.0 %  2.5 ms");
  EXPECT_THAT(lines[3], StartsWith("  down "));
  EXPECT_EQ(lines[4], "  a-line-wit up        62s          10       1.0   50 %    31 ms  0.0 %  2.5 ms");
  EXPECT_EQ(lines[23], "arrows select  d drain  r restore  q quit");
}

TEST(TopView, ACounterThatBeganAnewIsNoRate) {
  TopView view = two_looks();
  view.update(1063, 13, {office(0)});
  EXPECT_THAT(texts(view)[2], HasSubstr(" 10       1.0 ")) << "the last known";
}

TEST(TopView, FitsEveryScreen) {
  TopView view = two_looks();
  model::SiteStatus site = office(500'000);
  site.problems.push_back(
      {"gateway-silent", model::Severity::kError, "dsl",
       "gateway 192.168.2.99 does not answer (ARP) on wan2, and a long text goes on and on and on",
       "check gateway in /etc/bondd/office.toml, and the modem-router's power and cable", 1000});
  view.update(1063, 13, {site, site});
  for (int i = 0; i < 60; ++i)
    view.add_event({1000, "office", "dsl", "wan", "up", "silent", "no reply … for long"});
  for (std::size_t columns = 1; columns < 130; ++columns) {
    for (std::size_t rows = 0; rows < 40; ++rows) {
      const auto lines = texts(view, columns, rows);
      ASSERT_EQ(lines.size(), rows);
      for (const std::string& line : lines) {
        const auto wide = std::ranges::count_if(
            line, [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; });
        ASSERT_LE(static_cast<std::size_t>(wide), columns) << line;
      }
    }
  }
}

TEST(TopView, ANarrowScreenKeepsTheNameTheStateAndTheRates) {
  const auto lines = texts(two_looks(), 44);
  EXPECT_EQ(lines[2], "> dsl        up                10       1.0");
  EXPECT_EQ(texts(two_looks(), 22)[2], "> dsl        up      ");
}

TEST(TopView, EventsStandAtTheBottomTheNewestLast) {
  TopView view = two_looks();
  view.add_event({1000, "office", "dsl", "wan", "up", "silent", "no reply"});
  view.add_event({1001, "office", "", "site", "up", "degraded", ""});
  view.set_message("dsl is drained");
  const auto lines = texts(view);
  const auto at = [&](const std::string& text) {
    return std::ranges::find_if(
               lines, [&](const std::string& line) { return line.find(text) != std::string::npos; }) -
           lines.begin();
  };
  EXPECT_LT(at("dsl is drained"), at("office dsl: up -> silent, no reply"));
  EXPECT_EQ(at("office dsl: up -> silent") + 1, at("office: up -> degraded"));
  EXPECT_LT(at("office: up -> degraded"), 23);
}

TEST(TopView, TheSelectedLineStaysSelectedWhenOthersGo) {
  TopView view = two_looks();
  ASSERT_TRUE(view.selected());
  EXPECT_EQ(view.selected()->wan, "dsl");
  view.move(-1);
  EXPECT_EQ(view.selected()->wan, "dsl");
  view.move(1);
  view.move(1);
  EXPECT_EQ(view.selected()->wan, "a-line-with-a-long-name");
  model::SiteStatus less = office(1);
  less.wans.erase(less.wans.begin());
  view.update(1063, 13, {less});
  EXPECT_EQ(view.selected()->wan, "a-line-with-a-long-name");
  view.update(1064, 14, {});
  EXPECT_FALSE(view.selected());
  EXPECT_THAT(texts(view), Contains(HasSubstr("no site is up")));
}

TEST(TopView, WhatATerminalWouldObeyIsNotShown) {
  TopView view = two_looks();
  view.set_message("a\033[2Jb");
  EXPECT_THAT(texts(view), Contains("a [2Jb"));
  EXPECT_THAT(texts(view), Not(Contains(HasSubstr("\033"))));
}

TEST(Sparkline, GoesFromNothingToTheMost) {
  EXPECT_EQ(sparkline({0, 1, 2, 4}, 4, 6, true), "   :=#");
  EXPECT_EQ(sparkline({0, 1, 2, 4}, 4, 2, false), "▅█");
  EXPECT_EQ(sparkline({0, 0}, 0, 2, false), "▁▁");
}

}  // namespace
}  // namespace bondd

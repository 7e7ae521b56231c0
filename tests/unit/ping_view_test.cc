// What `bondd ping` shows.
#include "bondd/main/ping_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bondd {
namespace {

using namespace std::chrono_literals;
using ::testing::EndsWith;
using ::testing::HasSubstr;

model::SiteStatus office() {
  model::SiteStatus site;
  for (const char* name : {"dsl", "a-line-with-a-long-name"}) {
    site.wans.emplace_back().name = name;
    site.wans.back().state = model::WanState::kUp;
    site.wans.back().rtt_ms = 31.25;
  }
  return site;
}

TEST(PingView, HasAColumnForEachLineAndOneForTheBond) {
  model::SiteStatus site = office();
  PingView view(site);
  EXPECT_EQ(view.head(), "TIME            dsl a-line-wit       bond\n");
  view.handle_request(1);
  view.handle_answer(1, 29500us);
  EXPECT_EQ(view.row("14:03:20", site, 1), "14:03:20    31.2 ms    31.2 ms    29.5 ms\n");
  site.wans[1].state = model::WanState::kSilent;
  view.handle_request(2);
  EXPECT_EQ(view.row("14:03:21", site, 2), "14:03:21    31.2 ms     silent   no reply\n");
  site.wans.pop_back();
  view.handle_request(3);
  EXPECT_THAT(view.row("14:03:22", site, 3), EndsWith("       gone   no reply\n"));
}

TEST(PingView, TheSummaryHasWhatEachColumnHad) {
  model::SiteStatus site = office();
  PingView view(site);
  EXPECT_FALSE(view.any_answer());
  EXPECT_THAT(view.summary(), HasSubstr("bond: 0 of 0 echo requests answered, 0.0 % lost"));
  for (std::uint16_t number = 1; number <= 4; ++number) {
    view.handle_request(number);
    if (number <= 2) view.handle_answer(number, number * 10ms);
    site.wans[0].rtt_ms = 10.0 * number;
    EXPECT_FALSE(view.row("14:03:20", site, number).empty());
  }
  EXPECT_TRUE(view.any_answer());
  EXPECT_EQ(view.summary(),
            "least       10.0 ms    31.2 ms    10.0 ms\n"
            "mean        25.0 ms    31.2 ms    15.0 ms\n"
            "greatest    40.0 ms    31.2 ms    20.0 ms\n"
            "bond: 2 of 4 echo requests answered, 50.0 % lost\n");
}

TEST(PingView, AnAnswerAfterItsRowStillCountsAsAnAnswer) {
  const model::SiteStatus site = office();
  PingView view(site);
  view.handle_request(1);
  EXPECT_THAT(view.row("14:03:20", site, 1), EndsWith("no reply\n"));
  view.handle_answer(1, 1200ms);
  EXPECT_THAT(view.summary(), HasSubstr("bond: 1 of 1 echo requests answered, 0.0 % lost"));
}

}  // namespace
}  // namespace bondd

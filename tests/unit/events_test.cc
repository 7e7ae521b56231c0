// What `bondd monitor` tells of two looks at a site.
#include "bondd/control/events.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bondd/ipc/messages.h"

namespace bondd::control {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::int64_t kNow = 1'800'000'000;

model::SiteStatus office() {
  model::SiteStatus site;
  site.name = "office";
  site.state = model::SiteState::kUp;
  for (const char* name : {"dsl", "lte"}) {
    site.wans.emplace_back().name = name;
    site.wans.back().state = model::WanState::kUp;
  }
  return site;
}

// "event wan: from -> to"
std::vector<std::string> told(const model::SiteStatus* before, const model::SiteStatus& after) {
  std::vector<std::string> out;
  for (const model::Event& event : changes(kNow, before, after))
    out.push_back(event.event + " " + event.wan + ": " + event.from + " -> " + event.to);
  return out;
}

TEST(Events, TheFirstLookTellsAllThatThereIs) {
  EXPECT_THAT(told(nullptr, office()), ElementsAre("wan dsl:  -> up", "wan lte:  -> up", "site :  -> up"));
}

TEST(Events, AWanThatFallsSilentTellsWhyAndSoDoesTheSite) {
  const model::SiteStatus before = office();
  model::SiteStatus after = before;
  after.wans[1].state = model::WanState::kSilent;
  after.wans[1].reason = "no reply for 1.2 s";
  after.state = model::SiteState::kDegraded;
  const auto all = changes(kNow, &before, after);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0], (model::Event{kNow, "office", "lte", "wan", "up", "silent", "no reply for 1.2 s"}));
  EXPECT_EQ(all[1], (model::Event{kNow, "office", "", "site", "up", "degraded", "1 of 2 WANs up"}));
  EXPECT_THAT(told(&after, after), IsEmpty());
}

TEST(Events, AProblemComesAndGoesOnceThoughItsFiguresMove) {
  const model::SiteStatus before = office();
  model::SiteStatus after = before;
  after.problems.push_back({"line-lossy", model::Severity::kWarning, "lte", "2.1 % packet loss", "", kNow});
  EXPECT_THAT(told(&before, after), ElementsAre("problem lte:  -> line-lossy"));
  model::SiteStatus later = after;
  later.problems[0].text = "2.4 % packet loss";
  EXPECT_THAT(told(&after, later), IsEmpty());
  EXPECT_THAT(told(&later, before), ElementsAre("problem lte: line-lossy -> "));
}

TEST(Events, AWanThatLeavesTheFileIsTold) {
  const model::SiteStatus before = office();
  model::SiteStatus after = before;
  after.wans.pop_back();
  EXPECT_THAT(told(&before, after), ElementsAre("wan lte: up -> "));
}

TEST(Events, AreOneLineOfJsonEach) {
  const model::Event event{kNow, "office", "", "reload", "", "refused", "a \"word\"\nof two lines"};
  const std::string line = ipc::render(event);
  EXPECT_EQ(line, R"({"time":"2027-01-15T08:00:00Z","site":"office","wan":"","event":"reload","from":"",)"
                  R"("to":"refused","reason":"a \"word\"\nof two lines"})");
  EXPECT_EQ(ipc::parse_event(line).value(), event);
  EXPECT_THAT(ipc::parse_event("{}").error().message, HasSubstr("not understood"));
}

}  // namespace
}  // namespace bondd::control

// What `bondd doctor` makes of facts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bondd/doctor/machine.h"
#include "bondd/doctor/site.h"

namespace bondd::doctor {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::int64_t kMade = 1'790'000'000;

MachineFacts well() {
  MachineFacts facts;
  facts.kernel = "6.1.0";
  facts.iptables = "iptables v1.8.9 (nf_tables)";
  facts.openvpn = "2.6.14";
  facts.forwarding = true;
  facts.now = kMade + 1000;
  facts.installed = kMade;
  facts.synchronised = true;
  return facts;
}

auto found(std::string_view code, Level level) {
  return Contains(AllOf(Field(&Finding::code, code), Field(&Finding::level, level)));
}

TEST(Doctor, OfAMachineThatIsWellNothingIsWorseThanANote) {
  model::Config config;
  EXPECT_EQ(worst(machine_findings(well(), &config, true)), Level::kOk);
  MachineFacts facts = well();
  facts.forwarding = false;
  facts.synchronised = false;
  facts.strict = {"eth0"};
  EXPECT_EQ(worst(machine_findings(facts, nullptr, false)), Level::kNote) << "bondd up sets what is missing";
}

TEST(Doctor, NamesEachThingOfTheMachineThatIsWrong) {
  model::Config config;
  MachineFacts facts = well();
  facts.now = kMade - 365 * 24 * 3600;
  facts.iptables.clear();
  facts.forwarding = false;
  facts.strict = {"eth0", "ppp0"};
  facts.missing = {"openvpn is not installed; install it"};
  const auto all = machine_findings(facts, &config, true);
  EXPECT_THAT(all, found("clock-wrong", Level::kError));
  EXPECT_THAT(all, found("iptables-missing", Level::kError));
  EXPECT_THAT(all, found("forwarding-off", Level::kError));
  EXPECT_THAT(all, found("rp-filter-strict", Level::kWarning));
  EXPECT_THAT(all, found("machine", Level::kError));
  for (const Finding& one : all) {
    if (one.level >= Level::kWarning && one.code != "machine") {
      EXPECT_NE(one.remedy, "") << one.code;
    }
  }
}

TEST(Doctor, AClockThatIsAFewHoursBehindIsATimeZone) {
  MachineFacts facts = well();
  facts.now = kMade - 12 * 3600;
  EXPECT_THAT(machine_findings(facts, nullptr, false), Not(found("clock-wrong", Level::kError)));
}

TEST(Doctor, ASiteGivesItsProblemsItsWarningsAndTheWansThatCarry) {
  model::SiteStatus status;
  status.wans.resize(3);
  status.wans[0].name = "dsl";
  status.wans[0].state = model::WanState::kUp;
  status.wans[0].rtt_ms = 20;
  status.wans[1].name = "lte";
  status.wans[1].state = model::WanState::kDown;
  status.wans[2].name = "sat";
  status.wans[2].state = model::WanState::kSlow;
  status.problems.push_back(
      {"gateway-silent", model::Severity::kError, "lte", "gateway does not answer", "look", 0});
  status.warnings = {"one gateway for two"};
  const auto all = site_findings(status);
  EXPECT_THAT(all, found("wan-up", Level::kOk));
  EXPECT_THAT(all, found("gateway-silent", Level::kError));
  EXPECT_THAT(all, Not(found("wan-down", Level::kError))) << "its problem says why";
  EXPECT_THAT(all, found("wan-poor", Level::kWarning));
  EXPECT_THAT(all, found("warning", Level::kWarning));
  status.wans[2].state = model::WanState::kDrained;
  EXPECT_THAT(site_findings(status), found("wan-drained", Level::kNote)) << "by an admin's command";
  EXPECT_EQ(of_wan(all, "lte").size(), 1U);
}

TEST(Doctor, TextHas79ColumnsAndEndsWithTheCount) {
  std::vector<Finding> all{
      {"a", Level::kOk, "", "all is well", ""},
      {"b", Level::kError, "lte", std::string(40, 'x') + " " + std::string(60, 'y'),
       "do this and then do that, until it is well again, and see what happens after that"}};
  const std::string said = text(all);
  EXPECT_THAT(said, HasSubstr("error    lte: xxx"));
  EXPECT_THAT(said, ::testing::EndsWith("1 error, 0 warnings\n"));
  for (std::size_t at = 0; at < said.size();) {
    const std::size_t end = said.find('\n', at);
    EXPECT_LE(end - at, 79U);
    at = end + 1;
  }
  EXPECT_THAT(text({}), ::testing::EndsWith("nothing is wrong\n"));
}

TEST(Doctor, JsonIsTheContractsArray) {
  EXPECT_EQ(json({}), "[]");
  EXPECT_THAT(json({{"b", Level::kWarning, "lte", "t\xff", "r"}}),
              AllOf(HasSubstr("\"severity\": \"warning\""), HasSubstr("\"wan\": \"lte\"")));
}

}  // namespace
}  // namespace bondd::doctor

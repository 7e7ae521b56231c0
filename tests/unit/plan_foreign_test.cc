// Marks beside those of others, and what of others stands in a site's way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bondd/plan/foreign.h"
#include "bondd/plan/plan.h"
#include "plan_fixture.h"

namespace bondd::plan {
namespace {

using namespace plan::testing;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// --- marks ---

TEST(Marks, DefaultMaskHasNoBitOfWhatIsMetBesideBondd) {
  constexpr std::uint32_t kOthers = 0xff           // Shorewall
                                    | 0x3f00       // mwan3
                                    | 0xf00        // Cilium's magic, Docker
                                    | 0xc000       // Kubernetes
                                    | 0xca6c       // wg-quick
                                    | 0xff0000     // Tailscale, NethServer, Calico's own
                                    | 0x80000000;  // Antrea; and OpenVPN reads a positive int
  EXPECT_EQ(model::kDefaultMarkMask & kOthers, 0U);
  for (unsigned slot = 0; slot < model::mark_slots(model::kDefaultMarkMask); ++slot) {
    for (const std::uint32_t mark : {model::tunnel_mark(model::kDefaultMarkMask, slot, model::kMaxWans),
                                     model::policy_mark(model::kDefaultMarkMask, slot, model::kMaxWans)}) {
      EXPECT_EQ(mark & ~model::kDefaultMarkMask, 0U);
      EXPECT_NE(mark, 0U);
    }
  }
}

TEST(Marks, MaskHasRoomForSitesByItsBits) {
  EXPECT_EQ(model::mark_slots(0x7f000000), 4U);
  EXPECT_EQ(model::mark_slots(0x00ff0000), 8U);
  EXPECT_EQ(model::mark_slots(0x0000001f), 1U);
  EXPECT_EQ(model::mark_slots(0x0fff0000), 8U);
  for (const std::uint32_t mask : {0U, 0xfU, 0x00f0f000U, 0xff000000U})
    EXPECT_EQ(model::mark_slots(mask), 0U);
}

TEST(Marks, OfficeBeyondTheMasksRoomIsRefusedAndAServerIsNot) {
  model::Facts facts = office_facts();
  facts.slot = 4;
  const auto made = plan(office(), facts);
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, HasSubstr("room for 4 sites"));
  model::Config config = office();
  config.mark_mask = 0xff0000;
  EXPECT_TRUE(plan(config, facts));
  facts = vps_facts();
  facts.slot = 7;
  EXPECT_TRUE(plan(vps(), facts));
}

TEST(Marks, AnotherMaskReplacesTheMarksOfARunningSite) {
  model::Config other = office();
  other.mark_mask = 0xff0000;
  model::Owned owned;
  owned.rules = plan(other, office_facts()).value().state.rules;
  const auto steps = print(diff(plan(office(), office_facts()).value().state, owned));
  EXPECT_THAT(steps,
              Contains("ip rule add priority 5201 fwmark 0x1000000/0x7f000000 lookup 5201 protocol 98"));
  EXPECT_THAT(steps, Contains("ip rule del priority 5201 fwmark 0x10000/0xff0000 lookup 5201 protocol 98"));
}

// --- what of others takes the site's packets ---

std::vector<std::string> said_about(const model::Facts& facts, const model::Config& config = office()) {
  std::vector<std::string> out;
  const auto made = plan(config, facts);
  for (const Note& note : made.value().foreign) out.push_back(to_string(note));
  return out;
}

netlink::Rule foreign_rule(std::uint32_t priority, std::uint32_t table, std::uint32_t mark = 0,
                           std::uint32_t mask = 0) {
  netlink::Rule rule;
  rule.priority = priority;
  rule.table = table;
  rule.mark = mark;
  rule.mask = mask;
  return rule;
}

netlink::Route route_in(std::uint32_t table, const char* destination = "0.0.0.0/0",
                        const char* gateway = "10.0.0.1", const char* device = "eth5") {
  netlink::Route route = default_via(gateway, device);
  route.destination = prefix(destination);
  route.table = table;
  return route;
}

// An office with a LAN on eth1 beside the WANs on eth0.
model::Facts with_own_lan() {
  model::Facts facts = office_facts();
  facts.network.links.push_back(ethernet("eth1"));
  facts.network.addresses.push_back({"eth1", prefix("192.168.7.1/24"), std::nullopt});
  facts.network.routes.push_back(route_in(300));
  return facts;
}

TEST(Foreign, RuleThatIsLookedAtFirstIsNamedIfItsTableHasTheWay) {
  model::Facts facts = office_facts();
  facts.network.rules = {foreign_rule(0, 255), foreign_rule(100, 300), foreign_rule(32766, 254)};
  EXPECT_THAT(said_about(facts), IsEmpty());
  facts.network.routes.push_back(route_in(300));
  EXPECT_THAT(
      said_about(facts),
      ElementsAre(HasSubstr("ovh: rule 100 (lookup 300) goes before bondd's rules and leads this tunnel"),
                  HasSubstr("orange: rule 100 (lookup 300)"),
                  HasSubstr("takes what shall go into the bond (default via 10.0.0.1 dev eth5)")));
}

TEST(Foreign, RuleThatRefusesInItsTableIsNamedWithTheRoute) {
  model::Facts facts = office_facts();
  netlink::Route refuse = route_in(300);
  refuse.gateway.reset();
  refuse.device.clear();
  refuse.type = netlink::RouteType::kUnreachable;
  facts.network.routes.push_back(refuse);
  facts.network.rules = {foreign_rule(100, 300)};
  EXPECT_THAT(said_about(facts), Contains(HasSubstr("(unreachable default)")));
}

TEST(Foreign, RuleBehindBonddsIsNotNamed) {
  model::Facts facts = with_own_lan();
  netlink::Rule wg_quick = foreign_rule(32764, 254);
  wg_quick.suppress_prefix_length = 0;
  facts.network.rules = {wg_quick, foreign_rule(5300, 300)};
  EXPECT_THAT(said_about(facts), IsEmpty());
}

TEST(Foreign, MainTableWithoutItsDefaultRouteTakesNothing) {
  model::Facts facts = office_facts();
  netlink::Rule main = foreign_rule(100, 254);
  main.suppress_prefix_length = 0;
  facts.network.rules = {main};
  EXPECT_THAT(said_about(facts), IsEmpty());
  facts.network.rules = {foreign_rule(100, 254)};
  EXPECT_THAT(said_about(facts), Contains(HasSubstr("takes what shall go into the bond (default via")));
}

TEST(Foreign, RuleForASmallerNetworkOrOneOfAWansSideIsTheAdminsOwn) {
  model::Facts facts = with_own_lan();
  netlink::Rule branch = foreign_rule(100, 300), from_wan = branch, own = branch, out_of_bond = branch;
  branch.to = prefix("10.0.0.0/8");
  from_wan.iif = "eth0";
  own.from = prefix("192.168.1.252/32");
  out_of_bond.iif = "bond0";
  facts.network.rules = {branch, from_wan, out_of_bond};
  EXPECT_THAT(said_about(facts), IsEmpty());
  facts.network.rules = {own};  // what is sent from there goes by that WAN as it is
  EXPECT_THAT(said_about(facts), Not(Contains(HasSubstr("into the bond"))));
  netlink::Rule from_lan = foreign_rule(100, 300);
  from_lan.iif = "eth1";
  facts.network.rules = {from_lan};
  EXPECT_THAT(said_about(facts), ElementsAre(HasSubstr("rule 100 (iif eth1 lookup 300)")));
}

TEST(Foreign, LanOnTheWansDeviceIsTakenByARuleForThatDevice) {
  model::Facts facts = office_facts();
  facts.network.routes.push_back(route_in(300));
  netlink::Rule rule = foreign_rule(100, 300);
  rule.iif = "eth0";
  facts.network.rules = {rule};
  EXPECT_THAT(said_about(facts), ElementsAre(HasSubstr("takes what shall go into the bond")));
}

TEST(Foreign, MarkedTrafficGoesPastTheBondWhereARuleOfIptablesMarksIt) {
  model::Facts facts = with_own_lan();
  facts.network.rules = {foreign_rule(2001, 300, 0x100, 0x3f00)};  // as mwan3
  EXPECT_THAT(said_about(facts), IsEmpty());
  facts.mark_uses = {
      {"iptables -t mangle -A PREROUTING -j MARK --set-xmark 0x200/0x3f00", 0x3f00, 0x3f00, 0x200}};
  EXPECT_THAT(said_about(facts), IsEmpty());
  facts.mark_uses = {
      {"iptables -t mangle -A PREROUTING -j MARK --set-xmark 0x100/0x3f00", 0x3f00, 0x3f00, 0x100}};
  EXPECT_THAT(said_about(facts),
              ElementsAre(AllOf(HasSubstr("rule 2001 (fwmark 0x100/0x3f00 lookup 300)"),
                                HasSubstr("takes past the bond what `iptables -t mangle -A PREROUTING"))));
}

TEST(Foreign, HalvesOfTheInternetInTheMainTableAreNamedAndALanIsNot) {
  model::Facts facts = office_facts();
  for (const char* destination : {"0.0.0.0/1", "128.0.0.0/1", "10.5.0.0/16"})
    facts.network.routes.push_back(route_in(netlink::kMainTable, destination, "10.9.0.1", "tun9"));
  EXPECT_THAT(
      said_about(facts),
      ElementsAre(HasSubstr("0.0.0.0/1 via 10.9.0.1 dev tun9 and 128.0.0.0/1 via 10.9.0.1 dev tun9 in "
                            "the main table go before the bond")));
}

TEST(Foreign, RouteToTheVeryNetworkOfTheBondIsNamed) {
  model::Facts facts = office_facts();
  facts.network.routes.push_back(route_in(netlink::kMainTable, "10.20.0.0/16", "10.9.0.1", "tun9"));
  model::Config config = office();
  config.through_bond = {prefix("10.20.0.0/16")};
  EXPECT_THAT(said_about(facts, config),
              ElementsAre(HasSubstr("10.20.0.0/16 via 10.9.0.1 dev tun9 in the main table goes before")));
}

// --- the same priorities and bits ---

TEST(Foreign, TailscalesRulesStandAmongBonddsAndShareNoBit) {
  model::Facts facts = office_facts();
  facts.network.rules = {foreign_rule(5210, 254, 0x80000, 0xff0000),
                         foreign_rule(5230, 253, 0x80000, 0xff0000), foreign_rule(5270, 52)};
  EXPECT_THAT(said_about(facts),
              ElementsAre(AllOf(HasSubstr("rule 5210 (fwmark 0x80000/0xff0000 lookup main), rule 5230"),
                                HasSubstr("rule 5270 (lookup 52) of another program stand among bondd's"))));
  model::Config config = office();
  config.mark_mask = 0xff0000;
  EXPECT_THAT(said_about(facts, config), Contains(HasSubstr("use bits of bondd's marks (0xff0000)")));
}

TEST(Foreign, RulesAndChainsWithBonddsBitsAreNamed) {
  model::Facts facts = office_facts();
  facts.network.rules = {foreign_rule(700, 77, 0x2000000, 0x2000000)};
  facts.mark_uses = {{"iptables -t mangle -A PREROUTING -j MARK --set-xmark 0x3000000/0xf000000", 0xf000000},
                     {"iptables -t mangle -A PREROUTING -j MARK --set-xmark 0x1/0xff", 0xff}};
  EXPECT_THAT(said_about(facts),
              ElementsAre(HasSubstr("rule 700 (fwmark 0x2000000/0x2000000 lookup 77) and 1 more of another "
                                    "program use bits")));
}

TEST(Foreign, RuleThatWritesAllBitsIsToldToTakeAMask) {
  model::Facts facts = office_facts();
  facts.mark_uses = {{"iptables -t mangle -A PREROUTING -j MARK --set-xmark 0x1/0xffffffff", 0xffffffff}};
  EXPECT_THAT(said_about(facts),
              ElementsAre(AllOf(HasSubstr("writes all bits of a mark"), HasSubstr("give its mark a mask"))));
}

TEST(Foreign, AnotherSiteWithAnOverlappingMaskIsNamedAndOneWithTheSameIsNot) {
  model::Facts facts = office_facts(), other = facts;
  other.slot = 1;
  facts.network.rules = plan(office(), other).value().state.rules;
  EXPECT_THAT(said_about(facts), IsEmpty());
  model::Config config = office();
  config.mark_mask = 0x3f000000;
  EXPECT_THAT(said_about(facts, config),
              ElementsAre(HasSubstr("another site of bondd has mask = 0x7f000000")));
  config.mark_mask = 0xff0000;
  EXPECT_THAT(said_about(facts, config), IsEmpty());
}

}  // namespace
}  // namespace bondd::plan

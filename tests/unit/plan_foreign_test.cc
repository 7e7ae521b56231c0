// Marks beside those of others, and what of others stands in a site's way.
#include <fmt/format.h>
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
      ElementsAre(
          HasSubstr("ovh: rule 100 (lookup 300) goes before bondd's rules and leads the tunnel of ovh"),
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

// --- rules with other selectors and actions than bondd's own ---

netlink::Rule with(netlink::RuleExtras extras) {
  netlink::Rule rule = foreign_rule(100, 300);
  rule.extras = extras;
  return rule;
}

netlink::RuleExtras action(netlink::RuleAction action, std::uint32_t target = 0) {
  netlink::RuleExtras extras;
  extras.action = action;
  extras.target = target;
  return extras;
}

netlink::RuleExtras ports(std::uint8_t protocol, std::uint32_t first, std::uint32_t last) {
  netlink::RuleExtras extras;
  extras.protocol = protocol;
  extras.destination_ports = netlink::NumberRange{first, last};
  return extras;
}

constexpr std::uint8_t kTcp = 6, kUdp = 17;

TEST(ForeignSelectors, RuleOfAVpnForAllButItsOwnMarkTakesTunnelsAndLan) {
  model::Facts facts = with_own_lan();
  facts.network.rules = {foreign_rule(100, 300, 0xe1f1, 0xffffffff)};
  EXPECT_THAT(said_about(facts), IsEmpty());
  facts.network.rules.front().extras.inverted = true;
  EXPECT_THAT(
      said_about(facts),
      ElementsAre(HasSubstr("ovh: rule 100 (not fwmark 0xe1f1 lookup 300) goes before bondd's rules and "
                            "leads the tunnel of ovh elsewhere (default via 10.0.0.1 dev eth5)"),
                  HasSubstr("orange: rule 100"), HasSubstr("takes what shall go into the bond")));
}

TEST(ForeignSelectors, RuleForRootsPacketsTakesTunnelsAndWhatIsForwarded) {
  model::Facts facts = with_own_lan();
  netlink::RuleExtras extras;
  extras.uids = netlink::NumberRange{0, 0};
  facts.network.rules = {with(extras)};
  EXPECT_THAT(said_about(facts), ElementsAre(HasSubstr("ovh: rule 100 (uidrange 0-0 lookup 300)"),
                                             HasSubstr("orange: rule 100"), HasSubstr("into the bond")));
  extras.uids = netlink::NumberRange{1000, 1999};
  facts.network.rules = {with(extras)};
  EXPECT_THAT(said_about(facts), IsEmpty());
}

TEST(ForeignSelectors, RuleForPortsTakesTheTunnelsThatHaveThem) {
  model::Facts facts = with_own_lan();
  facts.network.rules = {with(ports(kUdp, 1194, 1195))};
  EXPECT_THAT(said_about(facts),
              ElementsAre(HasSubstr("ovh: rule 100 (ipproto udp dport 1194-1195 lookup 300)")));
  facts.network.rules = {with(ports(kTcp, 1194, 1200))};
  EXPECT_THAT(said_about(facts), IsEmpty());
  facts.network.rules = {with(ports(kTcp, 25, 25))};
  EXPECT_THAT(said_about(facts), IsEmpty()) << "a service that the admin leads elsewhere";
  facts.network.rules = {with(ports(kTcp, 1024, 65535))};
  EXPECT_THAT(said_about(facts),
              ElementsAre(HasSubstr("rule 100 (ipproto tcp dport 1024-65535 lookup 300)")));
}

TEST(ForeignSelectors, RuleForAWholeProtocolIsNamed) {
  model::Facts facts = with_own_lan();
  netlink::RuleExtras extras;
  extras.protocol = kUdp;
  facts.network.rules = {with(extras)};
  EXPECT_THAT(said_about(facts), ElementsAre(HasSubstr("ovh: rule 100 (ipproto udp lookup 300)"),
                                             HasSubstr("orange: "), HasSubstr("into the bond")));
  extras.protocol = 1;
  facts.network.rules = {with(extras)};
  EXPECT_THAT(said_about(facts), IsEmpty());
}

TEST(ForeignSelectors, RuleThatRefusesIsNamedWithoutATable) {
  for (const auto& [kind, name] : {std::pair(netlink::RuleAction::kProhibit, "prohibit"),
                                   std::pair(netlink::RuleAction::kBlackhole, "blackhole"),
                                   std::pair(netlink::RuleAction::kUnreachable, "unreachable")}) {
    model::Facts facts = with_own_lan();
    netlink::Rule rule = with(action(kind));
    facts.network.rules = {rule};
    EXPECT_THAT(
        said_about(facts),
        ElementsAre(AllOf(HasSubstr(fmt::format("ovh: rule 100 ({})", name)),
                          HasSubstr("goes before bondd's rules and refuses the tunnel's packets of ovh")),
                    HasSubstr("orange: "), HasSubstr("refuses what shall go into the bond")));
    rule.iif = "eth1";
    facts.network.rules = {rule};
    EXPECT_THAT(said_about(facts), ElementsAre(AllOf(HasSubstr(fmt::format("rule 100 (iif eth1 {})", name)),
                                                     HasSubstr("refuses what shall go into the bond"))));
    rule.iif = "eth0";
    facts.network.rules = {rule};
    EXPECT_THAT(said_about(facts), IsEmpty()) << "from a WAN's side";
  }
}

TEST(ForeignSelectors, RuleThatJumpsOverBonddsIsNamed) {
  model::Facts facts = with_own_lan();
  facts.network.rules = {with(action(netlink::RuleAction::kGoto, 32766)), foreign_rule(32766, 254)};
  EXPECT_THAT(said_about(facts), Contains(AllOf(HasSubstr("rule 100 (goto 32766) goes before bondd's rules"),
                                                HasSubstr("leads what shall go into the bond past them"))));
  facts.network.rules.pop_back();
  EXPECT_THAT(said_about(facts), IsEmpty()) << "a target that is not there";
  facts.network.rules = {with(action(netlink::RuleAction::kGoto, 200)), foreign_rule(150, 300),
                         foreign_rule(200, 77)};
  EXPECT_THAT(said_about(facts), IsEmpty()) << "what is jumped over takes nothing";
}

TEST(ForeignSelectors, RulesThatFitNothingOfBonddsAreNotNamed) {
  model::Facts facts = with_own_lan();
  std::vector<netlink::RuleExtras> all(6);
  all[0].tos = 0x10;
  all[1].tunnel_id = 7;
  all[2].l3mdev = true;
  all[3].unknown = true;
  all[4].source_ports = netlink::NumberRange{5060, 5061};
  all[5] = action(netlink::RuleAction::kNothing);
  for (const netlink::RuleExtras& extras : all) {
    facts.network.rules = {with(extras)};
    EXPECT_THAT(said_about(facts), IsEmpty());
  }
}

TEST(ForeignSelectors, OfBonddsOwnNumberButNotOfItsKindIsAnothers) {
  model::Facts facts = with_own_lan();
  netlink::Rule rule = with(action(netlink::RuleAction::kProhibit));
  rule.protocol = model::kProtocol;
  facts.network.rules = {rule};
  EXPECT_THAT(said_about(facts), Contains(HasSubstr("refuses what shall go into the bond")));
}

// --- marks ---

rules::MarkUse marks(std::uint32_t writes, std::uint32_t value, rules::MarkUse::Hook hook) {
  rules::MarkUse use;
  use.rule = "iptables -t mangle -A X -j MARK";
  use.bits = use.writes = writes;
  use.value = value;
  use.hook = hook;
  return use;
}

TEST(ForeignMarks, BitsThatNobodyWritesAreZero) {
  using Hook = rules::MarkUse::Hook;
  model::Facts facts = with_own_lan();
  facts.network.rules = {foreign_rule(100, 300, 1, 0xffffffff)};
  facts.mark_uses = {marks(0xff, 1, Hook::kPrerouting)};  // as bondd advises
  EXPECT_THAT(said_about(facts), ElementsAre(AllOf(HasSubstr("rule 100 (fwmark 0x1 lookup 300)"),
                                                   HasSubstr("takes past the bond what `iptables"))));
  facts.network.rules = {foreign_rule(100, 300, 1, 0xff)};
  facts.mark_uses = {marks(1, 1, Hook::kPrerouting)};  // --or-mark
  EXPECT_THAT(said_about(facts), ElementsAre(HasSubstr("takes past the bond what")));
  facts.mark_uses = {marks(1, 1, Hook::kAfterRouting)};
  EXPECT_THAT(said_about(facts), IsEmpty());
  facts.mark_uses = {marks(1, 1, Hook::kPrerouting)};
  facts.mark_uses.front().iif = "eth0";  // what comes in from a WAN's side is not the bond's
  EXPECT_THAT(said_about(facts), IsEmpty());
}

TEST(ForeignMarks, ConnectionsMarkThatIsRestoredLeadsPastTheBond) {
  model::Facts facts = with_own_lan();
  facts.network.rules = {foreign_rule(100, 300, 1, 0xff)};
  rules::MarkUse set, restore;
  set.rule = "iptables -j CONNMARK --set-xmark 0x1/0xff";
  set.bits = set.connection_writes = 0xff;
  set.connection_value = 1;
  set.iif = "eth1";
  restore.rule = "iptables -j CONNMARK --restore-mark";
  restore.bits = restore.restores = 0xff;
  facts.mark_uses = {set};
  EXPECT_THAT(said_about(facts), IsEmpty());
  facts.mark_uses = {set, restore};
  EXPECT_THAT(
      said_about(facts),
      ElementsAre(HasSubstr("takes past the bond what `iptables -j CONNMARK --set-xmark 0x1/0xff` marks")));
  facts.mark_uses.front().iif = "eth0";  // connections from a WAN's side, answered there
  EXPECT_THAT(said_about(facts), IsEmpty());
}

TEST(ForeignMarks, MarkOfAllThatLeavesTakesTheTunnels) {
  model::Facts facts = with_own_lan();
  facts.network.rules = {foreign_rule(100, 300, 1, 0xff)};
  facts.mark_uses = {marks(1, 1, rules::MarkUse::Hook::kOutput)};
  EXPECT_THAT(said_about(facts), ElementsAre(AllOf(HasSubstr("ovh: rule 100"), HasSubstr("since `iptables")),
                                             HasSubstr("orange: "), HasSubstr("takes past the bond what")));
  facts.mark_uses.front().narrow = true;
  EXPECT_THAT(said_about(facts), ElementsAre(HasSubstr("takes past the bond what")));
}

TEST(Foreign, NetworkThatAnotherSiteHasTooIsNamed) {
  model::Facts facts = office_facts(), other = facts;
  other.slot = 1;
  model::Config branch = office();
  branch.bond.interface = "bond1";
  facts.network.routes = plan(branch, other).value().state.routes;
  EXPECT_THAT(said_about(facts),
              ElementsAre(HasSubstr("0.0.0.0/0 is in through_bond of another site, too (bond1)")));
  model::Config config = office();
  config.through_bond = {prefix("10.77.0.0/16")};
  EXPECT_THAT(said_about(facts, config), IsEmpty());
}

TEST(Sites, SmallestNetworkOfAllSitesIsLookedUpFirst) {
  namespace priority = model::rule_priority;
  EXPECT_EQ(priority::bond(0), priority::kBond);
  for (int length = 10; length <= 32; ++length)
    EXPECT_LT(priority::bond(length), priority::bond(length - 1)) << length;
  EXPECT_LT(priority::bond(1), priority::bond(0));
  EXPECT_GT(priority::bond(32), priority::kPolicy + model::kMaxWans);
  model::Config config = office();
  config.through_bond = {prefix("10.77.0.0/16"), prefix("0.0.0.0/0"), prefix("10.78.0.0/16")};
  std::vector<std::string> rules;
  for (const std::string& line : print(diff(plan(config, office_facts()).value().state, {}))) {
    if (line.find("lookup 5200") != std::string::npos) rules.push_back(line);
  }
  EXPECT_THAT(rules,
              ElementsAre("ip rule add priority 5290 lookup 5200 protocol 98",
                          "ip rule add priority 5282 lookup 5200 suppress_prefixlength 15 protocol 98"));
}

}  // namespace
}  // namespace bondd::plan

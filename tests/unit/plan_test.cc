// Whole plans as text (tests/golden/plan, reviewed like code; BONDD_UPDATE_GOLDEN=1
// writes them anew) and the properties on which down and crash clean-up rest.
#include "bondd/plan/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <random>
#include <sstream>

#include "bondd/plan/exits.h"
#include "bondd/plan/routing.h"
#include "bondd/plan/tunnels.h"
#include "plan_fixture.h"

namespace bondd::plan {
namespace {

using namespace plan::testing;
using model::Owned;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

void expect_golden(const std::string& name, const std::string& text) {
  const std::string path = std::string(BONDD_SOURCE_DIR) + "/tests/golden/plan/" + name;
  if (std::getenv("BONDD_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << text;
  std::ifstream file(path);
  std::stringstream wanted;
  wanted << file.rdbuf();
  EXPECT_EQ(text, wanted.str()) << "differs from " << path;
}

// The machine as it is before anything of ours is there.
Owned nothing(const model::Facts& facts) {
  Owned owned;
  owned.current_sysctls = facts.sysctls;
  return owned;
}

// The machine after all steps of a plan worked.
Owned all_of(const model::DesiredState& state, const model::Facts& facts) {
  Owned owned = nothing(facts);
  for (const auto& sysctl : state.sysctls) {
    owned.saved_sysctls[sysctl.key] = owned.current_sysctls[sysctl.key];
    owned.current_sysctls[sysctl.key] = sysctl.value;
  }
  for (const auto& sysctl : state.device_sysctls) owned.current_sysctls[sysctl.key] = sysctl.value;
  owned.firewall = state.firewall;
  owned.links = state.links;
  owned.addresses = state.addresses;
  owned.routes = state.routes;
  owned.rules = state.rules;
  owned.processes = state.processes;
  return owned;
}

std::string whole_plan(const model::Config& config, const model::Facts& facts) {
  const model::DesiredState state = plan(config, facts).value().state;
  std::string text = joined(print(diff(state, nothing(facts))));
  for (const auto& process : state.processes) {
    for (const auto& file : process.files)
      text += fmt::format("\n# {}\n{}", file.path.string(), file.content);
  }
  return text;
}

TEST(Plan, OfficeExample) {
  expect_golden("office.txt", whole_plan(office(), office_facts()));
}
TEST(Plan, VpsExample) {
  expect_golden("vps.txt", whole_plan(vps(), vps_facts()));
}

TEST(Plan, OfficeExampleOverMlvpn) {
  model::Config config = office();
  config.backend = model::Backend::kMlvpn;
  expect_golden("office-mlvpn.txt", whole_plan(config, office_facts()));
}

TEST(Plan, DownUndoesTheWholeOfficeExample) {
  const model::DesiredState state = plan(office(), office_facts()).value().state;
  expect_golden("office-down.txt", joined(print(diff({}, all_of(state, office_facts())))));
}

TEST(Plan, UpTwiceHasNothingToDo) {
  for (const auto& [config, facts] : {std::pair(office(), office_facts()), std::pair(vps(), vps_facts())}) {
    const model::DesiredState state = plan(config, facts).value().state;
    EXPECT_THAT(print(diff(state, all_of(state, facts))), IsEmpty());
  }
}

TEST(Plan, DeadTunnelLeavesTheBondButNeverTheLast) {
  model::Facts facts = office_facts();
  const model::DesiredState before = plan(office(), facts).value().state;
  facts.dead = {"tap0-orange"};
  const model::DesiredState after = plan(office(), facts).value().state;
  const auto steps = print(diff(after, all_of(before, facts)));
  EXPECT_THAT(steps, Contains("ip link set tap0-orange nomaster"));
  for (const std::string& step : steps) EXPECT_THAT(step, HasSubstr("tap0-orange"));

  facts.dead = {"tap0-orange", "tap0-ovh"};
  EXPECT_EQ(plan(office(), facts).value().state.links, before.links);
}

TEST(Plan, OnlyBalanceRrTakesPacketTrainsApart) {
  model::Config config = office();
  EXPECT_EQ(plan(config, office_facts()).value().state.links.front().gso_max_segs, 1U);
  config.bond.mode = netlink::BondMode::kBalanceXor;
  EXPECT_EQ(plan(config, office_facts()).value().state.links.front().gso_max_segs, std::nullopt);
}

TEST(Plan, ForeignChangesAreRepairedAlone) {
  const model::DesiredState state = plan(office(), office_facts()).value().state;
  Owned owned = all_of(state, office_facts());
  owned.rules.erase(owned.rules.begin());
  owned.addresses.clear();
  EXPECT_THAT(print(diff(state, owned)),
              ElementsAre("ip addr add 172.16.16.2/30 dev bond0", HasSubstr("ip rule add priority 5201")));
}

TEST(Plan, RemadeBondTakesItsAddressAndRoutesAlong) {
  const model::DesiredState state = plan(office(), office_facts()).value().state;
  Owned owned = all_of(state, office_facts());
  owned.links.front().bond->mode = netlink::BondMode::kBalanceXor;
  const std::string text = joined(print(diff(state, owned)));
  EXPECT_THAT(text, HasSubstr("ip link del bond0\nip link add bond0"));
  EXPECT_THAT(text, HasSubstr("ip link set tap0-ovh down master bond0"));
  EXPECT_THAT(text, HasSubstr("ip addr add 172.16.16.2/30 dev bond0"));
  EXPECT_THAT(text, HasSubstr("ip route add default via 172.16.16.1 dev bond0"));
}

TEST(Plan, ChangedBoxReplacesTheRouteAndNothingElse) {
  const model::DesiredState before = plan(office(), office_facts()).value().state;
  model::Config config = office();
  config.wans[1].gateway = ip("192.168.1.253");
  const model::DesiredState after = plan(config, office_facts()).value().state;
  EXPECT_THAT(print(diff(after, all_of(before, office_facts()))),
              ElementsAre(HasSubstr("ip route del default via 192.168.1.254"),
                          HasSubstr("ip route add default via 192.168.1.253")));
}

TEST(Plan, WhileTheBondCarriesNothingNtpOfThisMachineLeavesByAWan) {
  model::Config config = office();
  config.policies.clear();
  model::Facts facts = office_facts();
  const auto lines = [&] {
    std::string text;
    const Plan made = plan(config, facts).value();
    for (const rules::Table& table : made.state.firewall.tables) {
      for (const rules::Chain& chain : table.chains) {
        for (const auto& rule : chain.rules) text += fmt::format("{} {}\n", chain.name, fmt::join(rule, " "));
      }
    }
    return text;
  };
  EXPECT_EQ(lines().find("--dport 123"), std::string::npos);
  EXPECT_EQ(lines().find("MASQUERADE"), std::string::npos);
  facts.clock_wan = 2;
  EXPECT_THAT(lines(), HasSubstr("BONDD-OUT-office -o bond0 -p udp -m udp --dport 123 -j MARK --set-xmark "
                                 "0x12000000/0x7f000000\n"));
  EXPECT_THAT(lines(),
              HasSubstr("BONDD-SNAT-office -o eth0 -m mark --mark 0x12000000/0x7f000000 -j MASQUERADE\n"));
}

TEST(Plan, WhileTheServerIsAwayNewConnectionsLeaveByAWanIfTheFileSaysSo) {
  model::Config config = office();
  model::Facts facts = office_facts();
  const auto text = [&] { return whole_plan(config, facts); };
  const std::string held = text();
  facts.direct_wan = 2;
  const std::string mark = fmt::format("--set-xmark {:#x}/", model::policy_mark(config.mark_mask, 0, 2));
  config.failover.direct = true;
  const std::string direct = text();
  for (const char* chain : {"BONDD-OUT-office -o bond0 -m conntrack --ctstate NEW -j CONNMARK ",
                            "BONDD-PRE-office -m conntrack --ctstate NEW -j CONNMARK "}) {
    EXPECT_THAT(direct, HasSubstr(chain + mark));
    EXPECT_THAT(held, Not(HasSubstr(chain)));
  }
  EXPECT_THAT(direct, HasSubstr("BONDD-OUT-office -d 172.16.16.0/30 -o bond0 -j RETURN"));
  EXPECT_THAT(direct, Not(HasSubstr("tcp-reset")));

  config.failover.running = model::Running::kReset;
  EXPECT_THAT(text(),
              HasSubstr("-o bond0 -p tcp -m conntrack --ctstate ESTABLISHED --ctdir ORIGINAL -j REJECT"));
  facts.direct_wan = 0;
  EXPECT_THAT(text(), HasSubstr(fmt::format(
                          "-p tcp -m connmark --mark {:#x}/{:#x} -m conntrack --ctstate ESTABLISHED",
                          model::policy_mark(config.mark_mask, 0, 2), config.mark_mask)));
}

TEST(Plan, WanWithoutAGatewayRefusesInsteadOfLeaking) {
  model::Config config = office();
  config.wans[1].gateway.reset();
  config.wans[1].device = "ppp0";
  const Plan result = plan(config, office_facts()).value();
  EXPECT_THAT(result.notes, Contains(Note{"orange", "interface ppp0 does not exist", true}));
  std::vector<netlink::Route> of_orange;
  std::copy_if(result.state.routes.begin(), result.state.routes.end(), std::back_inserter(of_orange),
               [](const netlink::Route& route) { return route.table == model::wan_table(0, 2); });
  ASSERT_EQ(of_orange.size(), 1U);
  EXPECT_EQ(of_orange[0].type, netlink::RouteType::kUnreachable);
}

TEST(Plan, GatewayIsLearnedFromTheDevicesDefaultRoute) {
  model::Config config = office();
  config.wans[0].gateway.reset();
  const Exit exit = find_exit(config.wans[0], office_facts().network);
  EXPECT_EQ(exit.gateway, ip("192.168.1.240"));
  EXPECT_EQ(exit.source, ip("192.168.1.252"));
}

TEST(Plan, ThroughBondInsideAWiderMainRouteStillWins) {
  model::Config config = vps();
  model::Facts facts = vps_facts();
  netlink::Route wide = default_via("203.0.113.2", "eth0");
  wide.destination = prefix("192.168.0.0/16");
  facts.network.routes.push_back(wide);
  const auto lines = print(diff(plan(config, facts).value().state, nothing(facts)));
  EXPECT_THAT(
      lines,
      Contains("ip rule add priority 5230 to 192.168.1.0/24 fwmark 0x0/0x7f000000 lookup 5200 protocol 98"));
}

TEST(Plan, ThroughBondThatAGatewayTakesForItsOwnNetworkStillGoesIntoTheBond) {
  model::Config config = office();
  config.through_bond = {prefix("192.168.1.0/24")};
  for (model::Wan& wan : config.wans) wan.gateway.reset();
  model::Facts facts = office_facts();
  netlink::Route own;
  own.destination = prefix("192.168.1.0/24");
  own.device = "eth0";
  facts.network.routes.push_back(own);
  const std::string rule =
      "ip rule add priority 5230 to 192.168.1.0/24 fwmark 0x0/0x7f000000 lookup 5200 protocol 98";
  const auto lines = [&] { return print(diff(plan(config, facts).value().state, nothing(facts))); };
  EXPECT_THAT(lines(), Not(Contains(rule)));  // the LAN is on that device, too
  facts.network.links.push_back(ethernet("lan"));
  facts.network.addresses.push_back({"lan", prefix("10.1.0.1/16"), std::nullopt});
  EXPECT_THAT(lines(), Contains(rule));
}

// What of `lines` contains `part`.
std::vector<std::string> with(const std::vector<std::string>& lines, const std::string& part) {
  std::vector<std::string> out;
  std::copy_if(lines.begin(), lines.end(), std::back_inserter(out),
               [&](const std::string& line) { return line.find(part) != std::string::npos; });
  return out;
}

TEST(Plan, GatewaysOnOneDeviceAreToldApartByTheirHardwareAddresses) {
  model::Facts facts = office_facts();
  facts.network.neighbours = {{"eth0", ip("192.168.1.254"), {{2, 0, 0, 0, 0, 0xfe}}},
                              {"eth0", ip("192.168.1.10"), {{2, 0, 0, 0, 0, 0x10}}}};
  const auto lines = print(diff(plan(office(), facts).value().state, nothing(facts)));
  const std::string chain = "iptables -t mangle -A BONDD-WAN-office ";
  EXPECT_THAT(
      with(lines, chain),
      ElementsAre(chain + "-s 192.168.1.0/24 -i eth0 -j RETURN",
                  HasSubstr("-i eth0 -m conntrack --ctdir ORIGINAL -j CONNMARK --set-xmark 0x11000000"),
                  HasSubstr("-i eth0 -m mac --mac-source 02:00:00:00:00:fe -m conntrack --ctdir ORIGINAL "
                            "-j CONNMARK --set-xmark 0x12000000")));
}

TEST(Plan, NetworksBehindARouterOfTheLanAreNoInternet) {
  model::Facts facts = office_facts();
  netlink::Route branch = default_via("192.168.1.3", "eth0"), half = default_via("10.9.0.1", "tun9");
  branch.destination = prefix("10.5.0.0/16");
  half.destination = prefix("0.0.0.0/1");
  facts.network.routes.insert(facts.network.routes.end(), {branch, half});
  EXPECT_THAT(inside_networks(office(), facts.network, ""),
              ElementsAre(prefix("10.5.0.0/16"), prefix("192.168.1.0/24")));
}

// --- reverse path filtering ---

const std::string kLoose = "sysctl -w net.ipv4.conf.bond0.rp_filter=2";

std::vector<std::string> lines_with(std::map<std::string, std::string> settings, const model::Config& config,
                                    model::Facts facts) {
  for (const auto& [key, value] : settings) facts.sysctls["net.ipv4.conf." + key] = value;
  return print(diff(plan(config, facts).value().state, nothing(facts)));
}

TEST(ReversePath, BondOfAnOfficeIsLooseWhereTheMachineIsStrict) {
  for (const char* key : {"all.rp_filter", "default.rp_filter"}) {
    const auto lines = lines_with({{key, "1"}}, office(), office_facts());
    const auto made = std::find(lines.begin(), lines.end(), "ip link set bond0 up");
    EXPECT_THAT(std::vector<std::string>(made, lines.end()), Contains(kLoose)) << key;
    EXPECT_THAT(lines_with({{key, "1"}}, vps(), vps_facts()), Not(Contains(kLoose))) << key;
  }
  EXPECT_THAT(lines_with({}, office(), office_facts()), Not(Contains(kLoose)));
  EXPECT_THAT(lines_with({{"all.rp_filter", "1"}, {"default.rp_filter", "2"}}, office(), office_facts()),
              Not(Contains(kLoose)));
}

TEST(ReversePath, BondThatSomebodyMadeStrictIsPutRightAndTheRestStays) {
  model::Facts facts = office_facts();
  facts.sysctls["net.ipv4.conf.all.rp_filter"] = "1";
  const model::DesiredState state = plan(office(), facts).value().state;
  model::Owned owned = all_of(state, facts);
  EXPECT_THAT(print(diff(state, owned)), IsEmpty());
  owned.current_sysctls["net.ipv4.conf.bond0.rp_filter"] = "1";
  EXPECT_THAT(print(diff(state, owned)), ElementsAre(kLoose));
  facts.sysctls["net.ipv4.conf.bond0.rp_filter"] = "2";  // as the next look sees it
  EXPECT_EQ(plan(office(), facts).value().state, state);
  EXPECT_THAT(with(print(diff({}, owned)), "bond0.rp_filter"), IsEmpty());  // it goes with the bond
}

TEST(ReversePath, RepliesKnowTheLanWhereTheKernelLooksAtMarks) {
  model::Facts facts = office_facts();
  netlink::Route lan = default_via("192.168.1.3", "eth0"), wide = lan;
  lan.destination = prefix("10.0.0.0/8");
  wide.destination = prefix("172.16.0.0/12");
  facts.network.routes.insert(facts.network.routes.end(), {lan, wide});
  model::Config config = office();
  config.through_bond = {prefix("10.20.0.0/16"), prefix("198.51.100.0/24")};
  const std::string to_bond =
      "ip route add default via 172.16.16.1 dev bond0 src 172.16.16.2 table 5231 proto 98";
  EXPECT_THAT(with(lines_with({}, config, facts), "table 5231 proto"), ElementsAre(to_bond));
  EXPECT_THAT(
      with(lines_with({{"eth0.src_valid_mark", "1"}}, config, facts), "table 5231 proto"),
      ElementsAre("ip route add 10.0.0.0/8 via 192.168.1.3 dev eth0 table 5231 proto 98",
                  "ip route add 172.16.0.0/12 via 192.168.1.3 dev eth0 table 5231 proto 98",
                  "ip route add 10.20.0.0/16 via 172.16.16.1 dev bond0 src 172.16.16.2 table 5231 proto 98",
                  "ip route add 172.16.16.0/30 via 172.16.16.1 dev bond0 src 172.16.16.2 table 5231 proto 98",
                  to_bond));
}

TEST(Plan, ForwardingOfOtherDevicesIsWrittenDownBeforeItIsSwitched) {
  model::Facts facts = office_facts();
  facts.network.links.push_back(ethernet("eth1"));
  facts.sysctls["net.ipv4.conf.eth1.forwarding"] = "1";
  const model::DesiredState state = plan(office(), facts).value().state;
  const auto down = print(diff({}, all_of(state, facts)));
  const auto first = std::find(down.begin(), down.end(), "sysctl -w net.ipv4.ip_forward=0");
  EXPECT_NE(std::find(first, down.end(), "sysctl -w net.ipv4.conf.eth1.forwarding=1"), down.end());
}

TEST(Plan, DevicesThatDoNotForwardThoughTheMachineDoesAreSwitchedOn) {
  model::Facts facts = office_facts();
  facts.network.links.push_back(ethernet("lan"));
  facts.network.addresses.push_back({"lan", prefix("10.1.0.1/16"), std::nullopt});
  const auto forwarding = [&](const std::map<std::string, std::string>& settings) {
    facts.sysctls["net.ipv4.ip_forward"] = "1";
    return with(lines_with(settings, office(), facts), ".forwarding=");
  };
  const std::string on = "sysctl -w net.ipv4.conf.lan.forwarding=1",
                    bond = "sysctl -w net.ipv4.conf.bond0.forwarding=1";
  EXPECT_THAT(forwarding({{"lan.forwarding", "0"}}), ElementsAre(on));
  EXPECT_THAT(forwarding({{"lan.forwarding", "1"}, {"eth0.forwarding", "0"}}), IsEmpty());  // a WAN's own
  EXPECT_THAT(forwarding({{"lan.forwarding", "1"}, {"default.forwarding", "0"}}), ElementsAre(bond));
  model::Facts server = vps_facts();
  server.sysctls["net.ipv4.ip_forward"] = "1";
  EXPECT_THAT(with(lines_with({{"eth0.forwarding", "0"}}, vps(), server), ".forwarding="),
              ElementsAre("sysctl -w net.ipv4.conf.eth0.forwarding=1"));
}

TEST(Plan, EachWanUsesItsOwnAddressOfTheServer) {
  model::Facts facts = office_facts();
  facts.server_addresses = {ip("203.0.113.10"), ip("203.0.113.11")};
  facts.server_of = {{"orange", ip("203.0.113.11")}};
  const auto made = plan(office(), facts);
  ASSERT_TRUE(made);
  ASSERT_EQ(made->state.processes.size(), 2U);
  EXPECT_THAT(made->state.processes[0].files[0].content, ::testing::HasSubstr("remote 203.0.113.10"));
  EXPECT_THAT(made->state.processes[1].files[0].content, ::testing::HasSubstr("remote 203.0.113.11"));
}

// A name with both families: the plan is that of a site whose WANs have chosen, not of the first address.
TEST(Plan, NameOfBothFamiliesIsReachedByIPv4) {
  model::Facts facts = office_facts();
  const model::DesiredState chosen = plan(office(), facts).value().state;
  facts.server_addresses = {ip("2001:db8::10"), ip("203.0.113.10")};
  const model::DesiredState resolved = plan(office(), facts).value().state;
  EXPECT_EQ(resolved.links, chosen.links);  // with the MTU
  EXPECT_EQ(resolved.processes, chosen.processes);
}

TEST(Plan, SecretsAndPasswordsAreNotOnCommandLines) {
  const model::DesiredState state = plan(office(), office_facts()).value().state;
  for (const auto& process : state.processes) {
    EXPECT_EQ(process.argv.size(), 3U);
    for (const auto& file : process.files) EXPECT_EQ(file.mode, 0600U);
  }
}

// From any part of the wanted state, and any part of an older one, a second pass has nothing to do.
TEST(Plan, DiffConvergesFromAnyPartialState) {
  const std::uint32_t seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  const auto keep_some = [&](auto list) {
    std::erase_if(list, [&](const auto&) { return random() % 2 == 0; });
    return list;
  };
  const model::Facts facts = office_facts();
  model::Config older = office();
  older.wans[1].gateway = ip("192.168.1.253");
  older.wans[0].weight = 2;
  older.wans[1].weight = 1;
  const model::DesiredState old_state = plan(older, facts).value().state;
  const model::DesiredState state = plan(office(), facts).value().state;
  for (int round = 0; round < 200; ++round) {
    Owned owned = all_of(old_state, facts);
    owned.links = keep_some(owned.links);
    owned.addresses = keep_some(owned.addresses);
    owned.routes = keep_some(owned.routes);
    owned.rules = keep_some(owned.rules);
    owned.processes = keep_some(owned.processes);
    const auto steps = diff(state, owned);
    for (const auto& link : owned.links) {
      const bool wanted = std::any_of(state.links.begin(), state.links.end(),
                                      [&](const auto& l) { return l.name == link.name; });
      const bool deleted =
          std::find(steps.begin(), steps.end(), model::Step(model::DeleteLink{link.name})) != steps.end();
      EXPECT_EQ(deleted, !wanted) << link.name;
    }
    for (const auto& rule : state.rules) {
      const bool there = std::find(owned.rules.begin(), owned.rules.end(), rule) != owned.rules.end();
      const bool added =
          std::find(steps.begin(), steps.end(), model::Step(model::AddRule{rule})) != steps.end();
      EXPECT_NE(there, added);
    }
  }
}

std::vector<model::Wan> lines_of(std::initializer_list<double> weights) {
  std::vector<model::Wan> wans;
  for (const double weight : weights) {
    model::Wan wan;
    wan.name = fmt::format("w{}", wans.size() + 1);
    wan.port = static_cast<std::uint16_t>(1194 + 2 * wans.size());
    wan.weight = weight;
    wans.push_back(wan);
  }
  return wans;
}

TEST(Tunnels, CountsAreTheSmallestThatUseTheLines) {
  EXPECT_THAT(instance_counts(lines_of({1, 1})), ElementsAre(1U, 1U));
  EXPECT_THAT(instance_counts(lines_of({4000, 1600})), ElementsAre(5U, 2U));
  EXPECT_THAT(instance_counts(lines_of({20, 10})), ElementsAre(2U, 1U));
  EXPECT_THAT(instance_counts(lines_of({1, 1, 1})), ElementsAre(1U, 1U, 1U));
  EXPECT_THAT(instance_counts(lines_of({1000, 1})), ElementsAre(7U, 1U));
}

TEST(Tunnels, GeneratedNamesNeverMeetAnotherWansName) {
  model::Config config = office();
  config.policies.clear();
  config.wans[0].name = "lte";
  config.wans[0].weight = 2;
  config.wans[1].name = "lte-2";
  config.wans[1].weight = 1;
  const model::DesiredState state = plan(config, office_facts()).value().state;
  std::vector<std::string> names;
  for (const netlink::Link& link : state.links) names.push_back(link.name);
  for (const model::Process& process : state.processes) {
    names.push_back(process.id);
    names.push_back(process.files[0].path);
    names.push_back(process.management_socket);
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());
}

// openvpn cuts the path of its management socket at 107 bytes without a word.
TEST(Tunnels, LongestNamesGiveSocketPathsThatFit) {
  model::Config config = office();
  config.policies.clear();
  config.site = std::string(64, 's');
  for (model::Wan& wan : config.wans) {
    wan.weight = wan.port == 1194 ? 2 : 1;
    wan.name = wan.name + std::string(32 - wan.name.size(), 'w');
  }
  model::Facts facts = office_facts();
  facts.run_dir = "/run/bondd/" + config.site;
  const auto made = plan(config, facts);
  ASSERT_TRUE(made);
  EXPECT_EQ(made->state.processes.size(), 3U);
  for (const model::Process& process : made->state.processes) {
    EXPECT_LE(process.management_socket.native().size(), 107U);
  }
  facts.run_dir = "/var/tmp/a-longer-place/" + config.site;
  EXPECT_THAT(plan(config, facts).error().message, HasSubstr("use a shorter --run-dir"));
}

TEST(Tunnels, InstancesInterleaveAndShareNoPort) {
  model::Config config = office();
  config.wans = lines_of({4000, 1600});
  std::vector<std::string> order;
  std::vector<std::uint16_t> ports;
  for (const Tunnel& tunnel : tunnels(config)) {
    order.push_back(tunnel.id);
    ports.push_back(tunnel.port);
  }
  EXPECT_THAT(order, ElementsAre("w1", "w2", "w1~2", "w1~3", "w1~4", "w2~2", "w1~5"));
  std::sort(ports.begin(), ports.end());
  EXPECT_EQ(std::unique(ports.begin(), ports.end()), ports.end());
}

// Both ends work the ports out by themselves. Where their files differ a tunnel may have no other end, but
// no tunnel has that of another WAN.
TEST(Tunnels, WeightsAndOrderThatDifferNeverLeadFromOneWanToAnother) {
  const auto owners = [](const std::vector<model::Wan>& wans) {
    model::Config config = office();
    config.wans = wans;
    std::map<std::uint16_t, std::string> out;
    for (const Tunnel& tunnel : tunnels(config)) out[tunnel.port] = config.wans[tunnel.wan - 1].name;
    return out;
  };
  const auto here = owners(lines_of({3, 1, 1}));
  std::vector<model::Wan> turned = lines_of({1, 2, 3});
  std::reverse(turned.begin(), turned.end());
  const auto there = owners(turned);
  int shared = 0;
  for (const auto& [port, wan] : here) {
    const auto other = there.find(port);
    if (other == there.end()) continue;
    ++shared;
    EXPECT_EQ(other->second, wan) << port;
  }
  EXPECT_GE(shared, 3);
}

TEST(Tunnels, WithoutRatesOfAllLinesEachHasOne) {
  std::vector<model::Wan> wans = lines_of({3, 1});
  wans[1].weight.reset();
  EXPECT_THAT(instance_counts(wans), ElementsAre(1U, 1U));
}

// What was measured counts beside the file: the longest packet of the bond, sealed, fits every line.
TEST(BondMtu, FollowsALineThatLosesLongPackets) {
  model::Config config = office();
  config.backend = model::Backend::kMlvpn;
  model::Facts facts = office_facts();
  const auto mtu = [&] { return plan(config, facts).value().state.links.front().mtu.value_or(0); };
  EXPECT_EQ(mtu(), 1420U);
  facts.path_mtu["orange"] = 1400;
  EXPECT_EQ(mtu(), 1328U);
  facts.path_mtu["ovh"] = 1380;
  EXPECT_EQ(mtu(), 1308U);
  facts.path_mtu["nobody"] = 1360;
  EXPECT_EQ(mtu(), 1308U);
  facts.path_mtu["ovh"] = 1351;
  EXPECT_EQ(mtu(), 1328U)
      << "1279 inside would be too little for QUIC and IPv6: ovh carries short packets only";
  config.bond.mtu = 1410;
  EXPECT_EQ(mtu(), 1410U) << "the file's word";
}

}  // namespace
}  // namespace bondd::plan

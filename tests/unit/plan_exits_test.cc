// How a WAN leaves: every form in which Linux holds a way out, and why a WAN waits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bondd/plan/exits.h"
#include "bondd/plan/plan.h"
#include "bondd/plan/servers.h"
#include "plan_fixture.h"

namespace bondd::plan {
namespace {

using namespace plan::testing;
using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

model::Wan wan(const char* device, const char* gateway = nullptr) {
  model::Wan out;
  out.name = "lte";
  out.device = device;
  if (gateway != nullptr) out.gateway = ip(gateway);
  return out;
}

void add_device(netlink::Snapshot& network, const char* device, std::initializer_list<const char*> addresses,
                bool point_to_point = false) {
  network.links.push_back(ethernet(device));
  network.facts[device].point_to_point = point_to_point;
  for (const char* address : addresses) {
    network.addresses.push_back({device, prefix(address), std::nullopt});
  }
}

netlink::Route route(const char* destination, const char* gateway, const char* device,
                     std::uint32_t table = netlink::kMainTable, std::uint32_t metric = 0) {
  netlink::Route out;
  out.destination = prefix(destination);
  if (gateway != nullptr) out.gateway = ip(gateway);
  if (gateway == nullptr) out.scope = 253;  // RT_SCOPE_LINK
  out.device = device;
  out.table = table;
  out.metric = metric;
  return out;
}

TEST(Exits, PointToPointDeviceNeedsNoGatewayAndNoRoute) {
  netlink::Snapshot network;
  add_device(network, "ppp1", {"100.64.3.7/32"}, true);
  network.addresses.back().peer = ip("10.64.64.64");
  const Exit exit = find_exit(wan("ppp1"), network);
  EXPECT_TRUE(exit.known()) << exit.waits;
  EXPECT_EQ(exit.gateway, std::nullopt);
  EXPECT_EQ(exit.source, ip("100.64.3.7"));
}

TEST(Exits, FourQuartersOfTheInternetAreADefaultRoute) {
  netlink::Snapshot network;
  add_device(network, "eth1", {"192.168.8.2/24"});
  for (const char* part : {"0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2", "64.0.0.0/3"})
    network.routes.push_back(route(part, "192.168.8.1", "eth1"));
  EXPECT_FALSE(find_exit(wan("eth1"), network).known()) << "a quarter is missing";
  network.routes.push_back(route("192.0.0.0/2", "192.168.8.9", "eth1"));
  EXPECT_FALSE(find_exit(wan("eth1"), network).known()) << "another gateway has it";
  network.routes.push_back(route("192.0.0.0/2", "192.168.8.1", "eth1"));
  EXPECT_EQ(find_exit(wan("eth1"), network).gateway, ip("192.168.8.1"));
}

TEST(Exits, TwoGatewaysWithOneHardwareAddressAreOneModem) {
  netlink::Snapshot network;
  add_device(network, "lan", {"192.168.1.2/24"});
  const auto mac = netlink::Neighbour{"lan", ip("192.168.1.240"), MacAddress{2, 0, 0, 0, 0, 1}};
  network.neighbours = {mac, {"lan", ip("192.168.1.254"), MacAddress{2, 0, 0, 0, 0, 2}}};
  const std::vector<model::Wan> wans{wan("lan", "192.168.1.240"), wan("lan", "192.168.1.254")};
  EXPECT_THAT(one_modem(wans, network), IsEmpty());
  network.neighbours.back().mac = mac.mac;
  const auto named = one_modem(wans, network);
  ASSERT_EQ(named.size(), 1U);
  EXPECT_EQ(named[0].first, 1U);
  EXPECT_THAT(named[0].second, HasSubstr("192.168.1.240 on lan and 192.168.1.254 on lan"));
  EXPECT_THAT(one_modem({wans[0], wans[0]}, network), IsEmpty()) << "one gateway is said already";
}

TEST(Exits, AGatewayOfAnotherDevicesNetworkIsToldToBeThere) {
  netlink::Snapshot network;
  add_device(network, "eth1", {"192.168.1.2/24"});
  add_device(network, "eth2", {"192.168.2.2/24"});
  EXPECT_EQ(find_exit(wan("eth1", "192.168.2.1"), network).waits,
            "gateway 192.168.2.1 is outside the network of eth1, which has 192.168.1.2/24; it is in eth2's");
}

TEST(Exits, PointToPointDeviceWithoutAddressWaits) {
  netlink::Snapshot network;
  add_device(network, "ppp1", {}, true);
  EXPECT_EQ(find_exit(wan("ppp1"), network).waits, "ppp1 has no IPv4 address yet");
}

TEST(Exits, PointToPointDeviceTakesAnyGatewayThatIsWritten) {
  netlink::Snapshot network;
  add_device(network, "ppp1", {"100.64.3.7/32"}, true);
  const Exit exit = find_exit(wan("ppp1", "10.0.0.1"), network);
  EXPECT_TRUE(exit.known()) << exit.waits;
  EXPECT_TRUE(exit.onlink);
}

TEST(Exits, SingleAddressBesideANetworkTakesAnyGatewayThatIsWritten) {
  netlink::Snapshot network;
  add_device(network, "dsl2", {"10.66.0.5/24", "192.168.12.2/32"});
  const Exit exit = find_exit(wan("dsl2", "192.168.12.1"), network);
  EXPECT_TRUE(exit.known()) << exit.waits;
  EXPECT_TRUE(exit.onlink);
  EXPECT_EQ(exit.source, ip("192.168.12.2"));
  EXPECT_EQ(find_exit(wan("dsl2", "10.66.0.1"), network).source, ip("10.66.0.5"));
}

TEST(Exits, PeerOfAnAddressIsTheGatewayWhereThereIsNoDefaultRoute) {
  netlink::Snapshot network;
  add_device(network, "dsl2", {"192.168.12.2/32"});
  network.addresses.back().peer = ip("192.168.12.1");
  const Exit exit = find_exit(wan("dsl2"), network);
  EXPECT_TRUE(exit.known()) << exit.waits;
  EXPECT_EQ(exit.gateway, ip("192.168.12.1"));
  EXPECT_EQ(exit.source, ip("192.168.12.2"));
  network.routes = {route("0.0.0.0/0", "192.168.12.9", "dsl2")};
  EXPECT_EQ(find_exit(wan("dsl2"), network).gateway, ip("192.168.12.9"));  // what the kernel has goes first
}

TEST(Exits, DefaultRouteInAnotherTableIsLearned) {
  netlink::Snapshot network;
  add_device(network, "eth1", {"192.168.8.100/24"});
  network.routes = {route("0.0.0.0/0", "192.168.8.1", "eth1", 100)};
  EXPECT_EQ(find_exit(wan("eth1"), network).gateway, ip("192.168.8.1"));
  network.routes.push_back(route("0.0.0.0/0", "192.168.8.2", "eth1"));  // main goes first
  EXPECT_EQ(find_exit(wan("eth1"), network).gateway, ip("192.168.8.2"));
}

TEST(Exits, LowestMetricCounts) {
  netlink::Snapshot network;
  add_device(network, "eth1", {"192.168.8.100/24"});
  network.routes = {route("0.0.0.0/0", "192.168.8.1", "eth1", netlink::kMainTable, 20100),
                    route("0.0.0.0/0", "192.168.8.2", "eth1", netlink::kMainTable, 100)};
  EXPECT_EQ(find_exit(wan("eth1"), network).gateway, ip("192.168.8.2"));
}

TEST(Exits, TwoHalvesAreADefaultRouteAndOneIsNot) {
  netlink::Snapshot network;
  add_device(network, "eth1", {"192.168.8.100/24"});
  network.routes = {route("0.0.0.0/1", "192.168.8.1", "eth1")};
  EXPECT_FALSE(find_exit(wan("eth1"), network).known());
  network.routes.push_back(route("128.0.0.0/1", "192.168.8.1", "eth1"));
  EXPECT_EQ(find_exit(wan("eth1"), network).gateway, ip("192.168.8.1"));
}

TEST(Exits, DefaultRouteWithoutGatewayIsAWayOut) {
  netlink::Snapshot network;
  add_device(network, "eth1", {"192.168.8.100/24"});
  network.routes = {route("0.0.0.0/0", nullptr, "eth1")};
  const Exit exit = find_exit(wan("eth1"), network);
  EXPECT_TRUE(exit.known()) << exit.waits;
  EXPECT_EQ(exit.gateway, std::nullopt);
}

TEST(Exits, IPv6GatewayOfAnIPv4RouteIsKept) {
  netlink::Snapshot network;
  add_device(network, "eth1", {"100.64.3.7/32"});
  network.routes = {route("0.0.0.0/0", "fe80::1", "eth1")};
  model::Config config = office();
  config.wans[1] = wan("eth1");
  config.wans[1].port = 1196;
  config.policies.clear();
  model::Facts facts = office_facts();
  add_device(facts.network, "eth1", {"100.64.3.7/32"});
  facts.network.routes.push_back(network.routes[0]);
  const auto made = plan(config, facts);
  ASSERT_TRUE(made);
  EXPECT_THAT(made->notes, IsEmpty());
  std::vector<model::Step> steps;
  for (const netlink::Route& one : made->state.routes) steps.emplace_back(model::AddRoute{one});
  EXPECT_THAT(print(steps),
              Contains("ip route add default via inet6 fe80::1 dev eth1 src 100.64.3.7 table 5202 proto 98"));
}

TEST(Exits, RefusingDefaultRoutesAreNoWayOut) {
  netlink::Snapshot network;
  add_device(network, "eth1", {"192.168.8.100/24"});
  netlink::Route refused = route("0.0.0.0/0", nullptr, "");
  refused.type = netlink::RouteType::kUnreachable;
  network.routes = {refused};
  EXPECT_EQ(find_exit(wan("eth1"), network).waits, "eth1 has no default route to learn the gateway from yet");
  EXPECT_EQ(find_exit(wan(""), network).waits, "no default route to learn the gateway from yet");
}

TEST(Exits, NeitherOwnRoutesNorOwnBondsAreLearned) {
  netlink::Snapshot network;
  add_device(network, "bond7", {"172.16.16.2/30"});
  network.links.back().alias = "bondd:other";
  network.routes = {route("0.0.0.0/0", "172.16.16.1", "bond7")};
  EXPECT_FALSE(find_exit(wan(""), network).known());
  add_device(network, "eth1", {"192.168.8.100/24"});
  network.routes.push_back(route("0.0.0.0/0", "192.168.8.1", "eth1", 5201));
  network.routes.back().protocol = model::kProtocol;
  EXPECT_FALSE(find_exit(wan("eth1"), network).known());
}

TEST(Exits, SingleAddressTakesAGatewayOnLink) {
  netlink::Snapshot network;
  add_device(network, "eth0", {"203.0.113.7/32"});
  const Exit exit = find_exit(wan("eth0", "172.31.1.1"), network);
  EXPECT_TRUE(exit.known()) << exit.waits;
  EXPECT_TRUE(exit.onlink);
  EXPECT_EQ(exit.source, ip("203.0.113.7"));
}

TEST(Exits, OnLinkGatewayThatTheKernelKnowsIsTaken) {
  for (const netlink::Route& known :
       {route("172.31.1.1/32", nullptr, "eth0"), route("0.0.0.0/0", "172.31.1.1", "eth0")}) {
    netlink::Snapshot network;
    add_device(network, "eth0", {"10.1.2.3/24"});
    network.routes = {known};
    EXPECT_TRUE(find_exit(wan("eth0", "172.31.1.1"), network).onlink);
    EXPECT_EQ(find_exit(wan("", "172.31.1.1"), network).device, "eth0");
  }
}

TEST(Exits, LearnedGatewayOutsideTheNetworkIsOnLink) {
  netlink::Snapshot network;
  add_device(network, "eth0", {"203.0.113.7/32"});
  network.routes = {route("0.0.0.0/0", "172.31.1.1", "eth0")};
  EXPECT_TRUE(find_exit(wan("eth0"), network).onlink);
  EXPECT_TRUE(find_exit(wan(""), network).onlink);
}

TEST(Exits, WhatMayComeByItselfIsWaitedFor) {
  netlink::Snapshot network;
  EXPECT_EQ(find_exit(wan("wan2", "192.168.12.1"), network).waits, "interface wan2 does not exist");
  add_device(network, "wan2", {});
  EXPECT_EQ(find_exit(wan("wan2", "192.168.12.1"), network).waits, "wan2 has no IPv4 address yet");
  network.links.back().up = false;
  EXPECT_EQ(find_exit(wan("wan2", "192.168.12.1"), network).waits, "the interface wan2 is down");
  network.links.back().up = true;
  network.addresses = {{"wan2", prefix("169.254.7.9/16"), std::nullopt}};
  EXPECT_EQ(find_exit(wan("wan2", "192.168.12.1"), network).waits,
            "gateway 192.168.12.1 is outside the network of wan2, which has 169.254.7.9/16");
  network.addresses = {{"wan2", prefix("192.168.12.1/24"), std::nullopt}};
  EXPECT_EQ(find_exit(wan("wan2", "192.168.12.1"), network).waits,
            "gateway 192.168.12.1 is this machine's own address (on wan2)");
  network.addresses = {{"wan2", prefix("192.168.12.5/30"), std::nullopt}};
  EXPECT_EQ(find_exit(wan("wan2", "192.168.12.7"), network).waits,
            "gateway 192.168.12.7 is the network or broadcast address of 192.168.12.4/30");
  EXPECT_EQ(find_exit(wan("", "192.168.13.1"), network).waits,
            "gateway 192.168.13.1 is in no network of this machine");
  model::Wan bound = wan("wan2", "192.168.12.6");
  bound.bind = ip("192.168.12.9");
  EXPECT_EQ(find_exit(bound, network).waits, "bind 192.168.12.9 is not an address of this machine now");
}

// A route or a setting of a device that is not there would fail for ever and hold up the whole site.
TEST(Exits, WanThatWaitsAsksTheKernelForNothingThatCannotBe) {
  model::Config config = office();
  config.wans[1].device = "wan2";
  const auto made = plan(config, office_facts());
  ASSERT_TRUE(made);
  EXPECT_THAT(made->notes, Contains(Note{"orange", "interface wan2 does not exist", true}));
  for (const netlink::Route& one : made->state.routes) EXPECT_NE(one.device, "wan2");
  for (const model::Sysctl& one : made->state.sysctls)
    EXPECT_THAT(one.key, ::testing::Not(HasSubstr("wan2")));
}

TEST(Exits, WrittenAndLearnedGatewayMayBeTheSameOne) {
  model::Config config = office();
  config.wans[0].gateway.reset();  // learned: 192.168.1.240
  config.wans[1].gateway = ip("192.168.1.240");
  config.wans[1].device.clear();
  const auto made = plan(config, office_facts());
  ASSERT_TRUE(made);
  EXPECT_THAT(made->notes, Contains(Field(&Note::text, HasSubstr("both leave by 192.168.1.240 on eth0"))));
}

TEST(Exits, SameGatewayAddressOnTwoDevicesIsTwoLines) {
  netlink::Snapshot network;
  add_device(network, "eth1", {"192.168.1.2/24"});
  add_device(network, "eth2", {"192.168.1.2/24"});
  EXPECT_THAT(shared_exits({wan("eth1", "192.168.1.1"), wan("eth2", "192.168.1.1")}, network), IsEmpty());
  EXPECT_EQ(shared_exits({wan("eth1", "192.168.1.1"), wan("", "192.168.1.1")}, network).size(), 1U);
}

// --- where the server cannot be ---

TEST(Servers, ANameThatLeadsNowhereIsNamedWithItsAddress) {
  model::Config config = office();
  config.server.address = "vps.example";
  netlink::Snapshot network = office_facts().network;
  add_device(network, "lan", {"10.1.0.1/16"});
  const auto why = [&](const char* address) {
    const auto fit = fit_servers(config, {ip(address)}, network);
    return fit ? "" : fit.error().message;
  };
  EXPECT_EQ(why("203.0.113.10"), "");
  EXPECT_EQ(why("192.168.1.7"), "");  // on a WAN's device anything may be
  EXPECT_EQ(why("127.0.1.1"), "vps.example is 127.0.1.1, this machine itself: the server cannot be there");
  EXPECT_EQ(why("192.168.1.252"),
            "vps.example is 192.168.1.252, this machine's own address (on eth0): the server cannot be there");
  EXPECT_EQ(why("0.0.0.0"), "vps.example is 0.0.0.0, which no machine has: the server cannot be there");
  EXPECT_THAT(why("172.16.16.1"), HasSubstr("inside the bond's own network 172.16.16.0/30"));
  EXPECT_THAT(why("10.1.3.4"), HasSubstr("in the network of lan, 10.1.0.0/16"));
  EXPECT_THAT(why("192.168.1.240"), HasSubstr("the gateway of ovh"));
  EXPECT_THAT(why("2001:db8::1"), HasSubstr("and this machine has no IPv6 address"));
  add_device(network, "eth9", {"2001:db8:2::7/64"});
  EXPECT_EQ(why("2001:db8::1"), "");
}

TEST(Servers, WhatIsOfUseIsTakenFromAnAnswer) {
  const auto fit = fit_servers(office(), {ip("0.0.0.0"), ip("203.0.113.10")}, office_facts().network);
  EXPECT_THAT(fit.value(), ::testing::ElementsAre(ip("203.0.113.10")));
}

}  // namespace
}  // namespace bondd::plan

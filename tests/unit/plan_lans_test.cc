// Which networks count as the office's: a modem's own network never does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bondd/plan/lans.h"
#include "plan_fixture.h"

namespace bondd::plan {
namespace {

using namespace plan::testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

void add_route(netlink::Snapshot& network, const char* destination, const char* gateway, const char* device) {
  netlink::Route route;
  route.destination = prefix(destination);
  route.gateway = ip(gateway);
  route.device = device;
  network.routes.push_back(route);
}

// Two modems with a network each, and a LAN with a computer.
struct Office {
  model::Config config = office();
  netlink::Snapshot network;
  std::set<IpAddress> hosts{ip("192.168.10.20"), ip("192.168.1.1"), ip("192.168.2.1")};

  Office() {
    config.wans[0].device = "eth1";
    config.wans[0].gateway = ip("192.168.1.1");
    config.wans[1].device = "eth2";
    config.wans[1].gateway = ip("192.168.2.1");
    add("lan0", "192.168.10.1/24");
    add("eth1", "192.168.1.2/24");
    add("eth2", "192.168.2.2/24");
  }
  void add(const char* device, const char* address) {
    network.links.push_back(ethernet(device));
    network.facts[device].carrier = true;
    network.addresses.push_back({device, prefix(address), std::nullopt});
  }
  [[nodiscard]] std::vector<IpPrefix> lans() const { return lan_networks(config, network, hosts); }
};

TEST(Lans, ADeviceThatLeadsToNoGatewayIsTheOffices) {
  EXPECT_THAT(Office().lans(), ElementsAre(prefix("192.168.10.0/24")));
}

TEST(Lans, AModemsNetworkIsNoLanThoughItsWanIsMistypedLeftOutOrElsewhere) {
  Office mistyped;
  mistyped.config.wans[1].device = "eth9";
  EXPECT_THAT(mistyped.lans(), ElementsAre(prefix("192.168.10.0/24")));

  Office one_wan;  // nobody but its own network knows of the second line
  one_wan.config.wans.pop_back();
  one_wan.hosts.erase(ip("192.168.2.1"));
  EXPECT_THAT(one_wan.lans(), ElementsAre(prefix("192.168.10.0/24")));
  one_wan.hosts.insert(ip("192.168.2.1"));
  add_route(one_wan.network, "0.0.0.0/0", "192.168.2.1", "eth2");
  EXPECT_THAT(one_wan.lans(), ElementsAre(prefix("192.168.10.0/24")));

  Office elsewhere;  // a WAN by a computer of the LAN
  elsewhere.config.wans[1].device = "lan0";
  elsewhere.config.wans[1].gateway = ip("192.168.10.20");
  elsewhere.hosts.erase(ip("192.168.2.1"));
  EXPECT_THAT(elsewhere.lans(), IsEmpty());
}

TEST(Lans, ANetworkWhereNobodyWasMetIsNotCalledOne) {
  Office office;
  office.add("eth3", "192.168.30.1/24");
  EXPECT_THAT(office.lans(), ElementsAre(prefix("192.168.10.0/24")));
  office.hosts.insert(ip("192.168.30.5"));
  EXPECT_THAT(office.lans(), ElementsAre(prefix("192.168.10.0/24"), prefix("192.168.30.0/24")));
}

TEST(Lans, WhatIsBehindARouterOfTheLanIsTheOfficesToo) {
  Office office;
  add_route(office.network, "192.168.20.0/24", "192.168.10.5", "lan0");
  add_route(office.network, "10.200.0.0/24", "192.168.1.1", "eth1");  // of the provider
  add_route(office.network, "10.8.0.0/24", "10.8.1.1", "wg0");
  EXPECT_THAT(office.lans(), ElementsAre(prefix("192.168.10.0/24"), prefix("192.168.20.0/24")));
}

TEST(Lans, OnOneLanWithBothGatewaysItIsThatLan) {
  Office both;
  both.network = {};
  both.hosts = {};
  both.config = office();
  both.add("eth0", "192.168.1.252/24");
  EXPECT_THAT(both.lans(), ElementsAre(prefix("192.168.1.0/24")));
}

TEST(Lans, ContainersHaveNoneButABridgeOfTheLanHas) {
  EXPECT_TRUE(is_inner_device("br-0123456789ab"));
  EXPECT_TRUE(is_inner_device("docker0"));
  EXPECT_FALSE(is_inner_device("br-lan"));
  EXPECT_FALSE(is_inner_device("eth0"));
}

}  // namespace
}  // namespace bondd::plan

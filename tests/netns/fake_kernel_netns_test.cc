// The in-memory kernel of the tests against the real one: the same random calls must succeed
// or fail alike and leave the same addresses, routes and rules.
#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "netlink/rtnl.h"
#include "tests/netns/own_netns.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/print.h"

namespace bondd::testing {
namespace {

using netlink::Address;
using netlink::Link;
using netlink::LinkKind;
using netlink::Route;
using netlink::RouteType;
using netlink::Rtnl;
using netlink::Rule;
using netlink::Snapshot;

constexpr std::uint8_t kOurs = 98;

IpPrefix prefix(const char* text) {
  return parse_prefix(text).value();
}
std::optional<IpAddress> ip(const char* text) {
  return parse_ip(text).value();
}

// One call, the same on both.
struct Call {
  std::string name;
  std::function<Result<>(Rtnl&)> run;
};

void add_link_calls(std::vector<Call>& calls) {
  for (const char* name : {"tun0", "tun1"}) {
    Link link{.name = name, .kind = LinkKind::kTun, .alias = "bondd:x", .no_ipv6_address = true};
    calls.push_back({fmt::format("add {}", name), [=](Rtnl& rtnl) { return rtnl.add_link(link); }});
    calls.push_back(
        {fmt::format("delete {}", name), [=](Rtnl& rtnl) { return rtnl.delete_link(link.name); }});
    for (const bool up : {true, true, false}) {  // more often up than down
      link.up = up;
      calls.push_back({fmt::format("set {} {}", name, up), [=](Rtnl& rtnl) { return rtnl.set_link(link); }});
    }
  }
}

void add_address_calls(std::vector<Call>& calls) {
  for (const Address& address :
       {Address{"tun0", prefix("172.16.16.2/30"), {}}, Address{"tun0", prefix("10.5.0.1/32"), ip("10.5.0.2")},
        Address{"tun1", prefix("172.16.17.2/24"), {}}, Address{"eth0", prefix("10.9.9.1/24"), {}}}) {
    const std::string name = to_string(address.prefix);
    calls.push_back({"add " + name, [=](Rtnl& rtnl) { return rtnl.add_address(address); }});
    calls.push_back({"delete " + name, [=](Rtnl& rtnl) { return rtnl.delete_address(address); }});
  }
}

std::vector<Route> routes() {
  const IpPrefix all = prefix("0.0.0.0/0");
  return {
      {.destination = all, .gateway = ip("172.16.16.1"), .device = "tun0", .table = 5200, .protocol = kOurs},
      {.destination = all,
       .gateway = ip("172.16.16.1"),
       .device = "tun0",
       .protocol = kOurs,
       .source = ip("172.16.16.2")},
      {.destination = all, .gateway = ip("172.16.17.1"), .device = "tun1", .table = 5201, .protocol = kOurs},
      {.destination = all,
       .gateway = ip("192.168.1.240"),
       .device = "eth0",
       .table = 5201,
       .protocol = kOurs,
       .metric = 5},
      {.destination = all, .gateway = ip("10.9.9.9"), .device = "eth0", .table = 5203, .protocol = kOurs},
      {.destination = all, .table = 5201, .protocol = kOurs, .metric = 9999, .type = RouteType::kUnreachable},
      {.destination = prefix("10.77.0.0/16"),
       .device = "tun1",
       .table = 5202,
       .protocol = kOurs,
       .scope = 253},
      {.destination = prefix("10.78.0.0/16"),
       .gateway = ip("10.1.1.1"),
       .device = "tun1",
       .protocol = kOurs,
       .onlink = true},
      {.destination = prefix("10.79.0.0/16"), .gateway = ip("10.5.0.2"), .device = "tun0", .protocol = kOurs},
  };
}

void add_route_calls(std::vector<Call>& calls) {
  for (const Route& route : routes()) {
    const std::string name = ::testing::PrintToString(route);
    calls.push_back({"add " + name, [=](Rtnl& rtnl) { return rtnl.add_route(route); }});
    calls.push_back({"delete " + name, [=](Rtnl& rtnl) { return rtnl.delete_route(route); }});
  }
}

void add_rule_calls(std::vector<Call>& calls) {
  for (const Rule& rule :
       {Rule{.priority = 5201, .table = 5201, .protocol = kOurs, .mark = 1 << 16, .mask = 0xff0000},
        Rule{.priority = 5280, .table = 254, .protocol = kOurs, .suppress_prefix_length = 0}}) {
    calls.push_back(
        {fmt::format("add rule {}", rule.priority), [=](Rtnl& rtnl) { return rtnl.add_rule(rule); }});
    calls.push_back(
        {fmt::format("delete rule {}", rule.priority), [=](Rtnl& rtnl) { return rtnl.delete_rule(rule); }});
  }
}

// What both must agree on, in words: IPv4, without lo and what a kernel names by chance.
std::vector<std::string> look(Rtnl& rtnl) {
  const Snapshot now = rtnl.snapshot().value();
  std::vector<std::string> lines;
  for (const Link& link : now.links) {
    if (link.name.starts_with("tun"))
      lines.push_back(fmt::format("{} {}", link.name, link.up ? "up" : "down"));
  }
  for (const Address& address : now.addresses) {
    if (address.prefix.address.is_v4() && address.device != "lo")
      lines.push_back(::testing::PrintToString(address));
  }
  for (const Route& route : now.routes) {
    if (route.destination.address.is_v4()) lines.push_back(::testing::PrintToString(route));
  }
  for (const Rule& rule : now.rules) {
    if (rule.protocol == kOurs) lines.push_back(::testing::PrintToString(rule));
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

class FakeKernelNetns : public OwnNetns {};

TEST_F(FakeKernelNetns, BehavesAsTheRealOne) {
  admin("ip tuntap add eth0 mode tap && ip addr add 192.168.1.252/24 dev eth0 && ip link set eth0 up");
  const auto real = std::move(*netlink::make_rtnl());
  FakeKernel fake;
  fake.add_device("eth0", {"192.168.1.252/24"});
  ASSERT_EQ(look(fake), look(*real));
  std::vector<Call> calls;
  add_link_calls(calls);
  add_address_calls(calls);
  add_route_calls(calls);
  add_rule_calls(calls);
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  std::string story = fmt::format("seed {}", seed);
  for (int step = 0; step < 600; ++step) {
    const Call& call = calls[random() % calls.size()];
    const Result<> by_fake = call.run(fake);
    const Result<> by_real = call.run(*real);
    story += fmt::format("\n{}: {}", call.name, by_real ? "done" : by_real.error().message);
    ASSERT_EQ(by_fake ? 0 : by_fake.error().code, by_real ? 0 : by_real.error().code) << story;
    ASSERT_EQ(look(fake), look(*real)) << story;
  }
}

}  // namespace
}  // namespace bondd::testing

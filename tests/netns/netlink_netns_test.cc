// Rtnl and Monitor against the running kernel. The bond's tests need the bonding driver.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "bondd/base/unique_fd.h"
#include "netlink/qdisc.h"
#include "netlink/rtnl.h"
#include "tests/netns/own_netns.h"
#include "tests/support/print.h"

namespace bondd::netlink {
namespace {

constexpr std::uint8_t kOurs = 98;
constexpr std::uint8_t kStatic = 4;  // RTPROT_STATIC

IpAddress ip(const char* text) {
  return parse_ip(text).value();
}

IpPrefix prefix(const char* text) {
  return parse_prefix(text).value();
}

class NetlinkNetns : public bondd::testing::OwnNetns {
 protected:
  void SetUp() override {
    OwnNetns::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    auto made = make_rtnl();
    ASSERT_TRUE(made) << made.error().message;
    rtnl_ = std::move(*made);
  }

  // Unwraps, so that a failure shows the kernel's words.
  static void ok(const Result<>& result) { ASSERT_TRUE(result) << result.error().message; }

  Snapshot snapshot() {
    auto taken = rtnl_->snapshot();
    EXPECT_TRUE(taken) << taken.error().message;
    return taken.value_or(Snapshot{});
  }

  Link link(const std::string& name) {
    for (const Link& found : snapshot().links) {
      if (found.name == name) return found;
    }
    ADD_FAILURE() << "no link " << name;
    return {};
  }

  bool has_link(const std::string& name) {
    const Snapshot now = snapshot();
    return std::any_of(now.links.begin(), now.links.end(), [&](const Link& l) { return l.name == name; });
  }

  static Link tap(const std::string& name) {
    return {.name = name,
            .kind = LinkKind::kTap,
            .alias = "bondd:office",
            .mtu = 1400,
            .txqueuelen = 1000,
            .gso_max_segs = 65535,  // GSO_MAX_SEGS, linux/netdevice.h: the kernel's own
            .owner_uid = 65534,
            .no_ipv6_address = true};
  }

  // A tap "eth0" with 192.168.1.252/24, up: a device to route over.
  void make_lan() {
    admin("ip tuntap add eth0 mode tap && ip addr add 192.168.1.252/24 dev eth0 && ip link set eth0 up");
  }

  std::vector<Route> routes_of(std::uint8_t protocol) {
    std::vector<Route> found;
    for (const Route& route : snapshot().routes) {
      if (route.protocol == protocol) found.push_back(route);
    }
    return found;
  }

  std::vector<Rule> rules_of(std::uint8_t protocol) {
    std::vector<Rule> found;
    for (const Rule& rule : snapshot().rules) {
      if (rule.protocol == protocol) found.push_back(rule);
    }
    return found;
  }

  std::unique_ptr<Rtnl> rtnl_;
};

TEST_F(NetlinkNetns, TapIsMadeAsAskedAndReadBack) {
  Link wanted = tap("tap0");
  wanted.mac = mac_from_seed("tap0");
  ok(rtnl_->add_link(wanted));
  EXPECT_EQ(link("tap0"), wanted);
  ok(rtnl_->add_link(wanted));  // it is there: success
  wanted.up = true;
  wanted.mtu = 1300;
  wanted.alias = "bondd:home";
  ok(rtnl_->set_link(wanted));
  EXPECT_EQ(link("tap0"), wanted);
  ok(rtnl_->delete_link("tap0"));
  EXPECT_FALSE(has_link("tap0"));
  ok(rtnl_->delete_link("tap0"));
}

TEST_F(NetlinkNetns, TunIsToldFromTap) {
  const Link wanted{.name = "mlvpn0", .kind = LinkKind::kTun, .alias = "bondd:office", .mtu = 1400};
  ok(rtnl_->add_link(wanted));
  EXPECT_EQ(link("mlvpn0").kind, LinkKind::kTun);
  EXPECT_EQ(link("mlvpn0").owner_uid, std::nullopt);
  ok(rtnl_->set_link({.name = "mlvpn0", .kind = LinkKind::kTun, .alias = "bondd:office", .owner_uid = 1000}));
  EXPECT_EQ(link("mlvpn0").owner_uid, 1000U);
}

// Below 1280 bytes (RFC 8200, 5) a device has no IPv6, and whoever asks for an IPv6 property is refused.
TEST_F(NetlinkNetns, ADeviceTooNarrowForIpv6IsMadeAndWidened) {
  for (const bool no_ipv6_address : {true, false}) {
    Link wanted = tap("tap0-ovh");
    wanted.mtu = 1200;
    wanted.no_ipv6_address = no_ipv6_address;
    ok(rtnl_->add_link(wanted));
    EXPECT_EQ(link("tap0-ovh").mtu, 1200U);
    wanted.mtu = 576;
    ok(rtnl_->set_link(wanted));
    wanted.mtu = 1400;
    ok(rtnl_->set_link(wanted));
    ok(rtnl_->set_link(wanted));  // IPv6 came with the width
    EXPECT_EQ(link("tap0-ovh").mtu, 1400U);
    EXPECT_EQ(link("tap0-ovh").no_ipv6_address, no_ipv6_address);
    ok(rtnl_->delete_link("tap0-ovh"));
  }
}

TEST_F(NetlinkNetns, ForeignDeviceOfThatNameIsRefused) {
  admin("ip tuntap add tap0 mode tap");
  const auto made = rtnl_->add_link(tap("tap0"));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, EEXIST);
  EXPECT_EQ(link("tap0").alias, "");
}

TEST_F(NetlinkNetns, TapThatCannotBeMadeLeavesNothing) {
  Link wanted = tap("tap0");
  wanted.mtu = 10;  // below the least that Ethernet allows
  const auto made = rtnl_->add_link(wanted);
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message.find("tap tap0"), std::string::npos) << made.error().message;
  EXPECT_FALSE(has_link("tap0"));
}

TEST_F(NetlinkNetns, CarrierOfATapIsItsProgram) {
  Link wanted = tap("tap0");
  ok(rtnl_->add_link(wanted));
  wanted.up = true;
  ok(rtnl_->set_link(wanted));
  EXPECT_FALSE(snapshot().facts.at("tap0").carrier);
  const UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  ifreq request{};
  std::strcpy(request.ifr_name, "tap0");
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  ASSERT_EQ(::ioctl(fd.get(), TUNSETIFF, &request), 0) << std::strerror(errno);
  EXPECT_TRUE(snapshot().facts.at("tap0").carrier);
  std::array<char, 60> frame{};
  frame[12] = 0x08;  // an IPv4 frame with nothing in it
  ASSERT_EQ(::write(fd.get(), frame.data(), frame.size()), 60) << std::strerror(errno);
  EXPECT_EQ(snapshot().facts.at("tap0").rx_packets, 1U);
  EXPECT_GE(snapshot().facts.at("tap0").rx_bytes, 46U);
}

TEST_F(NetlinkNetns, AddressesOfBothFamiliesComeAndGo) {
  make_lan();
  const std::vector<Address> wanted{
      {.device = "eth0", .prefix = prefix("172.16.16.2/30")},
      {.device = "eth0", .prefix = prefix("10.1.1.1/32"), .peer = ip("10.1.1.2")},
      {.device = "eth0", .prefix = prefix("2001:db8::2/64")},
  };
  for (const Address& address : wanted) {
    ok(rtnl_->add_address(address));
    ok(rtnl_->add_address(address));
    const auto there = snapshot().addresses;
    EXPECT_EQ(std::count(there.begin(), there.end(), address), 1) << to_string(address.prefix);
  }
  for (const Address& address : wanted) {
    ok(rtnl_->delete_address(address));
    ok(rtnl_->delete_address(address));
    const auto there = snapshot().addresses;
    EXPECT_EQ(std::count(there.begin(), there.end(), address), 0) << to_string(address.prefix);
  }
  Address nowhere = wanted[0];
  nowhere.device = "eth9";
  EXPECT_EQ(rtnl_->add_address(nowhere).error().code, ENODEV);
  ok(rtnl_->delete_address(nowhere));
}

TEST_F(NetlinkNetns, RoutesComeAndGoExactly) {
  make_lan();
  admin("ip -6 addr add 2001:db8::2/64 dev eth0 nodad");
  const std::vector<Route> wanted{
      {.destination = prefix("0.0.0.0/0"),
       .gateway = ip("192.168.1.240"),
       .device = "eth0",
       .table = 5201,
       .protocol = kOurs},
      {.destination = prefix("203.0.113.10/32"),
       .gateway = ip("192.168.1.254"),
       .device = "eth0",
       .protocol = kOurs,
       .metric = 50,
       .source = ip("192.168.1.252")},
      {.destination = prefix("192.168.1.0/24"),
       .device = "eth0",
       .table = 5201,
       .protocol = kOurs,
       .scope = 253},
      {.destination = prefix("0.0.0.0/0"),
       .table = 5202,
       .protocol = kOurs,
       .metric = 9999,
       .type = RouteType::kUnreachable},
      {.destination = prefix("198.51.100.0/24"),
       .gateway = ip("10.0.0.1"),
       .device = "eth0",
       .table = 5203,
       .protocol = kOurs,
       .onlink = true},
      {.destination = prefix("::/0"),
       .gateway = ip("2001:db8::1"),
       .device = "eth0",
       .table = 5201,
       .protocol = kOurs,
       .metric = 1024},
      {.destination = prefix("2001:db8:9::/48"),
       .table = 5201,
       .protocol = kOurs,
       .metric = 1024,
       .type = RouteType::kBlackhole},
      {.destination = prefix("0.0.0.0/0"), .table = 5204, .protocol = kOurs, .type = RouteType::kThrow},
  };
  for (const Route& route : wanted) {
    ok(rtnl_->add_route(route));
    ok(rtnl_->add_route(route));
    const auto there = routes_of(kOurs);
    EXPECT_EQ(std::count(there.begin(), there.end(), route), 1)
        << to_string(route.destination) << "\n"
        << output_of("ip route show table all; ip -6 route show table all");
  }
  EXPECT_EQ(routes_of(kOurs).size(), wanted.size());
  for (const Route& route : wanted) {
    ok(rtnl_->delete_route(route));
    ok(rtnl_->delete_route(route));
  }
  EXPECT_TRUE(routes_of(kOurs).empty());
}

TEST_F(NetlinkNetns, RouteOfTheAdminSurvivesOurTwin) {
  make_lan();
  admin("ip route add 203.0.113.10 via 192.168.1.240 dev eth0 proto static");
  const auto before = routes_of(kStatic);
  const Route twin{.destination = prefix("203.0.113.10/32"),
                   .gateway = ip("192.168.1.240"),
                   .device = "eth0",
                   .protocol = kOurs};
  ok(rtnl_->delete_route(twin));
  EXPECT_EQ(routes_of(kStatic), before);
  ok(rtnl_->add_route(twin));
  EXPECT_EQ(routes_of(kOurs), std::vector{twin});
  EXPECT_EQ(routes_of(kStatic), before);
  ok(rtnl_->delete_route(twin));
  EXPECT_EQ(routes_of(kStatic), before);
  Route anybody = twin;
  anybody.protocol = 0;
  EXPECT_EQ(rtnl_->delete_route(anybody).error().code, EINVAL);
  EXPECT_EQ(routes_of(kStatic), before);
}

TEST_F(NetlinkNetns, ARouteWithAnotherMetricIsNotDeleted) {
  make_lan();
  Route route{.destination = prefix("10.8.0.0/16"),
              .gateway = ip("192.168.1.240"),
              .device = "eth0",
              .table = 5201,
              .protocol = kOurs,
              .metric = 100};
  ok(rtnl_->add_route(route));
  Route other = route;
  other.metric = 0;  // "any" to the kernel
  ok(rtnl_->delete_route(other));
  other = route;
  other.gateway.reset();
  ok(rtnl_->delete_route(other));
  EXPECT_EQ(routes_of(kOurs), std::vector{route});
}

TEST_F(NetlinkNetns, RouteErrorsHaveTheKernelsWords) {
  make_lan();
  const auto far = rtnl_->add_route(
      {.destination = prefix("0.0.0.0/0"), .gateway = ip("10.0.0.1"), .device = "eth0", .protocol = kOurs});
  ASSERT_FALSE(far);
  EXPECT_EQ(far.error().code, ENETUNREACH);
  EXPECT_NE(far.error().message.find("Nexthop has invalid gateway"), std::string::npos)
      << far.error().message;
  EXPECT_NE(far.error().message.find("route 0.0.0.0/0 via 10.0.0.1 dev eth0 table 254"), std::string::npos)
      << far.error().message;
}

TEST_F(NetlinkNetns, MultipathAndForeignRoutesAreReadWithoutHarm) {
  make_lan();
  admin("ip route add 10.0.0.0/8 nexthop via 192.168.1.240 dev eth0 nexthop via 192.168.1.254 dev eth0");
  admin("ip route add prohibit 10.99.0.0/16");
  admin("ip route add 10.50.0.0/16 tos 0x10 dev eth0");
  admin("ip nexthop add id 7 via 192.168.1.240 dev eth0 && ip route add 10.60.0.0/16 nhid 7 || true");
  admin("ip route add 10.70.0.0/16 via inet6 fe80::1 dev eth0");
  const auto routes = snapshot().routes;
  const auto multipath = std::find_if(routes.begin(), routes.end(),
                                      [](const Route& r) { return r.destination == prefix("10.0.0.0/8"); });
  ASSERT_NE(multipath, routes.end());
  EXPECT_EQ(multipath->gateway, ip("192.168.1.240"));
  const auto via = std::find_if(routes.begin(), routes.end(),
                                [](const Route& r) { return r.destination == prefix("10.70.0.0/16"); });
  ASSERT_NE(via, routes.end());
  EXPECT_EQ(via->gateway, ip("fe80::1"));
  EXPECT_TRUE(std::none_of(routes.begin(), routes.end(), [](const Route& r) { return r.table == 255; }));
}

// Every leg of a route to several gateways, also where it only names nexthop objects.
TEST_F(NetlinkNetns, LegsOfARouteAreReadEach) {
  // A nexthop object needs a carrier, which a tap without a program has not.
  admin("ip link add eth0 type veth peer name far && ip link set far up && ip link set eth0 up");
  admin("ip addr add 192.168.1.252/24 dev eth0");
  const auto gateways_of = [&](const char* destination) {
    std::vector<IpAddress> found;
    for (const Route& route : snapshot().routes) {
      if (route.destination == prefix(destination) && route.gateway) found.push_back(*route.gateway);
    }
    return found;
  };
  const std::vector<IpAddress> both{ip("192.168.1.240"), ip("192.168.1.254")};
  admin("ip route add default nexthop via 192.168.1.240 dev eth0 nexthop via 192.168.1.254 dev eth0");
  EXPECT_EQ(gateways_of("0.0.0.0/0"), both);
  if (output_of("ip nexthop add id 7 via 192.168.1.240 dev eth0").find("exit status") != std::string::npos)
    return;
  admin("ip nexthop add id 8 via 192.168.1.254 dev eth0; ip nexthop add id 9 group 7/8");
  admin("ip route add 10.60.0.0/16 nhid 9; ip route add 10.61.0.0/16 nhid 8");
  for (const char* compat : {"1", "0"}) {  // with 0 the kernel does not say the legs beside the number
    admin(fmt::format("sysctl -qw net.ipv4.nexthop_compat_mode={}", compat));
    EXPECT_EQ(gateways_of("10.60.0.0/16"), both) << compat;
    EXPECT_EQ(gateways_of("10.61.0.0/16"), std::vector<IpAddress>{both[1]}) << compat;
  }
}

TEST_F(NetlinkNetns, RouteByAnIPv6GatewayComesAndGoes) {
  make_lan();
  Route route;
  route.destination = prefix("0.0.0.0/0");
  route.gateway = ip("fe80::1");
  route.device = "eth0";
  route.table = 5201;
  route.protocol = kOurs;
  ok(rtnl_->add_route(route));
  EXPECT_EQ(routes_of(kOurs), std::vector<Route>{route});
  ok(rtnl_->delete_route(route));
  EXPECT_TRUE(routes_of(kOurs).empty());
}

TEST_F(NetlinkNetns, PointToPointDevicesAreTold) {
  make_lan();
  admin("ip tuntap add ppp1 mode tun");
  EXPECT_TRUE(snapshot().facts.at("ppp1").point_to_point);
  EXPECT_FALSE(snapshot().facts.at("eth0").point_to_point);
}

TEST_F(NetlinkNetns, RulesComeAndGoExactly) {
  const std::vector<Rule> wanted{
      {.priority = 5201, .table = 5201, .protocol = kOurs, .mark = 0x10000, .mask = 0xff0000},
      {.priority = 5280, .table = 254, .protocol = kOurs, .suppress_prefix_length = 0},
      {.priority = 5281, .table = 5200, .protocol = kOurs},
      {.priority = 5205,
       .table = 77,
       .protocol = kOurs,
       .from = prefix("10.0.0.0/8"),
       .to = prefix("192.0.2.0/24"),
       .iif = "lo",
       .oif = "eth7"},
      {.priority = 5206, .table = 5202, .protocol = kOurs, .mark = 0, .mask = 0xff0000},
      {.family = Family::kIpv6,
       .priority = 5280,
       .table = 254,
       .protocol = kOurs,
       .suppress_prefix_length = 0},
      {.family = Family::kIpv6,
       .priority = 5281,
       .table = 5200,
       .protocol = kOurs,
       .from = prefix("2001:db8::/32")},
  };
  for (const Rule& rule : wanted) {
    ok(rtnl_->add_rule(rule));
    ok(rtnl_->add_rule(rule));
    const auto there = rules_of(kOurs);
    EXPECT_EQ(std::count(there.begin(), there.end(), rule), 1)
        << rule.priority << output_of("ip rule; ip -6 rule");
  }
  EXPECT_EQ(rules_of(kOurs).size(), wanted.size());
  for (const Rule& rule : wanted) {
    ok(rtnl_->delete_rule(rule));
    ok(rtnl_->delete_rule(rule));
  }
  EXPECT_TRUE(rules_of(kOurs).empty());
  EXPECT_EQ(output_of("ip rule | wc -l"), "3\n");  // the kernel's own
}

TEST_F(NetlinkNetns, RuleOfTheAdminSurvivesOurTwin) {
  admin("ip rule add pref 5280 lookup main suppress_prefixlength 0 protocol static");
  const auto before = rules_of(kStatic);
  ASSERT_EQ(before.size(), 1U);
  const Rule twin{.priority = 5280, .table = 254, .protocol = kOurs, .suppress_prefix_length = 0};
  ok(rtnl_->delete_rule(twin));
  EXPECT_EQ(rules_of(kStatic), before);
  ok(rtnl_->add_rule(twin));
  EXPECT_EQ(rules_of(kOurs), std::vector{twin});
  ok(rtnl_->delete_rule(twin));
  EXPECT_EQ(rules_of(kStatic), before);
}

// Rules of others are seen whole, whatever they say, so that it can be told what they do.
TEST_F(NetlinkNetns, RulesOfOthersAreReadWhateverTheySay) {
  const auto extras = [](auto change) {
    RuleExtras more;
    change(more);
    return more;
  };
  using Action = RuleAction;
  const std::vector<std::pair<std::string, RuleExtras>> wanted{
      {"not fwmark 0xe1f1 lookup 300", extras([](auto& r) { r.inverted = true; })},
      {"uidrange 0-7 lookup 300", extras([](auto& r) {
         r.uids = NumberRange{0, 7};
       })},
      {"ipproto udp dport 1194-1200 lookup 300", extras([](auto& r) {
         r.protocol = 17;
         r.destination_ports = NumberRange{1194, 1200};
       })},
      {"ipproto tcp sport 25 lookup 300", extras([](auto& r) {
         r.protocol = 6;
         r.source_ports = NumberRange{25, 25};
       })},
      {"tos 0x10 lookup 300", extras([](auto& r) { r.tos = 0x10; })},
      {"iif lo prohibit", extras([](auto& r) { r.action = Action::kProhibit; })},
      {"blackhole", extras([](auto& r) { r.action = Action::kBlackhole; })},
      {"unreachable", extras([](auto& r) { r.action = Action::kUnreachable; })},
      {"nop", extras([](auto& r) { r.action = Action::kNothing; })},
      {"tun_id 7 lookup 300", extras([](auto& r) { r.tunnel_id = 7; })},
      {"lookup 300 suppress_ifgroup 5", extras([](auto& r) { r.suppress_group = 5; })},
      {"lookup 300 realms 3/4", extras([](auto& r) { r.realms = (3U << 16) | 4; })},
      {"goto 32766", extras([](auto& r) {
         r.action = Action::kGoto;
         r.target = 32766;
       })},
  };
  for (const auto& [text, more] : wanted) {
    const std::string added = output_of("ip rule add pref 100 " + text + " protocol static");
    if (added.find("exit status") != std::string::npos) continue;  // a kernel without VRFs or realms
    const auto there = rules_of(kStatic);
    ASSERT_EQ(there.size(), 1U) << text;
    EXPECT_TRUE(there.front().extras == more) << text;
    EXPECT_FALSE(there.front().plain()) << text;
    EXPECT_FALSE(rtnl_->delete_rule(there.front())) << text;
    EXPECT_FALSE(rtnl_->add_rule(there.front())) << text;
    EXPECT_EQ(rules_of(kStatic).size(), 1U) << text;
    admin("ip rule del pref 100");
  }
}

TEST_F(NetlinkNetns, MonitorRingsForEachKindOfChange) {
  auto made = make_monitor();
  ASSERT_TRUE(made) << made.error().message;
  Monitor& monitor = **made;
  EXPECT_FALSE(monitor.drain());
  for (const char* change :
       {"ip tuntap add eth0 mode tap", "ip link set eth0 up", "ip addr add 192.168.1.252/24 dev eth0",
        "ip route add 10.0.0.0/8 via 192.168.1.240", "ip rule add pref 99 lookup 99",
        "ip -6 rule add pref 99 lookup 99", "ip link del eth0"}) {
    admin(change);
    pollfd readable{.fd = monitor.fd(), .events = POLLIN};
    EXPECT_EQ(::poll(&readable, 1, 1000), 1) << change;
    EXPECT_TRUE(monitor.drain()) << change;
  }
}

TEST_F(NetlinkNetns, DumpsUnderChangeAreWhole) {
  make_lan();
  admin(
      "for i in $(seq 1 250); do echo \"route add 10.$i.0.0/16 via 192.168.1.240 table 7777\"; done | ip "
      "-batch -");
  admin(
      "(for i in $(seq 1 40); do ip link add d$i type dummy 2>/dev/null || ip tuntap add d$i mode tap; done) "
      "& "
      "disown 2>/dev/null; true");
  for (int i = 0; i < 50; ++i) {
    const auto now = snapshot();
    EXPECT_EQ(
        std::count_if(now.routes.begin(), now.routes.end(), [](const Route& r) { return r.table == 7777; }),
        250);
  }
}

TEST_F(NetlinkNetns, HoldsPacketsBackOnOneDeviceOnly) {
  ok(rtnl_->add_link(tap("tap0-ovh")));
  const auto held = set_hold_back("tap0-ovh", std::chrono::milliseconds(13));
  if (!held && held.error().code == ENOENT) GTEST_SKIP() << "no sch_netem: " << held.error().message;
  ok(held);
  const auto delays = [](const std::string& words) {
    return output_of("tc qdisc show dev tap0-ovh root").find(words) != std::string::npos;
  };
  EXPECT_TRUE(delays("delay 13ms"));
  ok(set_hold_back("tap0-ovh", std::chrono::milliseconds(20)));
  EXPECT_TRUE(delays("delay 20ms"));
  ok(set_hold_back("tap0-ovh", Duration{}));
  EXPECT_FALSE(delays("delay"));
  EXPECT_EQ(set_hold_back("tap9-none", Duration{}).error().code, ENODEV);
}

class BondNetns : public NetlinkNetns {
 protected:
  void SetUp() override {
    NetlinkNetns::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const auto made = rtnl_->add_link(bond());
    if (!made && made.error().code == EOPNOTSUPP) GTEST_SKIP() << made.error().message;
    ok(made);
  }

  static Link bond() {
    return {
        .name = "bond0",
        .kind = LinkKind::kBond,
        .alias = "bondd:office",
        .mac = mac_from_seed("office/client"),
        .mtu = 1400,
        .txqueuelen = 1000,
        .gso_max_segs = 1,
        .bond = BondOptions{.arp_interval_ms = 300, .arp_targets = {ip("172.16.16.1"), ip("172.16.16.5")}},
        .no_ipv6_address = true};
  }
};

TEST_F(BondNetns, IsMadeAsAskedAndReadBack) {
  EXPECT_EQ(link("bond0"), bond());
  ok(rtnl_->add_link(bond()));
  Link wanted = bond();
  wanted.up = true;
  wanted.bond->arp_interval_ms = 500;
  wanted.bond->arp_targets = {ip("172.16.16.9")};
  ok(rtnl_->set_link(wanted));
  EXPECT_EQ(link("bond0"), wanted);
  ok(rtnl_->delete_link("bond0"));
  EXPECT_FALSE(has_link("bond0"));
}

TEST_F(BondNetns, XorWithItsHashPolicy) {
  Link wanted = bond();
  wanted.name = "bond1";
  wanted.bond->mode = BondMode::kBalanceXor;
  wanted.bond->hash_policy = HashPolicy::kLayer34;
  ok(rtnl_->add_link(wanted));
  EXPECT_EQ(link("bond1"), wanted);
  wanted.bond->hash_policy = HashPolicy::kLayer23;
  wanted.bond->mode = BondMode::kBalanceRr;
  ok(rtnl_->set_link(wanted));
  EXPECT_EQ(link("bond1"), wanted);
}

TEST_F(BondNetns, SlavesComeAndGoAndTheBondKeepsItsMac) {
  Link up = bond();
  up.up = true;
  ok(rtnl_->set_link(up));
  for (const char* name : {"tap0", "tap1"}) {
    Link wanted = tap(name);
    ok(rtnl_->add_link(wanted));
    wanted.up = true;
    ok(rtnl_->set_link(wanted));  // up before it is enslaved: the dance must do
    wanted.master = "bond0";
    ok(rtnl_->set_link(wanted));
    Link there = link(name);
    EXPECT_EQ(there.master, "bond0");
    EXPECT_TRUE(there.up);
    EXPECT_EQ(there.mac, up.mac);
    EXPECT_TRUE(snapshot().facts.at(name).slave_up.has_value());
  }
  EXPECT_EQ(link("bond0"), up);
  ok(rtnl_->set_link(link("tap0")));  // as it is: nothing to do
  Link released = tap("tap0");
  released.up = true;
  ok(rtnl_->set_link(released));
  EXPECT_EQ(link("tap0").master, "");
  EXPECT_TRUE(link("tap0").up);
  EXPECT_NE(link("tap0").mac, up.mac);
  EXPECT_EQ(link("bond0"), up);
  ok(rtnl_->delete_link("tap1"));
  EXPECT_NE(link("bond0").mac, up.mac);  // the kernel's way when the last slave leaves
  ok(rtnl_->set_link(up));
  EXPECT_EQ(link("bond0"), up);
  ok(rtnl_->delete_link("bond0"));
  EXPECT_TRUE(has_link("tap0"));
}

TEST_F(BondNetns, ASlaveMovesToAnotherBond) {
  Link second = bond();
  second.name = "bond1";
  second.mac = mac_from_seed("other");
  ok(rtnl_->add_link(second));
  Link slave = tap("tap0");
  ok(rtnl_->add_link(slave));
  slave.up = true;
  for (const char* master : {"bond0", "bond1"}) {
    slave.master = master;
    ok(rtnl_->set_link(slave));
    EXPECT_EQ(link("tap0").master, master);
    EXPECT_TRUE(link("tap0").up);
  }
}

TEST_F(BondNetns, ABondThatWasLeftHalfMadeIsTakenUpAgain) {
  ok(rtnl_->delete_link("bond0"));
  const std::string mac = to_string(*bond().mac);
  admin("ip link add bond0 address " + mac +
        " mtu 1400 type bond mode balance-rr arp_interval 300 arp_ip_target "
        "172.16.16.1,172.16.16.5");
  admin(fmt::format("ip link set bond0 group {}", netlink::group_until_aliased("bondd:office")));
  EXPECT_TRUE(is_half_made(link("bond0"), "bondd:office"));
  EXPECT_FALSE(is_half_made(link("bond0"), "bondd:vps"));
  ok(rtnl_->add_link(bond()));
  EXPECT_EQ(link("bond0"), bond());
  ok(rtnl_->delete_link("bond0"));
  admin("ip link add bond0 type bond");
  const auto made = rtnl_->add_link(bond());
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, EEXIST);
  EXPECT_NE(made.error().message.find("ip link delete bond0"), std::string::npos) << made.error().message;
}

// The group in the kernel's first notice of a new device, read from a socket that got it.
std::uint32_t group_in_notice(int fd) {
  alignas(nlmsghdr) std::array<char, 8192> buffer{};
  const ssize_t size = ::recv(fd, buffer.data(), buffer.size(), 0);
  EXPECT_GT(size, 0);
  auto* message = reinterpret_cast<nlmsghdr*>(buffer.data());
  EXPECT_EQ(message->nlmsg_type, RTM_NEWLINK);
  auto left = static_cast<int>(IFLA_PAYLOAD(message));
  for (const rtattr* one = IFLA_RTA(NLMSG_DATA(message)); RTA_OK(one, left); one = RTA_NEXT(one, left)) {
    if (one->rta_type != IFLA_GROUP) continue;
    std::uint32_t group = 0;
    std::memcpy(&group, RTA_DATA(one), sizeof group);
    return group;
  }
  return 0;
}

// A kill may come right after the bond's creation: the kernel's notice of it must show whose it is.
TEST_F(BondNetns, BearsATagFromItsFirstMomentOn) {
  ok(rtnl_->delete_link("bond0"));
  const UniqueFd notices(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK;
  ASSERT_EQ(::bind(notices.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ok(rtnl_->add_link(bond()));
  EXPECT_EQ(group_in_notice(notices.get()), group_until_aliased("bondd:office"));
  EXPECT_EQ(link("bond0").group, 0U);
}

TEST_F(BondNetns, EnslavingToWhatIsNoBondSaysSo) {
  Link slave = tap("tap0");
  ok(rtnl_->add_link(slave));
  ok(rtnl_->add_link(tap("tap1")));
  slave.master = "tap1";
  const auto done = rtnl_->set_link(slave);
  ASSERT_FALSE(done);
  EXPECT_NE(done.error().message.find("enslaving to tap1"), std::string::npos) << done.error().message;
}

TEST_F(BondNetns, ModeOfABondWithSlavesDoesNotChange) {
  Link slave = tap("tap0");
  ok(rtnl_->add_link(slave));
  slave.master = "bond0";
  slave.up = true;
  ok(rtnl_->set_link(slave));
  Link wanted = bond();
  wanted.bond->mode = BondMode::kBalanceXor;
  const auto changed = rtnl_->set_link(wanted);
  ASSERT_FALSE(changed);
  EXPECT_FALSE(changed.error().message.empty());
}

}  // namespace
}  // namespace bondd::netlink

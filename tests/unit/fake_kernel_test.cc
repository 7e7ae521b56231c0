#include "tests/support/fake_kernel.h"

#include <cerrno>

#include "tests/support/fake_iptables.h"
#include "tests/support/print.h"

namespace bondd::testing {
namespace {

using netlink::Address;
using netlink::Link;
using netlink::LinkKind;
using netlink::Route;

constexpr std::uint8_t kOurs = 98;

Link bond() {
  return {.name = "bond0",
          .kind = LinkKind::kBond,
          .alias = "bondd:office",
          .up = true,
          .mac = mac_from_seed("x")};
}

Link tap(const std::string& master) {
  return {.name = "tap0", .kind = LinkKind::kTap, .alias = "bondd:office", .master = master, .up = true};
}

Route default_via(const std::string& gateway, const std::string& device) {
  return {.destination = parse_prefix("0.0.0.0/0").value(),
          .gateway = parse_ip(gateway).value(),
          .device = device,
          .table = 5201,
          .protocol = kOurs};
}

TEST(FakeKernel, ARouteNeedsItsDeviceUpAndItsGatewayNear) {
  FakeKernel kernel;
  kernel.add_device("eth0", {"192.168.1.252/24"});
  EXPECT_EQ(kernel.add_route(default_via("192.168.1.240", "eth1")).error().code, ENODEV);
  EXPECT_EQ(kernel.add_route(default_via("10.0.0.1", "eth0")).error().code, ENETUNREACH);
  EXPECT_TRUE(kernel.add_route(default_via("192.168.1.240", "eth0")).has_value());
  ASSERT_TRUE(kernel.add_link(bond()).has_value());
  const Address address{.device = "bond0", .prefix = parse_prefix("172.16.16.2/30").value()};
  ASSERT_TRUE(kernel.add_address(address).has_value());
  // Down, the device has no connected route that the gateway could be on.
  EXPECT_EQ(kernel.add_route(default_via("172.16.16.1", "bond0")).error().code, ENETUNREACH);
  ASSERT_TRUE(kernel.set_link(bond()).has_value());
  EXPECT_TRUE(kernel.add_route(default_via("172.16.16.1", "bond0")).has_value());
}

TEST(FakeKernel, ADeletedLinkTakesAddressesRoutesAndSlavesAlong) {
  FakeKernel kernel;
  kernel.add_device("eth0", {"192.168.1.252/24"});
  const auto before = kernel.state().routes;
  ASSERT_TRUE(kernel.add_link(bond()).has_value());
  ASSERT_TRUE(kernel.set_link(bond()).has_value());
  ASSERT_TRUE(kernel.add_link(tap("bond0")).has_value());
  ASSERT_TRUE(kernel.set_link(tap("bond0")).has_value());
  EXPECT_EQ(kernel.state().links.back().master, "bond0");
  EXPECT_EQ(kernel.state().links.back().mac, mac_from_seed("x"));
  const Address address{.device = "bond0", .prefix = parse_prefix("172.16.16.2/30").value()};
  ASSERT_TRUE(kernel.add_address(address).has_value());
  ASSERT_TRUE(kernel.add_route(default_via("172.16.16.1", "bond0")).has_value());
  ASSERT_TRUE(kernel.delete_link("bond0").has_value());
  EXPECT_EQ(kernel.state().routes, before);
  EXPECT_EQ(kernel.state().addresses.size(), 1U);
  EXPECT_EQ(kernel.state().links.back().master, "");
}

TEST(FakeKernel, AddAndDeleteTwiceIsSuccess) {
  FakeKernel kernel;
  kernel.add_device("eth0", {"192.168.1.252/24"});
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(kernel.add_route(default_via("192.168.1.240", "eth0")).has_value());
  EXPECT_EQ(kernel.state().routes.size(), 2U);
  for (int i = 0; i < 2; ++i)
    EXPECT_TRUE(kernel.delete_route(default_via("192.168.1.240", "eth0")).has_value());
  EXPECT_EQ(kernel.state().routes.size(), 1U);
  EXPECT_TRUE(kernel.delete_link("tap9").has_value());
  ASSERT_TRUE(kernel.add_link(bond()).has_value());
  EXPECT_TRUE(kernel.add_link(bond()).has_value());
  Link foreign = bond();
  foreign.alias = "";
  EXPECT_EQ(kernel.add_link(foreign).error().code, EEXIST);
}

TEST(FakeKernel, FailsWhereItIsTold) {
  FakeKernel kernel;
  kernel.deny(true);
  EXPECT_EQ(kernel.add_link(bond()).error().code, EPERM);
  kernel.deny(false);
  kernel.fail_at(1);
  EXPECT_EQ(kernel.add_link(bond()).error().code, EIO);
  EXPECT_TRUE(kernel.add_link(bond()).has_value());
  kernel.crash_at(2);
  EXPECT_TRUE(kernel.add_link(tap("")).has_value());
  EXPECT_FALSE(kernel.delete_link("tap0").has_value());
  EXPECT_FALSE(kernel.delete_link("tap0").has_value());
  kernel.recover();
  EXPECT_TRUE(kernel.delete_link("tap0").has_value());
  EXPECT_EQ(kernel.calls().size(), 7U);
}

TEST(FakeIptables, KeepsSitesApart) {
  FakeIptables iptables;
  const auto site = [](const std::string& name) {
    return rules::Firewall{{{.name = "filter",
                             .chains = {{"BONDD-FWD-" + name, {{"-j", "ACCEPT"}}}},
                             .jumps = {{"FORWARD", "BONDD-FWD-" + name}}}}};
  };
  ASSERT_TRUE(iptables.install(site("office")).has_value());
  ASSERT_TRUE(iptables.install(site("new-office")).has_value());
  EXPECT_EQ(iptables.observe({"BONDD-", "-office"}).value(), site("office"));
  ASSERT_TRUE(iptables.remove(site("office")).has_value());
  EXPECT_EQ(iptables.observe({}).value(), site("new-office"));
}

}  // namespace
}  // namespace bondd::testing

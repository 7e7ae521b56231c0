// Whole sites on a real kernel: what a plan wants is made, read back as wanted, and removed without
// a trace, also after bondd was killed at any of its changes. Processes are only noted.
#include <fmt/format.h>

#include <cerrno>

#include "bondd/control/reconciler.h"
#include "netlink/rtnl.h"
#include "rules/iptables.h"
#include "tests/netns/own_netns.h"
#include "tests/support/fake_host.h"
#include "tests/support/print.h"
#include "tests/unit/plan_fixture.h"

namespace bondd::control {
namespace {

using plan::testing::ip;

// The kernel, with a point from which every change fails, as if bondd were killed there.
class MortalRtnl final : public netlink::Rtnl {
 public:
  explicit MortalRtnl(netlink::Rtnl& kernel) : kernel_(kernel) {}
  void die_at(std::size_t change) { left_ = change; }
  [[nodiscard]] std::size_t changes() const { return changes_; }

  Result<netlink::Snapshot> snapshot() override { return kernel_.snapshot(); }
  Result<> add_link(const netlink::Link& v) override {
    return change([&] { return kernel_.add_link(v); });
  }
  Result<> set_link(const netlink::Link& v) override {
    return change([&] { return kernel_.set_link(v); });
  }
  Result<> delete_link(const std::string& v) override {
    return change([&] { return kernel_.delete_link(v); });
  }
  Result<> add_address(const netlink::Address& v) override {
    return change([&] { return kernel_.add_address(v); });
  }
  Result<> delete_address(const netlink::Address& v) override {
    return change([&] { return kernel_.delete_address(v); });
  }
  Result<> add_route(const netlink::Route& v) override {
    return change([&] { return kernel_.add_route(v); });
  }
  Result<> delete_route(const netlink::Route& v) override {
    return change([&] { return kernel_.delete_route(v); });
  }
  Result<> add_rule(const netlink::Rule& v) override {
    return change([&] { return kernel_.add_rule(v); });
  }
  Result<> delete_rule(const netlink::Rule& v) override {
    return change([&] { return kernel_.delete_rule(v); });
  }

 private:
  template <typename Call>
  Result<> change(Call call) {
    if (++changes_ >= left_) return failure("killed here", EINTR);
    return call();
  }

  netlink::Rtnl& kernel_;
  std::size_t changes_ = 0, left_ = static_cast<std::size_t>(-1);
};

struct Site {
  std::string name;
  model::Config (*config)();
  model::Backend backend;
};
void PrintTo(const Site& site, std::ostream* out) {
  *out << site.name;
}

// The iptables that works here, as $t of a command.
constexpr std::string_view kTool =
    "t=iptables; { $t -N PROBE && $t -X PROBE; } > /dev/null 2>&1 || t=iptables-legacy; ";

class SiteNetns : public bondd::testing::OwnNetns, public ::testing::WithParamInterface<Site> {
 protected:
  void SetUp() override {
    OwnNetns::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    config_ = GetParam().config();
    config_.backend = GetParam().backend;
    make_machine();
    rtnl_ = std::move(*netlink::make_rtnl());
    iptables_ = std::move(*rules::make_iptables());
    sysctls_ = make_sysctls();
    run_dir_.emplace(std::move(*RunDir::take(root_.path(), config_.site)));
    if (config_.backend == model::Backend::kOpenVpnBond) skip_without_bonding();
    before_ = look();
  }

  void make_machine() {
    const bool office = config_.role == model::Role::kClient;
    admin(fmt::format(
        "ip tuntap add eth0 mode tap && ip addr add {} dev eth0 && ip link set eth0 up && "
        "ip route add default via {} dev eth0 proto static",
        office ? "192.168.1.252/24" : "203.0.113.10/24", office ? "192.168.1.240" : "203.0.113.1"));
    // The admin's own, which must come back as they are.
    admin("ip route add 10.8.0.0/16 dev eth0 metric 7 && ip rule add pref 5000 fwmark 0x1 lookup 77");
    admin(std::string(kTool) +
          "$t -N ADMIN && $t -A INPUT -p tcp --dport 22 -j ADMIN && $t -t nat -A POSTROUTING -o eth5 -j "
          "MASQUERADE && "
          "$t -t mangle -A PREROUTING -i eth7 -j MARK --set-mark 1");
  }

  void skip_without_bonding() {
    const netlink::Link probe{.name = "probe", .kind = netlink::LinkKind::kBond};
    const auto made = rtnl_->add_link(probe);
    if (!made && made.error().code == EOPNOTSUPP) GTEST_SKIP() << made.error().message;
    ASSERT_TRUE(made) << made.error().message;
    ASSERT_TRUE(rtnl_->delete_link("probe"));
  }

  // All that an admin could look at, without counters, times and indices, and without the carrier: the
  // kernel notices a moment late that a tap has no reader.
  std::string look() {
    const std::string net = output_of(
        "for t in -4 -6; do ip $t rule; ip $t route show table all; done | sed 's/ linkdown//'; "
        "ip -br addr | sed 's/^\\([^ ]*\\) *[A-Z]* */\\1 /'; ip -d link | grep -v 'link/\\|minmtu' | "
        "sed 's/^[0-9]*: //; s/NO-CARRIER,//; s/,LOWER_UP//; s/ state [A-Z]*//'; ip link | grep link/");
    const std::string firewall =
        output_of("iptables-nft-save 2> /dev/null; iptables-legacy-save 2> /dev/null");
    std::string rules;
    for (std::size_t at = 0; at < firewall.size();) {
      const std::size_t end = std::min(firewall.find('\n', at), firewall.size());
      const std::string line = firewall.substr(at, end - at);
      if (!line.starts_with("#")) rules += line.substr(0, line.find(" [")) + "\n";
      at = end + 1;
    }
    return net + rules +
           output_of(
               "cd /proc/sys/net && grep -r . ipv4/ip_forward ipv4/conf/all ipv4/conf/default ipv4/conf/eth0 "
               "ipv4/conf/lo | sort");
  }

  Machine machine(netlink::Rtnl& rtnl) {
    return {.rtnl = &rtnl,
            .iptables = iptables_.get(),
            .sysctls = sysctls_.get(),
            .processes = &processes_,
            .run_dir = &*run_dir_};
  }

  Reconciler reconciler(netlink::Rtnl& rtnl, bool up) {
    Reconciler made(machine(rtnl), bondd::testing::FakeHost::programs(), 0);
    if (up) made.set_config(config_);
    made.set_server_addresses({ip("203.0.113.10")});
    return made;
  }

  // Passes until one has nothing to do; the errors of the last one that had.
  static std::string settle(Reconciler& site) {
    std::string errors;
    for (int passes = 0; passes < 6; ++passes) {
      const auto pass = site.reconcile(Depth::kAll);
      if (!pass) return pass.error().message;
      if (pass->steps.empty()) return "";
      errors = fmt::format("{}", fmt::join(plan::print(pass->steps), "\n"));
      for (const Error& error : pass->errors) errors += "\n  failed: " + error.message;
    }
    return "never settles:\n" + errors;
  }

  model::Config config_;
  std::unique_ptr<netlink::Rtnl> rtnl_;
  std::unique_ptr<rules::Iptables> iptables_;
  std::unique_ptr<Sysctls> sysctls_;
  bondd::testing::FakeProcesses processes_;
  bondd::testing::TemporaryDir root_;
  std::optional<RunDir> run_dir_;
  std::string before_;
};

TEST_P(SiteNetns, IsMadeInOnePassAndTheSecondHasNothingToDo) {
  Reconciler site = reconciler(*rtnl_, true);
  const auto first = site.reconcile(Depth::kAll);
  ASSERT_TRUE(first) << first.error().message;
  for (const Error& error : first->errors) ADD_FAILURE() << error.message;
  const auto second = site.reconcile(Depth::kAll);
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_THAT(plan::print(second->steps), ::testing::IsEmpty());
  EXPECT_NE(look(), before_);
  const auto removed = remove_everything(site);
  EXPECT_TRUE(removed) << removed.error().message;
  EXPECT_EQ(look(), before_);
}

TEST_P(SiteNetns, ComesBackWholeWhateverIsTakenAway) {
  Reconciler site = reconciler(*rtnl_, true);
  ASSERT_EQ(settle(site), "");
  const std::string bond = config_.bond.interface;
  const std::vector<std::string> all_damage{
      "ip link set " + bond + " down",
      "ip addr flush dev " + bond,
      "ip route flush table 5200; ip route flush table 5201; true",
      "for p in $(ip rule | grep 'proto 98' | cut -d: -f1); do ip rule del pref $p; done",
      "ip link set eth0 down; ip link set eth0 up",
      "ip link del " + bond,
      std::string(kTool) + "$t -F; $t -t mangle -F; $t -t nat -F"};
  for (const std::string& damage : all_damage) {
    SCOPED_TRACE(damage);
    admin(damage);
    EXPECT_EQ(settle(site), "");
  }
  EXPECT_TRUE(remove_everything(site));
}

TEST_P(SiteNetns, IsPutRightAfterAKillAtAnyChange) {
  MortalRtnl counted(*rtnl_);
  Reconciler whole = reconciler(counted, true);
  ASSERT_EQ(settle(whole), "");
  const std::string up = look();
  const std::size_t changes = counted.changes();
  ASSERT_TRUE(remove_everything(whole));
  for (std::size_t at = 1; at <= changes; ++at) {
    SCOPED_TRACE(fmt::format("killed at change {} of {}", at, changes));
    processes_.processes.clear();
    MortalRtnl mortal(*rtnl_);
    mortal.die_at(at);
    Reconciler killed = reconciler(mortal, true);
    ASSERT_TRUE(killed.reconcile(Depth::kAll));
    Reconciler next = reconciler(*rtnl_, at % 2 == 0);  // up again, or down at once
    if (at % 2 == 0) {
      ASSERT_EQ(settle(next), "");
    }
    const auto removed = remove_everything(next);
    ASSERT_TRUE(removed) << removed.error().message;
    ASSERT_EQ(look(), before_);
  }
}

INSTANTIATE_TEST_SUITE_P(All, SiteNetns,
                         ::testing::Values(Site{"OfficeMlvpn", plan::testing::office, model::Backend::kMlvpn},
                                           Site{"VpsMlvpn", plan::testing::vps, model::Backend::kMlvpn},
                                           Site{"OfficeBond", plan::testing::office,
                                                model::Backend::kOpenVpnBond},
                                           Site{"VpsBond", plan::testing::vps, model::Backend::kOpenVpnBond}),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace bondd::control

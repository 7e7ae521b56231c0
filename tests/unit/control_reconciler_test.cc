#include <fmt/format.h>
#include <fmt/ranges.h>

#include <random>

#include "bondd/control/reconciler.h"
#include "bondd/model/ownership.h"
#include "tests/support/fake_host.h"
#include "tests/unit/plan_fixture.h"

namespace bondd::control {
namespace {

using plan::testing::ip;
using plan::testing::office;
using testing::FakeHost;
using testing::TemporaryDir;

// What the admin would compare: everything that bondd could have changed.
struct Look {
  std::vector<netlink::Link> links;
  std::vector<netlink::Address> addresses;
  std::vector<netlink::Route> routes;
  std::vector<netlink::Rule> rules;
  rules::Firewall firewall;
  std::map<std::string, std::string> sysctls;
  bool operator==(const Look&) const = default;
};

Look look(FakeHost& fake) {
  const auto state = fake.kernel.state();
  return {
      state.links,        state.addresses, state.routes, state.rules, rules::canonical(fake.iptables.state()),
      fake.sysctls.values};
}

class ReconcilerTest : public ::testing::Test {
 protected:
  Reconciler make(std::optional<model::Config> config) {
    Reconciler reconciler(fake_.machine(*run_dir_), FakeHost::programs(), 0);
    reconciler.set_config(std::move(config));
    reconciler.set_server_addresses({ip("203.0.113.10")});
    return reconciler;
  }

  // Passes until one has nothing to do; how many that took. Fails after 6.
  static int settle(Reconciler& reconciler) {
    for (int passes = 1; passes <= 6; ++passes) {
      const auto pass = reconciler.reconcile(Depth::kAll);
      EXPECT_TRUE(pass.has_value()) << pass.error().message;
      if (!pass || pass->steps.empty()) return passes;
      for (const Error& error : pass->errors) last_error_ = error.message;
    }
    ADD_FAILURE() << "does not settle: " << last_error_;
    return 99;
  }

  // What the office's network needs, right already.
  void has_right_settings() {
    auto& values = fake_.sysctls.values;
    values["net.ipv4.ip_forward"] = "1";
    values["net.ipv4.conf.eth0.forwarding"] = "1";
    values["net.ipv4.conf.all.accept_redirects"] = values["net.ipv4.conf.all.send_redirects"] = "0";
    values["net.ipv4.conf.eth0.accept_redirects"] = values["net.ipv4.conf.eth0.send_redirects"] = "0";
    values["net.ipv4.conf.eth0.rp_filter"] = "2";
  }

  FakeHost fake_;
  TemporaryDir root_;
  Result<RunDir> run_dir_ = RunDir::take(root_.path(), "office");
  static inline std::string last_error_;
};

TEST_F(ReconcilerTest, UpTwiceIsAnEmptyPlan) {
  Reconciler reconciler = make(office());
  const auto first = reconciler.reconcile(Depth::kAll);
  ASSERT_TRUE(first.has_value()) << first.error().message;
  for (const Error& error : first->errors) ADD_FAILURE() << error.message;
  EXPECT_FALSE(first->steps.empty());
  for (const Depth depth : {Depth::kNetwork, Depth::kAll}) {
    const auto second = reconciler.reconcile(depth);
    ASSERT_TRUE(second.has_value());
    EXPECT_THAT(plan::print(second->steps), ::testing::IsEmpty());
  }
}

TEST_F(ReconcilerTest, DownLeavesTheMachineAsItWas) {
  const Look before = look(fake_);
  Reconciler reconciler = make(office());
  settle(reconciler);
  EXPECT_NE(look(fake_), before);
  ASSERT_TRUE(remove_everything(reconciler).has_value());
  EXPECT_EQ(look(fake_), before);
  EXPECT_TRUE(fake_.processes.processes.empty());
  EXPECT_TRUE(run_dir_->saved_sysctls().empty());
  const auto again = reconciler.reconcile(Depth::kAll);
  ASSERT_TRUE(again.has_value());
  EXPECT_TRUE(again->steps.empty());
}

// A reload asks first: the site goes on as it was.
TEST_F(ReconcilerTest, AFileThatCannotBePlannedIsRefusedAndChangesNothing) {
  constexpr unsigned kSecondSite = 1;
  Reconciler reconciler(fake_.machine(*run_dir_), FakeHost::programs(), kSecondSite);
  reconciler.set_config(office());
  settle(reconciler);
  const Look before = look(fake_);
  model::Config config = office();
  EXPECT_TRUE(reconciler.prepare_with(config).has_value());
  config.mark_mask = 0x1f000000;  // bits for one site
  const auto refused = reconciler.prepare_with(config);
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().message, ::testing::HasSubstr("have room for 1 sites"));
  EXPECT_EQ(settle(reconciler), 1);
  EXPECT_EQ(look(fake_), before);
}

// Its name is somebody else's: the error is said, and nothing of the plan is done to that interface.
TEST_F(ReconcilerTest, AnInterfaceOfAnotherProgramIsLeftAsItIs) {
  netlink::Link bridge;
  bridge.name = office().bond.interface;
  bridge.kind = netlink::LinkKind::kTun;
  bridge.alias = "the admin's";
  ASSERT_TRUE(fake_.kernel.add_link(bridge).has_value());
  const netlink::Snapshot before = fake_.kernel.state();
  Reconciler reconciler = make(office());
  for (int pass = 0; pass < 3; ++pass) {
    const auto done = reconciler.reconcile(Depth::kAll);
    ASSERT_TRUE(done.has_value());
    EXPECT_FALSE(done->errors.empty());
  }
  ASSERT_TRUE(remove_everything(reconciler).has_value());
  const netlink::Snapshot after = fake_.kernel.state();
  EXPECT_EQ(after.links, before.links);
  EXPECT_EQ(after.addresses, before.addresses);
}

// A container's /proc/sys.
TEST_F(ReconcilerTest, ReadOnlySettingsThatAreRightAreLeftAlone) {
  has_right_settings();
  fake_.sysctls.read_only = true;
  last_error_.clear();
  Reconciler reconciler = make(office());
  settle(reconciler);
  EXPECT_EQ(last_error_, "");
  const auto removed = remove_everything(reconciler);
  EXPECT_TRUE(removed.has_value()) << removed.error().message;
  EXPECT_TRUE(run_dir_->saved_sysctls().empty());
}

// But what the site needs of its own interface is told; nothing is tried in vain, pass after pass.
TEST_F(ReconcilerTest, ReadOnlySettingOfTheBondThatIsWrongIsTold) {
  has_right_settings();
  auto& values = fake_.sysctls.values;
  values["net.ipv4.conf.default.rp_filter"] = values["net.ipv4.conf.bond0.rp_filter"] = "1";
  fake_.sysctls.read_only = true;
  Reconciler reconciler = make(office());
  EXPECT_EQ(settle(reconciler), 2);
  const model::FixedSysctl loose{{"net.ipv4.conf.bond0.rp_filter", "2"}, "1"};
  EXPECT_THAT(reconciler.fixed_sysctls(), ::testing::ElementsAre(loose));
}

TEST_F(ReconcilerTest, ReadOnlyForwardingThatIsOffIsTold) {
  fake_.sysctls.read_only = true;
  Reconciler reconciler = make(office());
  settle(reconciler);
  std::map<std::string, model::Need> told;
  for (const model::FixedSysctl& fixed : reconciler.fixed_sysctls())
    told[fixed.wanted.key] = fixed.wanted.need;
  EXPECT_EQ(told.at("net.ipv4.ip_forward"), model::Need::kMust);
  EXPECT_EQ(told.at("net.ipv4.conf.eth0.send_redirects"), model::Need::kShould);
}

TEST_F(ReconcilerTest, ARenamedDeviceGetsItsSettingsBack) {
  const std::string key = "net.ipv4.conf.eth0.rp_filter";
  const std::string before = fake_.sysctls.values.at(key);
  Reconciler reconciler = make(office());
  settle(reconciler);
  ASSERT_NE(fake_.sysctls.values.at(key), before);
  fake_.sysctls.rename("eth0", "usb0");
  const auto removed = remove_everything(reconciler);
  ASSERT_TRUE(removed.has_value()) << removed.error().message;
  EXPECT_EQ(fake_.sysctls.values.at("net.ipv4.conf.usb0.rp_filter"), before);
  EXPECT_EQ(fake_.sysctls.values.at("net.ipv4.conf.usb0.send_redirects"), "1");
  EXPECT_FALSE(fake_.sysctls.values.contains(key));
}

TEST_F(ReconcilerTest, ForwardingStaysOnForAProgramThatCameMeanwhile) {
  fake_.iptables.forwarding = {"iptables -t filter -A FORWARD -j ADMIN"};
  Reconciler reconciler = make(office());
  settle(reconciler);
  fake_.iptables.forwarding.insert("iptables -t nat -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE");
  ASSERT_TRUE(remove_everything(reconciler).has_value());
  EXPECT_EQ(fake_.sysctls.values["net.ipv4.ip_forward"], "1");
  EXPECT_EQ(fake_.sysctls.values["net.ipv4.conf.all.accept_redirects"], "0");
  EXPECT_EQ(fake_.sysctls.values["net.ipv4.conf.eth0.rp_filter"], "1");
  const auto left = reconciler.take_left_alone();
  ASSERT_EQ(left.size(), 3U) << fmt::format("{}", fmt::join(left, "\n"));
  EXPECT_EQ(
      left[0],
      "net.ipv4.ip_forward stays 1, it was 0 before bondd: another program forwards packets by now (iptables "
      "-t nat -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE); `sysctl -w net.ipv4.ip_forward=0` puts it "
      "back");
}

TEST_F(ReconcilerTest, ASettingThatSomebodyElseChangedIsTheirs) {
  Reconciler reconciler = make(office());
  settle(reconciler);
  fake_.sysctls.values["net.ipv4.conf.eth0.rp_filter"] = "0";
  Reconciler down = make(std::nullopt);
  ASSERT_TRUE(remove_everything(down).has_value());
  EXPECT_EQ(fake_.sysctls.values["net.ipv4.conf.eth0.rp_filter"], "0");
  EXPECT_EQ(fake_.sysctls.values["net.ipv4.ip_forward"], "0");
  EXPECT_EQ(down.take_left_alone().size(), 1U);
}

TEST_F(ReconcilerTest, ASettingOfTwoSitesGoesBackWithTheLast) {
  auto other = RunDir::take(root_.path(), "lab");
  ASSERT_TRUE(other->record_pid().has_value());
  auto killed = RunDir::take(root_.path(), "killed");  // nobody runs it: it is passed over
  ASSERT_TRUE(killed->save_sysctl("net.ipv4.ip_forward", "0", "1").has_value());
  const auto before = fake_.sysctls.values;
  Reconciler office_up = make(office());
  settle(office_up);
  Executor lab(fake_.machine(*other));
  ASSERT_TRUE(
      lab.execute(std::vector<model::Step>{model::SetSysctl{{"net.ipv4.ip_forward", "1"}, "1"}}).empty());
  ASSERT_TRUE(remove_everything(office_up).has_value());
  EXPECT_EQ(fake_.sysctls.values["net.ipv4.ip_forward"], "1");
  EXPECT_EQ(other->saved_sysctls().at("net.ipv4.ip_forward"), "0");
  ASSERT_TRUE(
      lab.execute(std::vector<model::Step>{model::RestoreSysctl{{"net.ipv4.ip_forward", "0"}}}).empty());
  EXPECT_EQ(fake_.sysctls.values, before);
}

// Killed between the bond's creation and its alias.
TEST_F(ReconcilerTest, DownRemovesAHalfMadeBondAndUpFinishesIt) {
  const Look before = look(fake_);
  const netlink::Link half_made{.name = "bond0",
                                .kind = netlink::LinkKind::kBond,
                                .bond = netlink::BondOptions{},
                                .group = netlink::group_until_aliased("bondd:office")};
  netlink::Link other = half_made;
  other.name = "bond7";
  other.group = netlink::group_until_aliased("bondd:vps");
  auto& links = fake_.kernel.state().links;
  links.push_back(half_made);
  Reconciler down = make(std::nullopt);
  ASSERT_TRUE(remove_everything(down).has_value());
  EXPECT_EQ(look(fake_), before);

  links.push_back(half_made);
  links.push_back(other);
  Reconciler up = make(office());
  settle(up);
  EXPECT_THAT(links, ::testing::Contains(other));
  ASSERT_TRUE(remove_everything(up).has_value());
  EXPECT_THAT(links, ::testing::Contains(other));
  EXPECT_EQ(links.size(), before.links.size() + 1);
}

// bondd is killed at every one of its kernel changes in turn; a new one finishes the job,
// or takes all down.
TEST_F(ReconcilerTest, ConvergesFromEveryCrashPoint) {
  const Look before = look(fake_);
  Reconciler whole = make(office());
  settle(whole);
  const Look up = look(fake_);
  const std::size_t changes = fake_.kernel.calls().size();
  ASSERT_TRUE(remove_everything(whole).has_value());
  for (std::size_t at = 1; at <= changes; ++at) {
    SCOPED_TRACE(fmt::format("killed at change {}", at));
    fake_.restart();
    fake_.crash_at(at);
    Reconciler killed = make(office());
    ASSERT_TRUE(killed.reconcile(Depth::kAll).has_value());
    fake_.restart();
    Reconciler next = make(office());
    settle(next);
    ASSERT_EQ(look(fake_).links, up.links);
    ASSERT_EQ(look(fake_).sysctls, up.sysctls);
    ASSERT_EQ(look(fake_).firewall, up.firewall);
    ASSERT_EQ(look(fake_).rules.size(), up.rules.size());
    ASSERT_EQ(look(fake_).routes.size(), up.routes.size());
    fake_.crash_at(at);
    Reconciler falling = make(std::nullopt);
    ASSERT_TRUE(falling.reconcile(Depth::kAll).has_value());
    fake_.restart();
    Reconciler last = make(std::nullopt);
    ASSERT_TRUE(remove_everything(last).has_value());
    ASSERT_EQ(look(fake_), before);
  }
}

// Whatever somebody took away, the site is whole again, and still leaves nothing.
TEST_F(ReconcilerTest, ConvergesFromAnyState) {
  const auto seed = std::random_device{}();
  RecordProperty("seed", static_cast<int>(seed));
  std::mt19937 random(seed);
  const auto chance = [&] { return random() % 3 == 0; };
  const Look before = look(fake_);
  Reconciler reconciler = make(office());
  settle(reconciler);
  const Look up = look(fake_);
  for (int round = 0; round < 100; ++round) {
    SCOPED_TRACE(fmt::format("seed {}, round {}", seed, round));
    auto& state = fake_.kernel.state();
    const auto ours = [](const auto& thing) { return thing.protocol == model::kProtocol; };
    std::erase_if(state.rules, [&](const auto& rule) { return ours(rule) && chance(); });
    std::erase_if(state.routes, [&](const auto& route) { return ours(route) && chance(); });
    std::vector<std::string> doomed;
    for (const auto& link : state.links) {
      if (link.alias == "bondd:office" && chance()) doomed.push_back(link.name);
    }
    for (const std::string& name : doomed) ASSERT_TRUE(fake_.kernel.delete_link(name).has_value());
    for (auto& table : fake_.iptables.state().tables) {
      std::erase_if(table.jumps, [&](const auto&) { return chance(); });
      std::erase_if(table.chains, [&](const auto&) { return chance(); });
    }
    for (auto& [key, value] : fake_.sysctls.values) {
      if (run_dir_->saved_sysctls().contains(key) && chance()) value = "0";
    }
    settle(reconciler);
    const Look now = look(fake_);
    ASSERT_EQ(now.rules.size(), up.rules.size());
    ASSERT_EQ(now.routes.size(), up.routes.size());
    ASSERT_EQ(now.links.size(), up.links.size());
    ASSERT_EQ(now.firewall, up.firewall);
    ASSERT_EQ(now.sysctls, up.sysctls);
  }
  ASSERT_TRUE(remove_everything(reconciler).has_value());
  EXPECT_EQ(look(fake_), before);
}

TEST_F(ReconcilerTest, AFailingStepStopsNoOtherAndIsDoneNextTime) {
  Reconciler reconciler = make(office());
  fake_.kernel.fail_at(7);
  const auto first = reconciler.reconcile(Depth::kAll);
  ASSERT_TRUE(first.has_value());
  EXPECT_GE(first->errors.size(), 1U);
  EXPECT_FALSE(fake_.kernel.state().rules.empty());
  settle(reconciler);
  EXPECT_EQ(fake_.processes.processes.size(), 2U);
}

TEST_F(ReconcilerTest, ADeadTunnelLeavesTheBondWithoutReadingTheFirewall) {
  Reconciler reconciler = make(office());
  settle(reconciler);
  fake_.iptables.deny(true);
  const std::string tap = model::tap_name(0, "orange", 0);
  reconciler.set_dead({tap});
  const auto pass = reconciler.reconcile(Depth::kNetwork);
  ASSERT_TRUE(pass.has_value());
  ASSERT_EQ(pass->steps.size(), 1U);
  EXPECT_EQ(std::get<model::SetLink>(pass->steps.front()).link.name, tap);
  EXPECT_EQ(std::get<model::SetLink>(pass->steps.front()).link.master, "");
}

TEST_F(ReconcilerTest, ASettingIsRestoredToWhatItWasBeforeTheFirstChange) {
  fake_.sysctls.values["net.ipv4.conf.all.accept_redirects"] = "0";
  const auto before = fake_.sysctls.values;
  Reconciler reconciler = make(office());
  settle(reconciler);
  fake_.restart();  // killed; the next one must not take our own values for the admin's
  Reconciler next = make(office());
  settle(next);
  ASSERT_TRUE(remove_everything(next).has_value());
  EXPECT_EQ(fake_.sysctls.values, before);
}

TEST_F(ReconcilerTest, TwoSitesDoNotTouchEachOther) {
  Reconciler reconciler = make(office());
  settle(reconciler);
  const Look one = look(fake_);
  auto other_dir = RunDir::take(root_.path(), "lab");
  ASSERT_TRUE(other_dir.has_value());
  model::Config other = office();
  other.site = "lab";
  other.bond.interface = "bond1";
  other.bond.address = plan::testing::prefix("172.16.17.2/30");
  other.bond.peer = ip("172.16.17.1");
  Machine machine = fake_.machine(*other_dir);
  testing::FakeProcesses processes;
  testing::FakeSysctls sysctls = fake_.sysctls;  // ip_forward is shared and stays while one needs it
  machine.processes = &processes;
  machine.sysctls = &sysctls;
  Reconciler second(machine, FakeHost::programs(), 1);
  second.set_config(other);
  second.set_server_addresses({ip("203.0.113.10")});
  settle(second);
  EXPECT_EQ(settle(reconciler), 1);
  ASSERT_TRUE(remove_everything(second).has_value());
  EXPECT_EQ(settle(reconciler), 1);
  EXPECT_EQ(look(fake_), one);
}

}  // namespace
}  // namespace bondd::control

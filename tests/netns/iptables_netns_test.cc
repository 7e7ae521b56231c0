// The running iptables in namespaces: both variants, installed, read back, removed. A kernel that
// lacks a variant skips its tests.
#include <algorithm>
#include <cerrno>

#include "rules/firewall_monitor.h"
#include "rules/iptables.h"
#include "rules/nft_ruleset.h"
#include "rules/nft_verdict.h"
#include "tests/netns/own_netns.h"
#include "tests/support/print.h"

namespace bondd::rules {
namespace {

using Words = std::vector<std::string>;

Words words(const std::string& line) {
  Words result;
  for (std::size_t at = 0; at < line.size();) {
    const std::size_t end = std::min(line.find(' ', at), line.size());
    if (end > at) result.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  return result;
}

Chain chain(const std::string& name, const std::vector<std::string>& lines) {
  Chain result{name, {}};
  for (const std::string& line : lines) result.rules.push_back(words(line));
  return result;
}

// Every form of rule that a plan writes, in canonical words.
Firewall everything(const std::string& site) {
  const auto own = [&](const std::string& part) { return "BONDD-" + part + "-" + site; };
  Table filter{
      "filter",
      {chain(own("FWD"),
             {"-i bond0 -j ACCEPT", "-o bond0 -j ACCEPT", "-o eth0 -m mark --mark 0x10000/0xff0000 -j ACCEPT",
              "-i eth0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-i bond0 -o eth0 -j ACCEPT",
              "-d 172.16.16.2/32 -o bond0 -p tcp -m tcp --dport 80 -j ACCEPT"}),
       chain(own("IN"), {"-p udp -m udp --dport 1194 -j ACCEPT",
                         "-d 203.0.113.10/32 -p udp -m udp --dport 1196 -j ACCEPT",
                         "-s 203.0.113.10/32 -p udp -m udp --sport 1194 -j ACCEPT", "-i bond0 -j ACCEPT"})},
      {{"FORWARD", own("FWD")}, {"INPUT", own("IN")}}};
  Table mangle{
      "mangle",
      {chain(own("MSS"), {"-i bond0 -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",
                          "-o bond0 -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu"}),
       chain(own("OUT"),
             {"-p tcp -m tcp --dport 6112 -j MARK --set-xmark 0x20000/0xff0000",
              "-p udp -m udp --sport 53 --dport 27000:30000 -j MARK --set-xmark 0x20000/0xff0000",
              "-s 192.168.1.0/24 -d 10.0.0.0/8 -p udp -m udp -j MARK --set-xmark 0x20000/0xff0000"}),
       chain(own("PRE"), {"-i bond0 -j RETURN"}),
       chain(own("RPL"),
             {"-i bond0 -m conntrack --ctstate NEW -j CONNMARK --set-xmark 0xf0000/0xff0000",
              "! -i bond0 -m connmark --mark 0xf0000/0xff0000 -j CONNMARK --restore-mark --nfmask "
              "0xff0000 --ctmask 0xff0000"})},
      {{"FORWARD", own("MSS")},
       {"OUTPUT", own("OUT")},
       {"PREROUTING", own("PRE")},
       {"PREROUTING", own("RPL")}}};
  Table nat{
      "nat",
      {chain(own("DNAT"),
             {"-d 203.0.113.10/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.16.16.2:80",
              "! -i bond0 -p tcp -m tcp --dport 8000:8010 -m addrtype --dst-type LOCAL -j DNAT "
              "--to-destination "
              "192.168.1.10:9000-9010",
              "! -i bond0 -p udp -m udp --dport 53 -m addrtype --dst-type LOCAL -j DNAT --to-destination "
              "192.168.1.10"}),
       chain(own("SNAT"), {"-o eth0 -m mark --mark 0x20000/0xff0000 -j MASQUERADE",
                           "-s 172.16.16.0/30 -o eth0 -j MASQUERADE"})},
      {{"POSTROUTING", own("SNAT")}, {"PREROUTING", own("DNAT")}}};
  return {{filter, mangle, nat}};
}

// Of a save: without comments and counters, which differ for the same rules.
std::string rules_only(const std::string& save) {
  std::string result;
  for (std::size_t at = 0; at < save.size();) {
    const std::size_t end = std::min(save.find('\n', at), save.size());
    const std::string line = save.substr(at, end - at);
    if (!line.starts_with("#")) result += line.substr(0, line.find(" [")) + "\n";
    at = end + 1;
  }
  return result;
}

class IptablesNetns : public bondd::testing::OwnNetns, public ::testing::WithParamInterface<Variant> {
 protected:
  // The admin's rules are in the tested variant, so that it is the one chosen.
  void SetUp() override {
    OwnNetns::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const std::string admins = tool() + " -A INPUT -p tcp --dport 22 -j ACCEPT && " + tool() +
                               " -N MINE && " + tool() + " -A INPUT -j MINE && " + tool() +
                               " -P FORWARD DROP && " + tool() +
                               " -t nat -A POSTROUTING -o eth5 -j MASQUERADE && " + tool() +
                               " -t mangle -A PREROUTING -i eth5 -j MARK --set-mark 7";
    const std::string output = output_of(admins);
    if (output.find("exit status") != std::string::npos) {
      GTEST_SKIP() << "this kernel has no " << to_string(GetParam()) << " iptables: " << output;
    }
    before_ = save();
    iptables_ = std::move(*make_iptables());
  }

  static std::string tool() { return "iptables-" + std::string(to_string(GetParam())); }
  static std::string save() { return rules_only(output_of(tool() + "-save")); }
  static void ok(const Result<>& result) { ASSERT_TRUE(result) << result.error().message; }
  Firewall observe(const std::string& suffix) {
    auto seen = iptables_->observe({"BONDD-", suffix});
    EXPECT_TRUE(seen) << seen.error().message;
    return seen.value_or(Firewall{});
  }

  std::string before_;
  std::unique_ptr<Iptables> iptables_;
};

TEST_P(IptablesNetns, JoinsTheVariantWhereTheRulesAre) {
  EXPECT_EQ(iptables_->variant().value(), GetParam());
  EXPECT_EQ(iptables_->warning(), "");
}

TEST_P(IptablesNetns, GivesBackEveryRuleUnchangedAndRemovesAll) {
  const Firewall wanted = everything("office");
  EXPECT_EQ(canonical(wanted), wanted);
  ok(iptables_->install(wanted));
  EXPECT_EQ(observe("-office"), wanted);
  EXPECT_TRUE(equivalent(wanted, observe("-office")));
  const std::string once = save();
  ok(iptables_->install(wanted));
  EXPECT_EQ(save(), once);
  ok(iptables_->remove(wanted));
  EXPECT_EQ(save(), before_);
  EXPECT_TRUE(observe("-office").empty());
  ok(iptables_->remove(wanted));
  EXPECT_EQ(save(), before_);
}

TEST_P(IptablesNetns, ReplacesAChainWholeAndKeepsTheAdminsPlaceOfTheJump) {
  Firewall wanted{
      {{"filter", {chain("BONDD-IN-office", {"-i bond0 -j ACCEPT"})}, {{"INPUT", "BONDD-IN-office"}}}}};
  ok(iptables_->install(wanted));
  EXPECT_TRUE(observe("-office").tables.at(0).jumps.at(0).first);
  admin(tool() + " -I INPUT -i eth7 -j DROP");  // before ours, as the admin likes
  wanted.tables[0].chains[0].rules = {words("-i bond1 -j ACCEPT"), words("-i bond2 -j ACCEPT")};
  ok(iptables_->install(wanted));
  const Firewall there = observe("-office");
  EXPECT_TRUE(equivalent(wanted, there));
  EXPECT_FALSE(there.tables.at(0).jumps.at(0).first);
  ok(iptables_->remove(wanted));
  admin(tool() + " -D INPUT -i eth7 -j DROP");
  EXPECT_EQ(save(), before_);
}

TEST_P(IptablesNetns, MendsJumpsThatSomebodySpoilt) {
  const Firewall wanted = everything("office");
  ok(iptables_->install(wanted));
  admin(tool() + " -A INPUT -j BONDD-IN-office");
  admin(tool() + " -D FORWARD -j BONDD-FWD-office");
  admin(tool() + " -F BONDD-IN-office");
  EXPECT_FALSE(equivalent(wanted, observe("-office")));
  ok(iptables_->install(wanted));
  EXPECT_EQ(observe("-office"), wanted);
  ok(iptables_->remove(wanted));
  EXPECT_EQ(save(), before_);
}

TEST_P(IptablesNetns, TwoSitesStayApart) {
  const Firewall office = everything("office");
  const Firewall other = everything("new-office");
  ok(iptables_->install(office));
  ok(iptables_->install(other));
  EXPECT_TRUE(equivalent(office, observe("-office")));
  EXPECT_TRUE(equivalent(other, observe("-new-office")));
  ok(iptables_->remove(office));
  EXPECT_TRUE(observe("-office").empty());
  EXPECT_TRUE(equivalent(other, observe("-new-office")));
  ok(iptables_->remove(other));
  EXPECT_EQ(save(), before_);
}

TEST_P(IptablesNetns, ABadRuleChangesNothingAndIsShown) {
  Firewall bad = everything("office");
  bad.tables[2].chains[0].rules.push_back(words("-p tcp -j DNAT --to-destination nonsense"));
  const auto installed = iptables_->install(bad);
  ASSERT_FALSE(installed);
  EXPECT_NE(installed.error().message.find("nonsense"), std::string::npos) << installed.error().message;
  Firewall alone{{bad.tables[2]}};
  EXPECT_FALSE(iptables_->install(alone));
  ok(iptables_->remove(bad));
  EXPECT_EQ(save(), before_);
}

TEST_P(IptablesNetns, AChainThatTheAdminUsesIsEmptiedAndNamed) {
  const Firewall wanted{
      {{"filter", {chain("BONDD-IN-office", {"-j ACCEPT"})}, {{"INPUT", "BONDD-IN-office"}}}}};
  ok(iptables_->install(wanted));
  admin(tool() + " -A MINE -i eth9 -j BONDD-IN-office");
  const auto removed = iptables_->remove(wanted);
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().code, EBUSY);
  EXPECT_NE(removed.error().message.find("-A MINE -i eth9 -j BONDD-IN-office"), std::string::npos);
  admin(tool() + " -F MINE");
  ok(iptables_->remove(wanted));
  EXPECT_EQ(save(), before_);
}

TEST_P(IptablesNetns, WaitsForTheLock) {
  const Firewall wanted = everything("office");
  admin("(flock /run/xtables.lock sleep 1) > /dev/null 2>&1 & sleep 0.2");
  ok(iptables_->install(wanted));
  EXPECT_TRUE(equivalent(wanted, observe("-office")));
}

TEST_P(IptablesNetns, ClearsUpInTheOtherVariantToo) {
  const std::string other = GetParam() == Variant::kNft ? "iptables-legacy" : "iptables-nft";
  const std::string stale =
      output_of(other + " -N BONDD-IN-office && " + other + " -A INPUT -j BONDD-IN-office");
  if (stale.find("exit status") != std::string::npos)
    GTEST_SKIP() << "this kernel has one variant only: " << stale;
  EXPECT_FALSE(observe("-office").empty());
  const Firewall wanted{
      {{"filter", {chain("BONDD-IN-office", {"-j ACCEPT"})}, {{"INPUT", "BONDD-IN-office"}}}}};
  ok(iptables_->install(wanted));
  EXPECT_EQ(output_of(other + "-save").find("BONDD"), std::string::npos);
  EXPECT_TRUE(equivalent(wanted, observe("-office")));
  admin(other + " -N BONDD-IN-office && " + other + " -A INPUT -j BONDD-IN-office");
  ok(iptables_->remove(wanted));
  EXPECT_EQ(output_of(other + "-save").find("BONDD"), std::string::npos);
  EXPECT_EQ(save(), before_);
}

TEST_P(IptablesNetns, WarnsWhenBothVariantsHoldRules) {
  const std::string other = GetParam() == Variant::kNft ? "iptables-legacy" : "iptables-nft";
  const std::string made = output_of(other + " -A INPUT -i eth8 -j DROP");
  if (made.find("exit status") != std::string::npos)
    GTEST_SKIP() << "this kernel has one variant only: " << made;
  EXPECT_TRUE(iptables_->variant());
  EXPECT_NE(iptables_->warning().find("both iptables-nft and iptables-legacy hold rules"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Both, IptablesNetns, ::testing::Values(Variant::kNft, Variant::kLegacy),
                         [](const auto& instance) { return std::string(to_string(instance.param)); });

TEST_P(IptablesNetns, AFlushIsNoticedAndQuietIsQuiet) {
  FirewallMonitor monitor = FirewallMonitor::create();
  const auto changed = [&] {
    return GetParam() == Variant::kNft ? monitor.drain() : monitor.legacy_changed();
  };
  EXPECT_FALSE(changed());
  ok(iptables_->install(everything("office")));
  EXPECT_TRUE(changed());
  EXPECT_FALSE(changed());
  EXPECT_FALSE(observe("-office").empty());
  EXPECT_FALSE(changed()) << "looking is no change";
  admin(tool() + " -F INPUT");
  EXPECT_TRUE(changed());
  EXPECT_FALSE(changed());
}

// Rules in nft's own syntax inside the chains that iptables uses: iptables-nft-save shows nothing of them.
class NftSyntaxNetns : public bondd::testing::OwnNetns {
 protected:
  void SetUp() override {
    OwnNetns::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const std::string tried = output_of("iptables-nft -L");
    if (tried.find("exit status") != std::string::npos) GTEST_SKIP() << "no nft iptables here: " << tried;
    admin(
        "nft 'add table ip filter;"
        "add chain ip filter INPUT { type filter hook input priority 0; policy drop; };"
        "add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; };"
        "add chain ip filter OUTPUT { type filter hook output priority 0; };"
        "add rule ip filter INPUT ct state vmap { established : accept, invalid : drop };"
        "add rule ip filter INPUT tcp dport { 22, 80 } accept;"
        "add rule ip filter FORWARD ct state vmap { established : accept, related : accept }'");
    ASSERT_NE(output_of("iptables-nft-save").find("incompatible"), std::string::npos);
    before_ = nft();
    iptables_ = std::move(*make_iptables());
  }

  static void ok(const Result<>& result) { ASSERT_TRUE(result) << result.error().message; }
  static std::string nft() { return output_of("nft -s list table ip filter"); }
  static std::size_t count(const std::string& text, const std::string& part) {
    std::size_t n = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
    return n;
  }
  Firewall observe() {
    auto seen = iptables_->observe({"BONDD-", "-office"});
    EXPECT_TRUE(seen) << seen.error().message;
    return seen.value_or(Firewall{});
  }

  std::string before_;
  std::unique_ptr<Iptables> iptables_;
};

TEST_F(NftSyntaxNetns, IsJoinedAndReadBackWholeAndLeftAsItWas) {
  EXPECT_EQ(iptables_->variant().value(), Variant::kNft);
  const Firewall wanted = everything("office");
  ok(iptables_->install(wanted));
  EXPECT_EQ(observe(), wanted);
  const std::string once = nft();
  for (int i = 0; i < 3; ++i) ok(iptables_->install(wanted));
  EXPECT_EQ(nft(), once);
  EXPECT_EQ(count(once, "jump BONDD-"), 2U) << once;
  ok(iptables_->remove(wanted));
  EXPECT_EQ(nft(), before_);
  EXPECT_TRUE(observe().empty());
}

TEST_F(NftSyntaxNetns, JumpsBehindForeignRulesAreFoundAndRemoved) {
  const Firewall wanted = everything("office");
  ok(iptables_->install(wanted));
  admin(
      "nft add rule ip filter INPUT counter jump BONDD-IN-office; nft add rule ip filter FORWARD jump "
      "BONDD-IN-office");
  EXPECT_FALSE(equivalent(wanted, observe()));
  ok(iptables_->install(wanted));
  EXPECT_TRUE(equivalent(wanted, observe()));
  EXPECT_EQ(count(nft(), "jump BONDD-"), 2U) << nft();
  admin("nft add rule ip filter INPUT jump BONDD-IN-office");
  ok(iptables_->remove(wanted));
  EXPECT_EQ(nft(), before_);
}

TEST_F(NftSyntaxNetns, AForeignRuleInOurChainIsSeenAndRemoved) {
  const Firewall wanted = everything("office");
  ok(iptables_->install(wanted));
  admin("nft add rule ip filter BONDD-IN-office ct state vmap { new : drop }");
  EXPECT_FALSE(equivalent(wanted, observe()));
  ok(iptables_->install(wanted));
  EXPECT_EQ(observe(), wanted);
}

TEST_F(NftSyntaxNetns, ARuleOfTheAdminThatUsesOurChainIsNamed) {
  const Firewall wanted = everything("office");
  ok(iptables_->install(wanted));
  admin("nft add rule ip filter INPUT iifname eth9 jump BONDD-IN-office");
  const auto removed = iptables_->remove(wanted);
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().code, EBUSY);
  EXPECT_NE(removed.error().message.find("of chain INPUT in table ip filter jumps to BONDD-IN-office"),
            std::string::npos)
      << removed.error().message;
}

TEST_F(NftSyntaxNetns, ASetsElementsAreNoChangeOfRules) {
  admin("nft 'add set ip filter banned { type ipv4_addr; }'");
  FirewallMonitor monitor = FirewallMonitor::create();
  admin("nft 'add element ip filter banned { 198.51.100.7 }'");
  EXPECT_FALSE(monitor.drain());
  admin("nft add rule ip filter INPUT ip saddr @banned drop");
  EXPECT_TRUE(monitor.drain());
}

TEST_F(NftSyntaxNetns, ABaseChainThatIptablesCannotUseIsNamedWithTheCure) {
  admin(
      "nft 'delete chain ip filter FORWARD; add chain ip filter FORWARD { type filter hook forward priority "
      "10; }'");
  const auto obstacles = iptables_->obstacles(everything("office"));
  ASSERT_EQ(obstacles.size(), 1U);
  EXPECT_NE(obstacles[0].find(
                "chain FORWARD of table ip filter cannot be used by iptables: it is of type filter with "
                "priority 10"),
            std::string::npos)
      << obstacles[0];
  const auto installed = iptables_->install(everything("office"));
  ASSERT_FALSE(installed);
  EXPECT_NE(installed.error().message.find("nft delete chain ip filter FORWARD"), std::string::npos)
      << installed.error().message;
}

// What the kernel does with a packet is asked of the kernel in foreign_firewall.py; here what bondd says of
// rules.
class NftVerdictNetns : public NftSyntaxNetns {
 protected:
  static std::vector<std::string> refused(const NftPacket& packet) {
    std::vector<std::string> out;
    auto ruleset = std::move(*read_nft_ruleset());
    read_nft_sets(ruleset);
    for (const NftRefusal& refusal : NftJudge(ruleset).refusals(packet)) {
      if (!refusal.sure) continue;
      out.push_back(refusal.table + " " + refusal.deciding + (refusal.policy ? " policy" : ""));
    }
    return out;
  }
  static NftPacket forward(const std::string& in, const std::string& out, bool answer = false) {
    NftPacket packet;
    packet.in = in;
    packet.out = out;
    packet.answer = answer;
    return packet;
  }
  static NftPacket tunnel(std::uint16_t port) {
    NftPacket packet;
    packet.hook = NftPacket::Hook::kInput;
    packet.in = "eth0";
    packet.protocol = 17;
    packet.destination_port = port;
    return packet;
  }
  using Refused = std::vector<std::string>;
};

TEST_F(NftVerdictNetns, APolicyDropIsSeenThroughAVerdictMapAndAnswersPass) {
  EXPECT_EQ(refused(forward("eth1", "bond0")), Refused{"ip filter FORWARD policy"});
  EXPECT_EQ(refused(forward("bond0", "eth1", true)), Refused{});
  EXPECT_EQ(refused(tunnel(1194)), Refused{"ip filter INPUT policy"});
  ok(iptables_->install(everything("office")));
  EXPECT_EQ(refused(forward("eth1", "bond0")), Refused{}) << "our own chain accepts it";
  EXPECT_EQ(refused(tunnel(1194)), Refused{});
}

TEST_F(NftVerdictNetns, FirewalldsWayOfRejectingIsSeen) {
  admin(
      "nft 'flush ruleset; add table inet firewalld;"
      "add chain inet firewalld zones; add chain inet firewalld filter_FWD_public;"
      "add chain inet firewalld filter_FORWARD { type filter hook forward priority 10; };"
      "add rule inet firewalld filter_FORWARD ct state { established, related } accept;"
      "add rule inet firewalld filter_FORWARD ct status dnat accept;"
      "add rule inet firewalld filter_FORWARD iifname lo accept;"
      "add rule inet firewalld filter_FORWARD jump zones;"
      "add rule inet firewalld filter_FORWARD reject with icmpx admin-prohibited;"
      "add rule inet firewalld zones iifname \"bond*\" goto filter_FWD_public;"
      "add rule inet firewalld filter_FWD_public oifname eth7 accept'");
  NftPacket service = forward("eth0", "bond0");
  service.translated = true;
  EXPECT_EQ(refused(service), Refused{});
  EXPECT_EQ(refused(forward("eth1", "bond0")), Refused{"inet firewalld filter_FORWARD"});
  EXPECT_EQ(refused(forward("bond0", "eth7")), Refused{});
  EXPECT_EQ(refused(forward("bond0", "eth1")), Refused{"inet firewalld filter_FORWARD"});
  EXPECT_EQ(refused(forward("eth1", "bond0", true)), Refused{});
}

TEST_F(NftVerdictNetns, APacketIsFollowedThroughAllItsHooks) {
  admin(
      "nft 'flush ruleset; add table inet admin;"
      "add chain inet admin pre { type filter hook prerouting priority -300; };"
      "add chain inet admin post { type filter hook postrouting priority 0; };"
      "add rule inet admin pre iifname eth1 drop; add rule inet admin post oifname eth7 drop'");
  EXPECT_EQ(refused(forward("eth1", "bond0")), Refused{"inet admin pre"});
  EXPECT_EQ(refused(forward("bond0", "eth7")), Refused{"inet admin post"});
  EXPECT_EQ(refused(forward("bond0", "eth1")), Refused{}) << "the other direction";
  EXPECT_EQ(refused(tunnel(1194)), Refused{}) << "eth0, and it does not leave";
  admin("nft 'flush chain inet admin pre; add rule inet admin pre ct state new drop'");
  EXPECT_EQ(refused(forward("eth1", "bond0")), Refused{}) << "before conntrack there is no connection";
  NftPacket service = forward("eth0", "bond0");
  service.translated = true;
  service.protocol = 6;
  service.destination_port = 8080;
  admin("nft 'flush chain inet admin pre; add rule inet admin pre tcp dport 8080 drop'");
  EXPECT_EQ(refused(service), Refused{}) << "the port before DNAT is another one, perhaps";
}

TEST_F(NftVerdictNetns, SetsIntervalsAndUnknownThingsAreJudgedWithCare) {
  admin(
      "nft 'flush ruleset; add table inet admin;"
      "add chain inet admin in { type filter hook input priority 0; policy drop; };"
      "add rule inet admin in udp dport { 53, 1190-1199, 5000 } accept'");
  EXPECT_EQ(refused(tunnel(1194)), Refused{});
  EXPECT_EQ(refused(tunnel(1200)), Refused{"inet admin in policy"});
  admin("nft 'insert rule inet admin in udp dport 1194 drop'");
  EXPECT_EQ(refused(tunnel(1194)), Refused{"inet admin in"});
  admin("nft 'insert rule inet admin in meta mark 7 accept'");
  EXPECT_EQ(refused(tunnel(1194)), Refused{}) << "it may bear that mark";
  NftPacket unmarked = tunnel(1194);
  unmarked.zero_bits = 0xffffff;
  EXPECT_EQ(refused(unmarked), Refused{"inet admin in"}) << "nobody gives it that mark";
  admin(
      "nft 'add chain inet admin pre { type filter hook prerouting priority -150; }; add rule inet admin pre "
      "meta mark set meta mark or 7'");
  EXPECT_EQ(refused(unmarked), Refused{}) << "now somebody does";
  admin(
      "nft 'flush chain inet admin in; add rule inet admin in limit rate 1/second drop; "
      "add rule inet admin in udp dport != 1194 accept'");
  EXPECT_EQ(refused(tunnel(1194)), Refused{"inet admin in policy"});
  EXPECT_EQ(refused(tunnel(1200)), Refused{});
}

// What a firewall lets in for others is no reason to keep silent about what it drops of the site's.
TEST_F(NftVerdictNetns, AnAcceptThatCannotFitSilencesNoDrop) {
  const auto dropped_after = [&](const std::string& accept, const NftPacket& packet) {
    admin(
        "nft 'flush ruleset; add table inet admin; add set inet admin friends { type ipv4_addr; flags "
        "interval; "
        "elements = { 192.0.2.0/24, 198.18.0.1 }; };"
        "add chain inet admin f { type filter hook forward priority 10; policy drop; };"
        "add rule inet admin f " +
        accept + "'");
    return refused(packet) == Refused{"inet admin f policy"};
  };
  NftPacket lan = forward("eth1", "bond0");
  lan.in_index = 7;
  lan.out_index = 8;
  lan.protocol = 17;
  lan.source_network = IpPrefix{IpAddress::v4({192, 168, 1, 0}), 24};
  lan.destination = IpAddress::v4({93, 184, 216, 34});
  lan.zero_bits = 0xffffff;
  for (const char* accept : {"iif lo accept", "ip saddr 192.168.99.0/24 accept", "ip saddr @friends accept",
                             "meta mark 0x7 accept", "tcp dport 443 accept", "ip daddr 198.51.100.81 accept",
                             "icmp type echo-request accept", "ct direction reply accept",
                             "ip saddr 192.168.4.0-192.168.9.255 accept"})
    EXPECT_TRUE(dropped_after(accept, lan)) << accept;
  for (const char* accept :
       {"ip saddr 192.168.1.50 accept", "ip saddr 192.168.0.0/16 accept", "udp dport 53 accept",
        "meta l4proto { tcp, udp } accept", "ct direction original accept",
        "ip saddr 192.168.0.0-192.168.1.255 accept", "ip daddr != 10.0.0.0/8 accept", "iif != lo accept"})
    EXPECT_FALSE(dropped_after(accept, lan)) << accept;
}

TEST_F(NftVerdictNetns, ConntracksStateOfIptablesIsRead) {
  admin("nft flush ruleset; iptables-nft -t mangle -A FORWARD -m conntrack --ctstate NEW -i eth1 -j DROP");
  EXPECT_EQ(refused(forward("eth1", "bond0")), Refused{"ip mangle FORWARD"});
  EXPECT_EQ(refused(forward("eth1", "bond0", true)), Refused{});
}

TEST_F(NftVerdictNetns, ReversePathChecksAreRead) {
  NftPacket packet = tunnel(1194);
  for (const char* rules :
       {"nft 'flush ruleset; add table inet admin; add chain inet admin pre { type filter hook prerouting "
        "priority -300; };"
        " add rule inet admin pre fib saddr . iif oif missing drop'",
        "nft 'flush ruleset; add table inet admin; add chain inet admin pre { type filter hook prerouting "
        "priority -300; };"
        " add rule inet admin pre fib saddr . mark . iif oif 0 drop'",
        "nft flush ruleset; iptables-nft -t raw -A PREROUTING -m rpfilter --invert -j DROP"}) {
    admin(rules);
    packet.no_way_back = false;
    EXPECT_EQ(refused(packet), Refused{}) << rules;
    packet.no_way_back = true;
    EXPECT_EQ(refused(packet).size(), 1U) << rules;
  }
}

class EmptyMachine : public bondd::testing::OwnNetns {};

TEST_F(EmptyMachine, HasAVariantThatWorks) {
  const auto iptables = std::move(*make_iptables());
  const auto variant = iptables->variant();
  ASSERT_TRUE(variant) << variant.error().message;
  const Firewall wanted = everything("office");
  const auto installed = iptables->install(wanted);
  ASSERT_TRUE(installed) << installed.error().message;
  EXPECT_EQ(iptables->observe({"BONDD-", "-office"}).value(), wanted);
  ASSERT_TRUE(iptables->remove(wanted));
  EXPECT_TRUE(iptables->observe({}).value().empty());
}

}  // namespace
}  // namespace bondd::rules

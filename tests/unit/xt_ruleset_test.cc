// What iptables' rules do with a packet, read from the words of iptables-save.
#include "rules/xt_ruleset.h"

#include <netinet/in.h>

#include "rules/nft_verdict.h"
#include "tests/support/print.h"

namespace bondd::rules {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

NftRuleset legacy(const std::string& text) {
  NftRuleset out;
  const auto tables = parse_tables(text).value();
  for (const SavedTable& table : tables) out.tables.push_back(xt_table(table, "iptables-legacy"));
  return out;
}

// A table with the usual built-in chains and these lines.
NftRuleset filter(const std::string& lines, const std::string& policy = "ACCEPT") {
  return legacy("*filter\n:INPUT " + policy + " [0:0]\n:FORWARD " + policy + " [0:0]\n" + lines + "COMMIT\n");
}

NftPacket tunnel() {
  NftPacket packet;
  packet.hook = NftPacket::Hook::kInput;
  packet.in = "eth0";
  packet.protocol = IPPROTO_UDP;
  packet.source = IpAddress::v4({198, 51, 100, 7});
  packet.destination = IpAddress::v4({203, 0, 113, 10});
  packet.destination_port = 1194;
  packet.zero_bits = 0xffffffff;
  return packet;
}

std::vector<std::string> refused(const NftRuleset& ruleset, const NftPacket& packet) {
  std::vector<std::string> out;
  for (const NftRefusal& one : NftJudge(ruleset).refusals(packet))
    out.push_back((one.sure ? "" : "may ") + one.table + " " + one.deciding + (one.policy ? " policy" : "") +
                  ": " + one.iptables);
  return out;
}

TEST(XtRuleset, WhatFitsThePacketIsDropped) {
  for (const char* rule :
       {"-A INPUT -j DROP", "-A INPUT -i eth0 -j REJECT --reject-with icmp-port-unreachable",
        "-A INPUT -i eth+ -p udp -m udp --dport 1194 -j DROP",
        "-A INPUT -p udp -m multiport --dports 53,1190:1199 -j DROP",
        "-A INPUT -p udp -m multiport --ports 53,1194 -j DROP", "-A INPUT -s 198.51.100.0/24 -j DROP",
        "-A INPUT ! -s 10.0.0.0/8 -j DROP", "-A INPUT ! -i lo -j DROP", "-A INPUT ! -p tcp -j DROP",
        "-A INPUT -p udp -m udp ! --dport 53 -j DROP", "-A INPUT -m conntrack --ctstate INVALID,NEW -j DROP",
        "-A INPUT -m conntrack ! --ctstate RELATED,ESTABLISHED -j DROP",
        "-A INPUT -m state --state NEW -j DROP", "-A INPUT -m mark --mark 0x0/0xff -j DROP",
        "-A INPUT -m mark ! --mark 0x1 -j DROP", "-A INPUT -m addrtype --dst-type LOCAL,MULTICAST -j DROP",
        "-A INPUT -m addrtype --src-type UNICAST -j DROP",
        "-A INPUT -m comment --comment \"no -j ACCEPT here\" -j DROP"})
    EXPECT_THAT(refused(filter(std::string(rule) + "\n"), tunnel()),
                ElementsAre("filter of iptables-legacy INPUT: iptables-legacy"))
        << rule;
}

TEST(XtRuleset, WhatDoesNotFitOrMayNotFitDropsNothing) {
  for (const char* rule :
       {"-A INPUT -i eth -j DROP", "-A INPUT -i eth1 -j DROP", "-A INPUT ! -i eth0 -j DROP",
        "-A FORWARD -j DROP", "-A INPUT -p tcp -j DROP", "-A INPUT -p esp -j DROP",
        "-A INPUT -p udp -m udp --dport 53:1193 -j DROP", "-A INPUT -p udp -m udp --sport 1194 -j DROP",
        "-A INPUT -d 203.0.113.11/32 -j DROP", "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j DROP",
        "-A INPUT -m mark --mark 0x1/0x1 -j DROP", "-A INPUT -m addrtype ! --dst-type LOCAL -j DROP",
        "-A INPUT -m limit --limit 3/min -j DROP",
        "-A INPUT -m recent --update --seconds 60 --hitcount 4 --name x --rsource -j DROP",
        "-A INPUT -m set --match-set banned src -j DROP",
        "-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN SYN -j DROP", "-A INPUT -j LOG --log-prefix \"drop \"",
        "-A INPUT -j MARK --set-xmark 0x1/0xff"})
    EXPECT_THAT(refused(filter(std::string(rule) + "\n"), tunnel()), IsEmpty()) << rule;
}

TEST(XtRuleset, ADropByAKindOfPacketThatIsNotReadIsSaidAsThat) {
  for (const char* match : {"length --length 61:65535", "ttl --ttl-lt 64", "devgroup --src-group 0x7"})
    EXPECT_THAT(refused(filter("-A INPUT -p udp -m " + std::string(match) + " -j DROP\n"), tunnel()),
                ElementsAre("may filter of iptables-legacy INPUT: iptables-legacy"))
        << match;
}

TEST(XtRuleset, NatThatChangesAPacketIsRead) {
  const auto nat = [](const std::string& rule) {
    return legacy("*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n" + rule + "\nCOMMIT\n");
  };
  NftPacket packet = tunnel();
  packet.hook = NftPacket::Hook::kForward;
  packet.out = "bond0";
  const auto ruleset =
      nat("-A POSTROUTING -o eth7 -j MASQUERADE\n-A POSTROUTING -o bond0 -j SNAT --to-source 10.1.2.3:5-9");
  const auto found = NftJudge(ruleset).translations(packet);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].nat->target, "SNAT");
  EXPECT_EQ(found[0].nat->to, IpAddress::v4({10, 1, 2, 3}));
  EXPECT_EQ(found[0].rule, 2U);
  const auto perhaps = nat("-A POSTROUTING -m set --match-set some src -j MASQUERADE");
  EXPECT_TRUE(NftJudge(perhaps).translations(packet).empty());
}

TEST(XtRuleset, ChainsReturnsAndGotosAreFollowed) {
  const std::string chains = ":one - [0:0]\n:two - [0:0]\n";
  EXPECT_THAT(
      refused(filter(chains + "-A INPUT -j one\n-A one -i lo -j RETURN\n-A one -g two\n-A two -j DROP\n"),
              tunnel()),
      ElementsAre("filter of iptables-legacy two: iptables-legacy"));
  EXPECT_THAT(
      refused(
          filter(chains + "-A INPUT -j one\n-A INPUT -j ACCEPT\n-A one -i eth0 -j RETURN\n-A one -j DROP\n",
                 "DROP"),
          tunnel()),
      IsEmpty());
  EXPECT_THAT(refused(filter(chains + "-A INPUT -g one\n-A INPUT -j ACCEPT\n", "DROP"), tunnel()),
              ElementsAre("filter of iptables-legacy INPUT policy: iptables-legacy"))
      << "behind a goto comes the policy";
}

TEST(XtRuleset, WhatMayBeAcceptedBeforeIsPerhapsRefused) {
  const std::string drop = "-A INPUT -p udp -m udp --dport 1194 -j DROP\n";
  for (const char* accept :
       {"-A INPUT -m set --match-set friends src -j ACCEPT\n", "-A INPUT -m limit --limit 3/min -j ACCEPT\n",
        "-A INPUT -p udp -m udp --sport 1194 -j ACCEPT\n", "-A INPUT -m u32 --u32 0x0 -j NFQUEUE\n"})
    EXPECT_THAT(refused(filter(accept + drop), tunnel()),
                ElementsAre("may filter of iptables-legacy INPUT: iptables-legacy"))
        << accept;
  EXPECT_THAT(refused(filter("-A INPUT -m set --match-set friends src -j ACCEPT\n", "DROP"), tunnel()),
              ElementsAre("may filter of iptables-legacy INPUT policy: iptables-legacy"));
}

TEST(XtRuleset, WhatIsAcceptedAnywayIsNotPerhapsRefused) {
  const std::string maybe = "-A INPUT -p udp -m udp --sport 53 -j ACCEPT\n";
  EXPECT_THAT(refused(filter(maybe + "-A INPUT -i eth0 -j ACCEPT\n", "DROP"), tunnel()), IsEmpty());
  EXPECT_THAT(
      refused(
          filter(":one - [0:0]\n-A INPUT -j one\n-A one -m limit --limit 3/min -j RETURN\n-A one -j ACCEPT\n",
                 "DROP"),
          tunnel()),
      ElementsAre("may filter of iptables-legacy INPUT policy: iptables-legacy"));
  EXPECT_THAT(refused(filter(":one - [0:0]\n-A INPUT -j one\n-A INPUT -j ACCEPT\n-A one -m limit --limit "
                             "3/min -j RETURN\n-A one -j ACCEPT\n",
                             "DROP"),
                      tunnel()),
              IsEmpty());
}

TEST(XtRuleset, EveryTableOnTheWayIsMet) {
  const NftRuleset ruleset = legacy(
      "*raw\n:PREROUTING DROP [0:0]\nCOMMIT\n*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT DROP [0:0]\n:FORWARD "
      "DROP [0:0]\nCOMMIT\n"
      "*security\n:INPUT DROP [0:0]\nCOMMIT\n*nat\n:PREROUTING DROP [0:0]\n:POSTROUTING DROP "
      "[0:0]\nCOMMIT\n");
  EXPECT_THAT(refused(ruleset, tunnel()),
              ElementsAre("raw of iptables-legacy PREROUTING policy: iptables-legacy -t raw",
                          "mangle of iptables-legacy INPUT policy: iptables-legacy -t mangle",
                          "security of iptables-legacy INPUT policy: iptables-legacy -t security",
                          "nat of iptables-legacy PREROUTING policy: iptables-legacy -t nat"));
}

TEST(XtRuleset, AMarkThatARuleSetsIsNotZero) {
  const std::string sets =
      "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j MARK --set-xmark 0x100/0xff00\nCOMMIT\n";
  const auto dropped = [&](const std::string& mask) {
    return refused(legacy(sets + "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m mark --mark 0x0/" + mask +
                          " -j DROP\nCOMMIT\n"),
                   tunnel());
  };
  EXPECT_EQ(dropped("0xff").size(), 1U);
  EXPECT_THAT(dropped("0xff00"), IsEmpty());
}

NftPacket service() {
  NftPacket packet;
  packet.in = "eth0";
  packet.out = "bond0";
  packet.protocol = IPPROTO_UDP;
  packet.destination = IpAddress::v4({192, 168, 1, 10});
  packet.destination_port = 5061;
  packet.arriving = NftPacket::Arriving{IpAddress::v4({203, 0, 113, 10}), 5060};
  packet.translated = true;
  return packet;
}

TEST(Untracking, IsSeenByWhatThePacketIsBeforeNat) {
  const auto places = [](const std::string& rule) {
    const NftRuleset ruleset =
        legacy("*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n" + rule + "\nCOMMIT\n");
    return NftJudge(ruleset).untracking(service()).size();
  };
  EXPECT_EQ(places("-A PREROUTING -p udp -m udp --dport 5060 -j NOTRACK"), 1U);
  EXPECT_EQ(places("-A PREROUTING -d 203.0.113.10/32 -j CT --notrack"), 1U);
  EXPECT_EQ(places("-A PREROUTING -p udp -m udp --dport 5061 -j NOTRACK"), 0U);
  EXPECT_EQ(places("-A PREROUTING -j CT --zone 5"), 0U);
  EXPECT_EQ(places("-A OUTPUT -j NOTRACK"), 0U);
  EXPECT_EQ(places("-A PREROUTING -s 192.0.2.0/24 -j NOTRACK"), 0U) << "only some of its packets";
  EXPECT_EQ(places("-A PREROUTING -i eth0 -j ACCEPT\n-A PREROUTING -j NOTRACK"), 0U);
}

TEST(Untracking, MakesAPacketsStateUntracked) {
  const auto refusals = [](const std::string& state) {
    const NftRuleset ruleset = legacy(
        "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p udp -j CT --notrack\nCOMMIT\n"
        "*filter\n:INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate " +
        state + " -j ACCEPT\nCOMMIT\n");
    return NftJudge(ruleset).refusals(tunnel()).size();
  };
  EXPECT_EQ(refusals("NEW,ESTABLISHED"), 1U);
  EXPECT_EQ(refusals("INVALID"), 1U);
  EXPECT_EQ(refusals("UNTRACKED"), 0U);
}

TEST(PlannedFirewall, StandsInFrontAsItWillWhenItIsInstalled) {
  const Firewall planned{
      {{"filter",
        {{"BONDD-IN-office", {{"-p", "udp", "-m", "udp", "--dport", "1194", "-j", "ACCEPT"}}}},
        {{"INPUT", "BONDD-IN-office", true}}}}};
  NftRuleset ruleset = filter("-A INPUT -j DROP\n", "DROP");
  EXPECT_EQ(refused(ruleset, tunnel()).size(), 1U);
  NftRuleset elsewhere = ruleset;
  add_planned(ruleset, planned, "iptables-legacy");
  EXPECT_THAT(refused(ruleset, tunnel()), IsEmpty());
  add_planned(elsewhere, planned, "");
  EXPECT_EQ(refused(elsewhere, tunnel()).size(), 1U) << "an accept in nf_tables is none for these tables";
  NftRuleset behind = filter(":BONDD-IN-office - [0:0]\n-A INPUT -j DROP\n-A INPUT -j BONDD-IN-office\n");
  add_planned(behind, planned, "iptables-legacy");
  EXPECT_EQ(refused(behind, tunnel()).size(), 1U) << "its jump is there already, and stays where it is";
}

}  // namespace
}  // namespace bondd::rules

// What another's firewall drops of a site's packets is named, as nf_tables of a real kernel holds the rules.
// What the kernel does with packets is asked of it in firewall_test.py.
#include "bondd/control/blocked_ways.h"
#include "tests/netns/own_netns.h"
#include "tests/support/print.h"

namespace bondd::control {
namespace {

IpPrefix prefix(const char* text) {
  return parse_prefix(text).value();
}

class BlockedWays : public bondd::testing::OwnNetns {
 protected:
  void SetUp() override {
    OwnNetns::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (output_of("nft --version").find("exit status") != std::string::npos) GTEST_SKIP() << "no nft";
    for (const char* device : {"lan", "dsl1", "bond0"})
      admin(std::string("ip link add ") + device + " type veth peer name " + device + "x");
    int index = 10;
    for (const char* device : {"lan", "dsl1", "bond0"}) {
      netlink::Link link;
      link.name = device;
      link.up = true;
      facts_.network.links.push_back(link);
      facts_.network.facts[device].index = ++index;
    }
    facts_.network.addresses = {{"lan", prefix("192.168.1.252/24"), std::nullopt},
                                {"dsl1", prefix("192.168.11.2/24"), std::nullopt}};
    facts_.server_addresses = {parse_ip("203.0.113.10").value()};
    model::Wan wan;
    wan.name = "box1";
    wan.port = 1194;
    wan.device = "dsl1";
    wan.gateway = parse_ip("192.168.11.1").value();
    office_.role = model::Role::kClient;
    office_.bond.interface = "bond0";
    office_.bond.address = prefix("172.16.16.2/30");
    office_.wans = {wan};
    office_.through_bond = {prefix("0.0.0.0/0")};
    vps_ = office_;
    vps_.role = model::Role::kServer;
    vps_.wans.front().device.clear();
    vps_.wans.front().gateway.reset();
    vps_.through_bond = {prefix("192.168.1.0/24")};
    vps_.masquerade = {"dsl1"};
  }

  static rules::NftRuleset ruleset() {
    auto out = rules::read_nft_ruleset().value();
    rules::read_nft_sets(out);
    return out;
  }
  // With what the VPS forwards to the office.
  std::vector<model::Forward> services_;
  std::size_t said(const model::Config& config, const std::string& words) {
    std::size_t n = 0;
    texts_.clear();
    stopped_.clear();
    for (const Blocked& one : blocked_ways(promised_ways(config, facts_, services_), ruleset(), heard_)) {
      n += one.text.find(words) != std::string::npos ? 1 : 0, texts_ += one.text + "\n";
      if (one.stops) stopped_.insert(one.wan);
    }
    return n;
  }
  // A base chain of the admin's with this policy and rule.
  static void chain(const std::string& hook, const std::string& policy, const std::string& rule) {
    admin("nft 'flush ruleset; add table inet adm; add chain inet adm c { type filter hook " + hook +
          " ; policy " + policy + "; }; add rule inet adm c " + rule + "'");
  }

  std::set<std::string> heard_;
  std::string texts_;              // what was said last
  std::set<std::string> stopped_;  // the WANs that it stops
  model::Facts facts_;
  model::Config office_, vps_;
};

TEST_F(BlockedWays, APolicyOfTheOfficeIsNamedWhateverElseIsLetThrough) {
  for (const char* accept :
       {"iif lo accept", "iif dsl1 oif lan accept", "ip saddr 192.168.99.0/24 accept", "meta mark 0x7 accept",
        "tcp dport 443 accept", "ip daddr 198.51.100.81 accept", "icmp type echo-request accept"}) {
    chain("forward priority 10", "drop", accept);
    EXPECT_EQ(said(office_, "what the LAN (lan) sends into bond0: table inet adm, chain c"), 1U) << accept;
  }
}

TEST_F(BlockedWays, DropsOfTheLanAreNamed) {
  for (const char* drop :
       {"ip saddr 192.168.1.0/24 drop", "meta l4proto != icmp drop",
        "ip daddr != { 10.0.0.0/8, 192.168.0.0/16 } drop", "ct direction original iifname lan drop",
        "oifname \"bond0\" drop", "meta l4proto vmap { tcp : drop, udp : drop }", "tcp flags syn drop"}) {
    chain("forward priority 0", "accept", drop);
    EXPECT_EQ(said(office_, "what the LAN (lan) sends into bond0: table inet adm, chain c"), 1U) << drop;
  }
  for (const char* rule : {"-t mangle -A FORWARD -i lan -o bond0 -p tcp -j DROP",
                           "-t raw -A PREROUTING -s 192.168.1.0/24 -j DROP",
                           "-t mangle -A FORWARD -m conntrack --ctstate NEW -i lan -j DROP"}) {
    admin("nft flush ruleset; iptables-nft " + std::string(rule));
    EXPECT_EQ(said(office_, "what the LAN (lan) sends into bond0"), 1U) << rule;
  }
}

TEST_F(BlockedWays, WhatIsSomebodysOwnWishOrLetsAllThroughIsNotNamed) {
  for (const char* rule :
       {"ip saddr 192.168.1.50 drop", "ip saddr 192.168.99.0/24 drop", "tcp dport 25 drop",
        "udp dport 443 drop", "ip daddr 198.51.100.0/24 drop",
        "ip daddr { 10.0.0.0/8, 100.64.0.0/10, 240.0.0.0/4 } drop", "meta l4proto icmp drop",
        "meta mark 0x7 drop", "ct state invalid drop", "iif lo drop", "oifname dsl1 iifname lan drop",
        "limit rate over 100/second drop", "ct direction reply iifname lan drop",
        "tcp flags & (fin|syn) == (fin|syn) drop", "meta mark & 0x7f000000 != 0 drop"}) {
    chain("forward priority 10", "accept", rule);
    EXPECT_EQ(said(office_, ""), 0U) << rule;
    EXPECT_EQ(said(vps_, ""), 0U) << rule;
  }
  for (const char* accept :
       {"ip saddr 192.168.0.0/16 accept; add rule inet adm c ct state established accept",
        "meta l4proto { tcp, udp } accept", "ct state new,established accept",
        "tcp dport { 80, 443 } accept; add rule inet adm c udp dport 53 accept; add rule "
        "inet adm c ct state established accept"}) {
    chain("forward priority 10", "drop", accept);
    EXPECT_EQ(said(office_, ""), 0U) << accept << "\n" << texts_;
  }
}

TEST_F(BlockedWays, InputOfTheVpsIsNamedBehindAnAcceptForLo) {
  chain("input priority 0", "drop",
        "iif lo accept; add rule inet adm c ct state established,related accept; add rule inet adm c tcp "
        "dport 22 accept");
  EXPECT_EQ(said(vps_, "the office's packets for box1, UDP port 1194: table inet adm, chain c (its policy)"),
            1U);
  chain("output priority 0", "drop", "tcp dport { 80, 443 } accept");
  EXPECT_EQ(said(vps_, "the tunnel's packets of box1 to the office: table inet adm, chain c (its policy)"),
            1U);
  admin("nft add rule inet adm c ct state established,related accept");
  EXPECT_EQ(said(vps_, ""), 0U);
}

TEST_F(BlockedWays, ForwardOfTheVpsIsNamedBehindAcceptsForOthers) {
  for (const char* accept :
       {"iif lo accept", "ip saddr 10.8.0.0/24 accept", "ip saddr { 192.0.2.0/24, 198.18.0.1 } accept"}) {
    chain("forward priority 0", "drop", accept);
    EXPECT_EQ(said(vps_, "what the office sends from bond0 to the Internet (dsl1)"), 1U) << accept;
  }
}

TEST_F(BlockedWays, AReversePathCheckThatDropsTheServersPacketsIsNamed) {
  chain("prerouting priority -300", "accept", "fib saddr . iif oif missing drop");
  EXPECT_EQ(said(office_, "the server's packets for box1: table inet adm, chain c"), 1U);
  office_.through_bond = {prefix("10.20.0.0/16")};
  EXPECT_EQ(said(office_, ""), 0U) << "the server is not reached through the bond";
}

TEST_F(BlockedWays, RulesAtADeviceAreNamed) {
  const auto at = [](const std::string& family, const std::string& hook, const std::string& devices,
                     const std::string& rule) {
    admin("nft 'flush ruleset; add table " + family + " adm; add chain " + family +
          " adm c { type filter hook " + hook + " devices = { " + devices + " } priority 0; }; add rule " +
          family + " adm c " + rule + "'");
  };
  for (const char* family : {"netdev", "inet"}) {
    at(family, "ingress", "dsl1", "udp dport 1194 drop");
    EXPECT_EQ(
        said(vps_, std::string("the firewall drops the office's packets for box1, UDP port 1194: table ") +
                       family + " adm, chain c; let it through: `nft insert rule " + family +
                       " adm c udp dport 1194 accept`"),
        1U);
    EXPECT_EQ(said(office_, ""), 0U) << "the office sends to that port, and nobody to it";
    at(family, "ingress", "lan, dsl1", "meta protocol ip drop");
    EXPECT_EQ(said(office_, "what the LAN (lan) sends into bond0"), 1U);
    EXPECT_EQ(said(office_, "the server's packets for box1"), 1U);
    EXPECT_EQ(said(office_, "answers from bond0"), 0U);
  }
  at("netdev", "egress", "bond0", "ip saddr 192.168.1.0/24 drop");
  EXPECT_EQ(said(office_,
                 "the firewall drops what the LAN (lan) sends into bond0: table netdev adm, chain c; let it "
                 "through: `nft insert "
                 "rule netdev adm c oifname \"bond0\" accept`"),
            0U)
      << "NAT may have changed the address";
  at("netdev", "egress", "bond0", "meta l4proto { tcp, udp } drop");
  EXPECT_EQ(said(office_,
                 "the firewall drops what the LAN (lan) sends into bond0: table netdev adm, chain c; let it "
                 "through: `nft insert "
                 "rule netdev adm c oifname \"bond0\" accept`"),
            1U);
  at("netdev", "egress", "dsl1", "ip daddr 203.0.113.10 drop");
  EXPECT_EQ(said(office_, "the tunnel's packets of box1 to the server: table netdev adm, chain c"), 1U);
  for (const char* device : {"dsl1x", "lanx"}) {
    at("netdev", "ingress", device, "drop");
    EXPECT_EQ(said(office_, ""), 0U) << "another device";
  }
  at("netdev", "ingress", "dsl1", "ip saddr 10.0.0.0/8 drop");
  EXPECT_EQ(said(vps_, "") + said(office_, ""), 0U);
}

TEST_F(BlockedWays, WhatCannotBeKnownIsSaidAsThat) {
  const std::string may =
      "the firewall may drop the office's packets for box1, UDP port 1194: table inet adm, chain c (its "
      "policy)";
  for (const char* accept :
       {"ip saddr 198.51.100.0/24 accept", "ip saddr { 198.51.100.7, 192.0.2.0/24 } accept",
        "udp sport 1194 accept", "udp dport 1194 limit rate 5/second accept",
        "ip saddr vmap { 192.0.2.0/24 : accept, 198.51.100.7 : drop }"}) {
    chain("input priority 0", "drop", accept);
    EXPECT_EQ(said(vps_, may), 1U) << accept;
    EXPECT_EQ(said(vps_, "the firewall drops the office's packets for box1"), 0U) << accept;
  }
  heard_ = {"box1"};
  EXPECT_EQ(said(vps_, "office's packets"), 0U) << "they come";
  chain("forward priority 0", "drop", "ip saddr 192.168.1.50 accept");
  EXPECT_EQ(said(office_, "the firewall may drop what the LAN (lan) sends into bond0"), 1U);
  chain("forward priority 0", "accept", "iifname lan ip saddr != { 192.168.1.50, 192.168.1.51 } drop");
  EXPECT_EQ(said(office_, "the firewall may drop what the LAN (lan) sends into bond0"), 1U);
}

TEST_F(BlockedWays, ConcatenationsAndCatchAllsAreLookedUp) {
  const auto with_set = [](const std::string& elements) {
    admin(
        "nft 'flush ruleset; add table inet adm; add set inet adm s { type ipv4_addr . inet_service; flags "
        "interval; elements = { " +
        elements +
        " }; }; add chain inet adm c { type filter hook input priority 0; policy drop; };"
        "add rule inet adm c ip daddr . udp dport @s accept'");
  };
  facts_.server_addresses = {parse_ip("203.0.113.10").value()};
  with_set("203.0.113.0/24 . 1190-1199, 10.0.0.0/8 . 22");
  EXPECT_EQ(said(vps_, ""), 0U);
  with_set("203.0.113.0/24 . 22, 10.0.0.0/8 . 1194");
  EXPECT_EQ(said(vps_, "the firewall drops the office's packets for box1, UDP port 1194"), 1U);
  chain("input priority 0", "accept", "udp dport vmap { 22 : accept, * : drop }");
  EXPECT_EQ(said(vps_, "the firewall drops the office's packets for box1, UDP port 1194"), 1U);
  chain("input priority 0", "drop", "udp dport vmap { 22 : drop, * : accept }");
  EXPECT_EQ(said(vps_, ""), 0U);
}

TEST_F(BlockedWays, RulesThatIptablesMadeAreCuredByIptables) {
  admin(
      "nft flush ruleset; iptables-nft -t raw -A PREROUTING -p udp --dport 1194 -m addrtype --dst-type LOCAL "
      "-j DROP");
  EXPECT_EQ(said(vps_,
                 "table ip raw, chain PREROUTING; let it through: `iptables-nft -t raw -I PREROUTING -p udp "
                 "--dport 1194 -j ACCEPT`"),
            1U);
  admin("nft flush ruleset; iptables-nft -P FORWARD DROP");
  EXPECT_EQ(
      said(office_,
           "`iptables-nft -I FORWARD -i bond0 -o lan -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`"),
      1U);
}

TEST_F(BlockedWays, ARulesetThatCouldNotBeReadIsNotCalledOpen) {
  rules::NftRuleset unread;
  unread.unseen = {"the tables of iptables-legacy (it failed)"};
  const auto texts = blocked_ways({}, unread, {});
  ASSERT_EQ(texts.size(), 1U);
  EXPECT_NE(texts[0].text.find("the tables of iptables-legacy (it failed)"), std::string::npos);
}

TEST_F(BlockedWays, APacketsKindThatIsNotReadMayBeDropped) {
  for (const char* drop : {"udp dport 1-65535 meta length > 60 drop", "iifgroup 0 udp dport 1194 drop"}) {
    chain("input priority 0", "accept", drop);
    EXPECT_EQ(
        said(vps_, "the firewall may drop the office's packets for box1, UDP port 1194: table inet adm"), 1U)
        << drop;
  }
  for (const char* drop : {"-m length --length 61:65535", "-m ttl --ttl-lt 64", "-m dscp --dscp 0"}) {
    admin("nft flush ruleset; iptables-nft -A INPUT -p udp " + std::string(drop) + " -j DROP");
    EXPECT_EQ(
        said(vps_, "the firewall may drop the office's packets for box1, UDP port 1194: table ip filter"), 1U)
        << drop;
  }
  chain("input priority 0", "drop",
        "udp dport 1194 meta length > 60 drop; add rule inet adm c iif lo accept");
  EXPECT_EQ(said(vps_, "the firewall drops the office's packets for box1, UDP port 1194"), 1U)
      << "its policy does";
}

// Neither end sees it otherwise: the VPS sends the packets into the bond, and the office's LAN has no
// trouble.
TEST_F(BlockedWays, WhatTheServerForwardsIsTestedAtTheOffice) {
  services_ = {{model::Protocol::kTcp, {8080, 8080}, parse_ip("192.168.1.10").value(), std::nullopt},
               {model::Protocol::kUdp, {53, 53}, parse_ip("172.16.16.2").value(), std::nullopt}};
  chain("forward priority 10", "drop",
        "ct state established,related accept; add rule inet adm c iifname lan accept");
  EXPECT_EQ(
      said(office_,
           "the firewall drops what the server forwards to 192.168.1.10, TCP port 8080: table inet adm, "
           "chain c "
           "(its policy); let it through: `nft insert rule inet adm c iifname \"bond0\" oifname \"lan\" ip "
           "daddr 192.168.1.10 tcp dport 8080 accept`"),
      1U)
      << texts_;
  chain("input priority 0", "accept", "iifname bond0 ct state new drop");
  EXPECT_EQ(said(office_, "the firewall drops what the server forwards to 172.16.16.2, UDP port 53"), 1U);
  services_.clear();
  EXPECT_EQ(said(office_, ""), 0U);
}

TEST_F(BlockedWays, NatOfOthersThatSpoilsAWayIsNamed) {
  const auto with = [&](const model::Config& config, const std::string& rules) {
    admin("nft flush ruleset; " + rules);
    return said(config, "");
  };
  const std::string lan = "NAT gives what the LAN (lan) sends into bond0 ";
  const std::string snat = "iptables-nft -t nat -A POSTROUTING ";
  EXPECT_EQ(with(office_, snat + "-s 192.168.1.0/24 -j SNAT --to-source 192.168.11.2"), 1U);
  EXPECT_EQ(texts_,
            lan +
                "the address 192.168.11.2, to which no answer comes back: table ip nat, chain POSTROUTING, "
                "rule 1 (SNAT); leave it alone: `iptables-nft -t nat -I POSTROUTING -o bond0 -j ACCEPT`\n");
  // Of docker and libvirt: the only way for networks that the VPS's through_bond lacks.
  EXPECT_EQ(with(office_, snat + "-s 192.168.1.0/24 -j MASQUERADE"), 0U) << texts_;
  EXPECT_EQ(with(office_, snat + "-o dsl1 -j MASQUERADE"), 0U) << texts_;
  EXPECT_EQ(with(office_, snat + "-o bond0 -j ACCEPT; " + snat + "-j MASQUERADE"), 0U) << texts_;
  EXPECT_EQ(
      with(office_,
           "nft add table ip adm; nft \"add chain ip adm c { type nat hook postrouting priority 100; }\"; "
           "nft add rule ip adm c oifname bond0 snat to 10.1.2.3"),
      1U);
  EXPECT_NE(
      texts_.find(
          "the address 10.1.2.3, to which no answer comes back: table ip adm, chain c, rule 1 (SNAT); leave "
          "it alone: `nft insert rule ip adm c oifname \"bond0\" accept`"),
      std::string::npos)
      << texts_;
  EXPECT_EQ(with(office_, "iptables-nft -t nat -A PREROUTING -i lan -p tcp -j REDIRECT --to-ports 3128"), 1U);
  EXPECT_NE(
      texts_.find(
          "NAT leads what the LAN (lan) sends into bond0 elsewhere: table ip nat, chain PREROUTING, rule 1 "
          "(REDIRECT)"),
      std::string::npos);
  EXPECT_EQ(
      with(office_, "iptables-nft -t nat -A PREROUTING -i lan -p tcp --dport 80 -j REDIRECT --to-ports 3128"),
      0U)
      << "a proxy is somebody's wish";
  EXPECT_EQ(with(vps_, snat + "-o dsl1 -j SNAT --to-source 192.0.2.7"), 1U);
  EXPECT_NE(
      texts_.find(
          "the address 192.0.2.7, to which no answer comes back: table ip nat, chain POSTROUTING, rule 1 "
          "(SNAT); delete it, or put it behind bondd's"),
      std::string::npos)
      << texts_;
  EXPECT_EQ(with(vps_, snat + "-o dsl1 -j SNAT --to-source 192.168.11.2"), 0U) << "its own";
  EXPECT_EQ(
      with(vps_, "iptables-nft -t nat -A PREROUTING -p udp --dport 1194 -j DNAT --to-destination 10.0.0.1"),
      1U);
  EXPECT_EQ(stopped_, std::set<std::string>{"box1"});
}

// With a way that is left open, the WAN may work; with "may", too.
TEST_F(BlockedWays, WhatStopsAWanForSureIsToldFromWhatMay) {
  const std::set<std::string> box1{"box1"};
  const auto stopped_by = [&](const model::Config& config, const std::string& hook, const std::string& policy,
                              const std::string& rule) {
    chain(hook, policy, rule);
    said(config, "");
    return stopped_;
  };
  EXPECT_EQ(stopped_by(office_, "input priority 0", "drop", "iif lo accept"), box1);
  EXPECT_EQ(stopped_by(office_, "output priority 0", "accept", "oifname dsl1 udp dport 1194 drop"), box1);
  EXPECT_EQ(stopped_by(vps_, "input priority 0", "accept", "udp dport 1194 drop"), box1);
  EXPECT_TRUE(stopped_by(vps_, "input priority 0", "drop", "ip saddr 198.51.100.0/24 accept").empty());
  EXPECT_TRUE(stopped_by(office_, "forward priority 0", "drop", "iif lo accept").empty());
  EXPECT_TRUE(stopped_by(vps_, "input priority 0", "accept", "iifname dsl1 udp dport 1194 drop").empty())
      << "the office's packets may come in by lan";
}

}  // namespace
}  // namespace bondd::control

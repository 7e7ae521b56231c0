// What is wrong with a site, named hop by hop; and what two ends' files must agree on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "bondd/problems/find.h"
#include "bondd/problems/tracker.h"

namespace bondd::problems {
namespace {

using namespace std::chrono_literals;
using model::WanState;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr TimePoint kStart{1h};

// An office with two WANs; all answers, but nothing is heard yet.
struct Office {
  model::Config config;
  SiteFacts facts;

  explicit Office(model::Role role = model::Role::kClient) {
    config.site = "office";
    config.file = "/etc/bondd/office.toml";
    config.role = role;
    config.backend = model::Backend::kMlvpn;
    config.server.address = "203.0.113.10";
    for (const auto& [name, port] : {std::pair("dsl", 5080), std::pair("lte", 5081)}) {
      model::Wan wan;
      wan.name = name;
      wan.port = static_cast<std::uint16_t>(port);
      config.wans.push_back(wan);
      facts.states.emplace_back().name = name;
      WanFacts way;
      way.device = name + std::string("0");
      way.gateway = "192.168.1.1";
      way.interface_there = way.link_up = way.gateway_by_arp = Answer::kYes;
      facts.wans.push_back(way);
    }
    facts.config = &config;
  }
  void up(std::size_t wan) { facts.states[wan].state = WanState::kUp; }
  // Codes, of the site or "WAN: code".
  [[nodiscard]] std::vector<std::string> found() const {
    std::vector<std::string> out;
    for (const Found& one : find(facts)) {
      const std::string code(row(one.code).name);
      out.push_back(one.words.wan.empty() ? code : one.words.wan + ": " + code);
    }
    return out;
  }
  // The text of the only problem.
  [[nodiscard]] std::string text() const {
    const auto all = find(facts);
    return all.size() == 1 ? render(row(all[0].code).text, all[0].words) : "not one problem";
  }
};

TEST(Problems, AHealthySiteHasNone) {
  Office office;
  office.up(0);
  office.up(1);
  EXPECT_THAT(office.found(), IsEmpty());
}

TEST(Problems, WhatWasFoundElsewhereIsOneOfThemWithItsOwnWords) {
  Office office;
  office.up(0);
  office.up(1);
  office.facts.remarks = {{Code::kFirewallDrops, "", "the firewall drops UDP 5080"},
                          {Code::kLineLossy, "lte", "lte has 2.3 % packet loss"}};
  EXPECT_THAT(office.found(), ElementsAre("firewall-drops", "lte: line-lossy"));
  const auto all = find(office.facts);
  EXPECT_EQ(render(row(all[0].code).text, all[0].words), "the firewall drops UDP 5080");
}

TEST(Problems, TheFirstHopThatFailsIsNamed) {
  Office office;
  office.up(0);
  WanFacts& lte = office.facts.wans[1];
  EXPECT_THAT(office.found(), ElementsAre("lte: no-reply"));
  lte.beyond_gateway = Answer::kNo;
  EXPECT_THAT(office.found(), ElementsAre("lte: line-dead"));
  lte.gateway_by_arp = Answer::kNo;
  EXPECT_THAT(office.found(), ElementsAre("lte: gateway-silent"));
  lte.gateway_unknown = "wan2 has no default route";
  EXPECT_THAT(office.found(), ElementsAre("lte: gateway-unknown"));
  lte.link_up = Answer::kNo;
  EXPECT_THAT(office.found(), ElementsAre("lte: interface-down"));
  lte.interface_there = Answer::kNo;
  EXPECT_THAT(office.found(), ElementsAre("lte: interface-missing"));
}

// What is found beyond this machine is found by packets that its own rules stop as well.
TEST(Problems, WhatStopsAWanOnThisMachineIsNamedAloneUnlessTheWanIsHeard) {
  Office office;
  office.up(0);
  WanFacts& lte = office.facts.wans[1];
  lte.beyond_gateway = Answer::kNo;
  office.facts.remarks = {{Code::kForeignRules, "lte", "rule 100 refuses the tunnel's packets of lte", true}};
  EXPECT_THAT(office.found(), ElementsAre("lte: wan-stopped"));
  EXPECT_EQ(office.text(), "rule 100 refuses the tunnel's packets of lte");
  lte.gateway_by_arp = Answer::kNo;
  EXPECT_THAT(office.found(), ElementsAre("lte: wan-stopped"));
  office.facts.remarks[0].stops = false;
  EXPECT_THAT(office.found(), ElementsAre("lte: gateway-silent", "lte: foreign-rules"));
  office.facts.remarks[0].stops = true;
  office.facts.pass_error = "ip route add default: Network is unreachable";
  EXPECT_THAT(office.found(), ElementsAre("lte: wan-stopped", "repair-failed"));
  office.facts.pass_error.clear();
  lte.gateway_by_arp = Answer::kYes;
  office.up(1);
  EXPECT_THAT(office.found(), ElementsAre("lte: foreign-rules"));
}

TEST(Problems, AWrongGatewayIsNamedWithItsAddress) {
  Office office;
  office.up(0);
  office.facts.wans[1].gateway = "192.168.2.99";
  office.facts.wans[1].gateway_by_arp = Answer::kNo;
  EXPECT_EQ(office.text(), "gateway 192.168.2.99 does not answer (ARP) on lte0");
}

TEST(Problems, AClosedPortADeadLineAndADeadServerAreThreeThings) {
  Office closed;
  closed.up(0);
  closed.facts.wans[1].server_answers = Answer::kYes;
  EXPECT_THAT(closed.text(), HasSubstr("not on UDP port 5081"));
  closed.facts.wans[1].port_rejected = Answer::kYes;
  EXPECT_THAT(closed.text(), HasSubstr("the firewall of the server 203.0.113.10 rejects UDP port 5081"));

  Office dead_line;
  dead_line.up(0);
  dead_line.facts.wans[1].beyond_gateway = Answer::kNo;
  EXPECT_THAT(dead_line.text(), HasSubstr("gateway 192.168.1.1 answers, but nothing beyond"));

  Office dead_server;
  for (WanFacts& wan : dead_server.facts.wans) {
    wan.beyond_gateway = Answer::kYes;
    wan.server_answers = Answer::kNo;
    wan.last_hop = "198.51.100.1";
  }
  EXPECT_THAT(dead_server.found(), ElementsAre("dsl: server-dead", "lte: server-dead"));
}

TEST(Problems, AServerThatDropsPingsIsNotCalledDeadWhileAnotherWanHearsIt) {
  Office office;
  office.up(0);
  office.facts.wans[1].beyond_gateway = Answer::kYes;
  office.facts.wans[1].server_answers = Answer::kNo;
  EXPECT_THAT(office.found(), ElementsAre("lte: port-silent"));
}

// What leaves gets no farther than that router: nothing is known of ports and keys.
TEST(Problems, ARouterThatCannotReachTheServerIsNamedAlone) {
  Office office;
  office.up(0);
  WanFacts& lte = office.facts.wans[1];
  lte.unreachable_by = "198.51.100.1";
  lte.wrong_secret = "the password differs";
  lte.beyond_gateway = Answer::kYes;
  office.facts.states[1].state = WanState::kSilent;
  office.facts.states[1].heard_ms_ago = 150;  // the other direction works
  EXPECT_THAT(office.found(), ElementsAre("lte: unreachable"));
  EXPECT_THAT(office.text(), HasSubstr("(198.51.100.1)"));
  lte.gateway_by_arp = Answer::kNo;
  EXPECT_THAT(office.found(), ElementsAre("lte: gateway-silent"));
}

// Another WAN that is heard has the same key; without one a closed port and a wrong key look alike.
TEST(Problems, AClosedPortIsToldFromAWrongKeyWhereThatCanBeKnown) {
  Office office;
  for (WanFacts& wan : office.facts.wans) wan.server_answers = Answer::kYes;
  EXPECT_THAT(office.found(), ElementsAre("dsl: port-or-secret", "lte: port-or-secret"));
  office.up(0);
  EXPECT_THAT(office.found(), ElementsAre("lte: port-silent"));
  const auto all = find(office.facts);
  EXPECT_THAT(to_line(all.at(0)), HasSubstr("the key is right"));
  office.facts.theirs = settings_of(office.config);
  office.facts.theirs->wans[1].undecryptable = true;
  EXPECT_THAT(office.found(), ElementsAre("lte: secret-differs"));
  EXPECT_THAT(office.text(), HasSubstr("the server says so"));
}

TEST(Problems, OneWayNamesTheKeyOnlyWherePacketsGetThere) {
  Office office;
  office.up(0);
  office.facts.states[1].state = WanState::kSilent;
  office.facts.states[1].heard_ms_ago = 150;
  for (const auto answers : {Answer::kUnknown, Answer::kNo, Answer::kYes}) {
    office.facts.wans[1].server_answers = answers;
    const auto all = find(office.facts);
    ASSERT_EQ(all.size(), 1U);
    const std::string remedy = render(row(all[0].code).remedy, all[0].words);
    EXPECT_EQ(remedy.find("key") != std::string::npos, answers == Answer::kYes) << remedy;
  }
}

TEST(Problems, AnOtherEndThatWasStoppedIsSaidAtOnceWithWhatToDo) {
  Office office;
  for (auto& state : office.facts.states) {
    state.reason = model::kPeerLeft;
    state.heard_ms_ago = 50;
  }
  EXPECT_THAT(office.found(), ElementsAre("dsl: peer-left", "lte: peer-left"));
  Tracker tracker;
  tracker.update(kStart, 1000, find(office.facts));
  EXPECT_EQ(tracker.visible(kStart).size(), 2U);
  office.facts.wans[1].port_refused = Answer::kYes;
  EXPECT_THAT(office.found(), ElementsAre("dsl: peer-left", "lte: port-refused"));
}

TEST(Problems, APortThatIsRefusedSaysThatNobodyListens) {
  Office office;
  for (WanFacts& wan : office.facts.wans) wan.port_refused = wan.server_answers = Answer::kYes;
  EXPECT_THAT(office.found(), ElementsAre("dsl: port-refused", "lte: port-refused"));
}

// The other end sends on by its own way, so packets arrive while nothing that is sent here does.
TEST(Problems, AGatewayThatNobodyHasIsNamedWhileTheOtherDirectionWorks) {
  Office office;
  office.up(0);
  office.up(1);
  office.facts.wans[1].gateway = "192.168.2.99";
  office.facts.wans[1].gateway_by_arp = Answer::kNo;
  EXPECT_EQ(office.text(), "gateway 192.168.2.99 does not answer (ARP) on lte0");
}

TEST(Problems, WhatTheOtherEndDoesNotReceiveIsNamedOnBothEnds) {
  for (const auto role : {model::Role::kClient, model::Role::kServer}) {
    Office end(role);
    end.up(0);
    end.up(1);
    end.facts.ours = end.facts.theirs = settings_of(end.config);
    end.facts.theirs->role = "the other one";
    end.facts.theirs->peer = end.facts.ours->address;
    end.facts.theirs->address = end.facts.ours->peer;
    EXPECT_THAT(end.found(), IsEmpty());
    end.facts.theirs->wans[1].unheard = true;
    EXPECT_THAT(end.found(), ElementsAre("lte: one-way"));
    EXPECT_THAT(end.text(), HasSubstr("none that are sent from here to UDP port 5081"));
  }
}

// As soon as something is sent, the end whose packets are lost notices that nobody answers.
TEST(Problems, ASilentWanThatPacketsComeByIsOneWayAndNoClosedPort) {
  Office office;
  office.up(0);
  office.facts.wans[1].server_answers = office.facts.wans[1].beyond_gateway = Answer::kYes;
  office.facts.states[1].state = WanState::kSilent;
  office.facts.states[1].heard_ms_ago = 150;
  EXPECT_THAT(office.found(), ElementsAre("lte: one-way"));
  Tracker tracker;
  tracker.update(kStart, 1000, find(office.facts));
  EXPECT_EQ(tracker.visible(kStart + 10s).size(), 1U);
  office.up(1);
  office.facts.ours = office.facts.theirs = settings_of(office.config);
  office.facts.theirs->role = "server";
  office.facts.theirs->wans[1].unheard = true;  // as of a second ago
  tracker.update(kStart + 10s, 1010, find(office.facts));
  for (const auto& problem : tracker.visible(kStart + 10s)) EXPECT_NE(problem.code, "one-way");

  office.facts.theirs.reset();
  office.facts.states[1].state = WanState::kSilent;
  office.facts.states[1].heard_ms_ago = 2000;
  EXPECT_THAT(office.found(), ElementsAre("lte: port-silent"));
}

TEST(Problems, ANameThatDoesNotResolveExplainsAllWans) {
  Office office;
  office.facts.resolve_error = "vps.exampel.invalid does not resolve";
  EXPECT_THAT(office.found(), ElementsAre("name-unresolved"));
}

TEST(Problems, AServerWaitsForTheOfficeOrForOneOfItsPorts) {
  Office server(model::Role::kServer);
  EXPECT_THAT(server.found(), ElementsAre("dsl: office-away", "lte: office-away"));
  server.up(0);
  EXPECT_THAT(server.found(), ElementsAre("lte: office-port-silent"));
  server.facts.wans[1].wrong_secret = "other password";
  EXPECT_THAT(server.found(), ElementsAre("lte: secret-differs"));
}

TEST(Problems, APeerThatIsLessThanItWasIsNamedOnBothEnds) {
  for (const auto role : {model::Role::kClient, model::Role::kServer}) {
    Office site(role);
    site.up(0);
    site.facts.wans[1].server_answers = Answer::kYes;
    site.facts.wans[1].refused_peer = "203.0.113.10 says that it is the original program";
    EXPECT_THAT(site.found(), ElementsAre("lte: peer-refused"));
  }
}

// "Cannot assign requested address" names neither cause nor cure.
TEST(Problems, AServerWithAnIpv6AddressIsSaidToNeedAnIpv4One) {
  Office office;
  office.config.server.address = "2001:db8::1";
  for (auto& state : office.facts.states) state.reason = "Cannot assign requested address";
  const auto all = find(office.facts);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_THAT(render(row(all[0].code).text, all[0].words),
              HasSubstr("write the VPS's IPv4 address into [server]"));
}

TEST(Problems, EveryRowRendersAndHasAnOwnName) {
  std::set<std::string_view> names;
  for (const Row& row : table()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_FALSE(render(row.text, {.detail = "x"}).empty()) << row.name;
    render(row.remedy, {});
  }
}

// The trade's words; see the table of words in docs/troubleshooting.md.
TEST(Problems, NoTextHasAWordOfOurOwn) {
  for (const Row& row : table()) {
    const std::string text = " " + std::string(row.text) + " " + std::string(row.remedy) + " ";
    for (const char* word : {" box ", " line ", " lines ", "round trip", "loses", " site ", "carries nothing",
                             "mistake", "never heard", "signed on", "belongs into"}) {
      EXPECT_THAT(text, ::testing::Not(HasSubstr(word))) << row.name;
    }
  }
}

// --- both ends' files ---

struct Ends {
  model::Config office, server;
  Ends() {
    office = Office().config;
    office.through_bond = {*parse_prefix("0.0.0.0/0")};
    server = Office(model::Role::kServer).config;
    server.through_bond = {*parse_prefix("192.168.1.0/24")};
    server.masquerade = {"eth0"};
    office.bond.address = *parse_prefix("172.16.16.2/30");
    server.bond.address = *parse_prefix("172.16.16.1/30");
    office.bond.peer = server.bond.address.address;
    server.bond.peer = office.bond.address.address;
  }
  [[nodiscard]] PeerSettings office_tells() const {
    PeerSettings out = settings_of(office);
    out.networks = {*parse_prefix("192.168.1.0/24")};
    return out;
  }
  [[nodiscard]] PeerSettings server_tells() const {
    PeerSettings out = settings_of(server);
    out.way_out = "eth0";
    return out;
  }
  [[nodiscard]] std::vector<std::string> at_office() const { return texts(office_tells(), server_tells()); }
  [[nodiscard]] std::vector<std::string> at_server() const { return texts(server_tells(), office_tells()); }
  static std::vector<std::string> texts(const PeerSettings& ours, const PeerSettings& theirs,
                                        bool session_keys = true) {
    std::vector<std::string> out;
    const auto told = parse_peer_settings(render(theirs));  // as it goes over the tunnel
    if (!told) return {"not understood"};
    for (const Found& one : compare(ours, *told, session_keys))
      out.push_back(render(row(one.code).text, one.words));
    return out;
  }
};

TEST(PeerSettings, GoOverTheTunnelUnchanged) {
  PeerSettings settings = Ends().office_tells();
  settings.wans[0].capacity_mbit = 7.25;
  settings.wans[0].tunnels = 3;
  settings.wans[1].unheard = true;
  settings.wans[1].undecryptable = true;
  settings.masquerade = {"eth0"};
  settings.way_out = "ens3";
  settings.services = {{model::Protocol::kUdp, {5061, 5061}, *parse_ip("192.168.1.10"), std::nullopt}};
  settings.takes_speed_tests = true;
  settings.speed_test = {std::string(kSpeedTestToken, 'f'), 1194};
  settings.speed_test_ready = {40000, 1194, "01234567"};
  EXPECT_EQ(parse_peer_settings(render(settings)), settings);
}

TEST(PeerSettings, ATokenThatIsNoneIsDropped) {
  const auto with = [](const std::string& line) {
    return parse_peer_settings("bondd-settings 1\n" + line).value();
  };
  EXPECT_TRUE(with("speedtest " + std::string(kSpeedTestToken, '0') + " 0").speed_test);
  for (const std::string& line : {std::string("speedtest"), std::string("speedtest abc 0"),
                                  "speedtest " + std::string(kSpeedTestToken, 'g') + " 0",
                                  "speedtest " + std::string(kSpeedTestToken, '0') + " 70000"})
    EXPECT_FALSE(with(line).speed_test) << line;
  EXPECT_FALSE(with("speedtest-ready 0 0 01234567").speed_test_ready);
}

TEST(PeerSettings, FilesThatMatchHaveNothingToSay) {
  EXPECT_THAT(Ends().at_office(), IsEmpty());
  EXPECT_THAT(Ends().at_server(), IsEmpty());
}

TEST(PeerSettings, CleartextOnOneEndIsNamed) {
  Ends ends;
  ends.office.mlvpn.cleartext_data = true;
  EXPECT_THAT(ends.at_office(), ElementsAre("cleartext_data is true here and false on the other end"));
  EXPECT_THAT(ends.at_server(), ElementsAre("cleartext_data is false here and true on the other end"));
  EXPECT_THAT(Ends::texts(ends.office_tells(), ends.server_tells(), false),
              ElementsAre("nothing passes: cleartext_data is true here and false on the other end"));
  ends.server.mlvpn.cleartext_data = ends.server.mlvpn.tap = true;
  EXPECT_THAT(ends.at_office(), ElementsAre("nothing passes: tuntap is tun here and tap on the other end"));
}

TEST(PeerSettings, CleartextStopsOnlyWhatThePasswordAloneProtects) {
  Ends ends;
  ends.office.mlvpn.cleartext_data = true;
  Office site;
  site.facts.ours = ends.office_tells();
  site.facts.theirs = ends.server_tells();
  for (const std::size_t wan : {0U, 1U}) {
    site.up(wan);
    site.facts.states[wan].protection = model::Protection::kSession;
  }
  EXPECT_THAT(site.found(), ElementsAre("setting-differs"));
  site.facts.states[1].protection = model::Protection::kPassword;
  EXPECT_THAT(site.found(), ElementsAre("format-differs"));
}

TEST(PeerSettings, AnMtuOfOneEndOnlyIsNamed) {
  Ends ends;
  ends.office.bond.mtu = 1400;
  EXPECT_THAT(ends.at_office(), ElementsAre("mtu is 1400 here and automatic on the other end"));
}

TEST(PeerSettings, OpenVpnsProbesMustComeAtOneRate) {
  Ends ends;
  ends.office.backend = ends.server.backend = model::Backend::kOpenVpnBond;
  ends.office.bond.arp_interval = 300ms;
  ends.server.bond.arp_interval = 2s;
  EXPECT_THAT(ends.at_office(), ElementsAre("arp_interval is 300ms here and 2s on the other end"));
}

TEST(PeerSettings, WeightsThatDifferAreNamedWithTheirWan) {
  PeerSettings office = Ends().office_tells(), server = Ends().server_tells();
  office.wans[1].tunnels = 2;
  server.wans[1].tunnels = 1;
  EXPECT_THAT(
      Ends::texts(office, server),
      ElementsAre("weight, upload or download of lte gives it 2 tunnels here and 1 on the other end"));
  server.wans[1].tunnels = 0;
  EXPECT_THAT(Ends::texts(office, server), IsEmpty()) << "an end that does not tell";
}

TEST(PeerSettings, TheSameAddressOnBothEndsIsNamed) {
  Ends ends;
  ends.server.bond = ends.office.bond;
  EXPECT_THAT(
      ends.at_office(),
      ElementsAre("peer in [bond] is 172.16.16.1 here, and the other end says address = 172.16.16.2",
                  "address in [bond] is 172.16.16.2 here, and the other end says peer = 172.16.16.1"));
}

TEST(PeerSettings, NoNatIsToldAtTheOffice) {
  Ends ends;
  ends.server.masquerade.clear();
  EXPECT_THAT(ends.at_office(), ElementsAre(HasSubstr("no device in [nat]")));
  ends.server.masquerade = {"ens3"};
  EXPECT_THAT(ends.at_office(), ElementsAre(HasSubstr("on ens3, but its way to the Internet is eth0")));
}

TEST(PeerSettings, ANetworkThatTheServersFileLacksIsNamedOnBothEnds) {
  Ends ends;
  ends.server.through_bond = {*parse_prefix("192.168.0.0/24")};
  EXPECT_THAT(ends.at_office(), ElementsAre(HasSubstr("192.168.1.0/24 is not in through_bond")));
  EXPECT_THAT(ends.at_server(), ElementsAre(HasSubstr("192.168.1.0/24 is not in through_bond")));
  ends.server.through_bond = {*parse_prefix("192.168.0.0/16")};
  EXPECT_THAT(ends.at_office(), IsEmpty()) << "a wider network holds it";
}

TEST(PeerSettings, PortsAndNamesThatDifferAreNamed) {
  Ends ends;
  ends.server.wans[1].port = 5099;
  EXPECT_THAT(ends.at_office(), ElementsAre(HasSubstr("no [[wan]] with port 5081"), HasSubstr("port 5099")));
  ends.server.wans[1].port = 5081;
  ends.server.wans[1].name = "mobile";
  EXPECT_THAT(ends.at_office(), ElementsAre("UDP port 5081 is called lte here and mobile on the other end"));
}

TEST(PeerSettings, TwoFilesOfOneRoleAreNamed) {
  Ends ends;
  ends.server.role = model::Role::kClient;
  EXPECT_THAT(ends.at_office(), ElementsAre("both files say role = \"client\""));
}

TEST(PeerSettings, NonsenseFromThePeerIsDropped) {
  EXPECT_FALSE(parse_peer_settings("").has_value());
  EXPECT_FALSE(parse_peer_settings("bondd-settings 12\nrole client").has_value());
  EXPECT_FALSE(parse_peer_settings("bondd-settings 1\n" + std::string(5000, 'a')).has_value());
  const auto odd = parse_peer_settings(
      "bondd-settings 1\nrole \x1b[31m\nwan 99999 a\nwan 5 \nwan 6 b -1\nnetwork x\nsame a\n\nfuture 1 2 3");
  ASSERT_TRUE(odd.has_value());
  EXPECT_EQ(odd->role, "");
  ASSERT_EQ(odd->wans.size(), 1U);
  EXPECT_EQ(odd->wans[0].capacity_mbit, std::nullopt);
  EXPECT_THAT(odd->same, IsEmpty());
}

TEST(PeerSettings, ADrainedWanIsToldAndOthersAreNot) {
  PeerSettings settings = Ends().office_tells();
  settings.wans[1].drained = true;
  EXPECT_EQ(parse_peer_settings(render(settings)), settings);
}

TEST(PeerSettings, WhatDoesNotFitIsLeftOut) {
  PeerSettings settings = Ends().office_tells();
  for (int i = 0; i < 200; ++i) settings.networks.push_back(*parse_prefix("10.0.0.0/8"));
  EXPECT_LE(render(settings).size(), kMostSettingsBytes);
  EXPECT_TRUE(parse_peer_settings(render(settings)).has_value());
}

// --- since when ---

TEST(ProblemTracker, AFigureThatMovesIsTheSameProblemAndAnotherTextAnotherOne) {
  Office office;
  office.up(0);
  office.up(1);
  Tracker tracker;
  for (int second = 0; second <= 10; ++second) {
    office.facts.remarks = {
        {Code::kLineLossy, "lte", "lte has 2." + std::to_string(second) + " % packet loss"},
        {Code::kForeignRules, "", "rule number " + std::to_string(second)}};
    tracker.update(kStart + std::chrono::seconds(second), 1000 + second, find(office.facts));
  }
  const auto visible = tracker.visible(kStart + 10s);
  ASSERT_EQ(visible.size(), 2U);
  EXPECT_EQ(visible[0].code, "line-lossy");
  EXPECT_EQ(visible[0].since, 1000);
  EXPECT_EQ(visible[1].since, 1010) << "another rule began now";
}

TEST(ProblemTracker, ShowsWhatLastsAndRemembersSinceWhen) {
  Office office;
  office.up(0);
  office.facts.wans[1].gateway_by_arp = Answer::kNo;
  Tracker tracker;
  tracker.update(kStart, 1000, find(office.facts));
  EXPECT_THAT(tracker.visible(kStart), IsEmpty());
  EXPECT_EQ(tracker.all().size(), 1U) << "for an end that gives up now";
  tracker.update(kStart + 3s, 1003, find(office.facts));
  const auto visible = tracker.visible(kStart + 3s);
  ASSERT_EQ(visible.size(), 1U);
  EXPECT_EQ(visible[0].code, "gateway-silent");
  EXPECT_EQ(visible[0].wan, "lte");
  EXPECT_EQ(visible[0].since, 1000);
  EXPECT_THAT(visible[0].remedy, HasSubstr("modem-router's power"));
  office.facts.wans[1].gateway_by_arp = Answer::kYes;
  office.up(1);
  tracker.update(kStart + 4s, 1004, find(office.facts));
  EXPECT_THAT(tracker.visible(kStart + 4s), IsEmpty());
}

}  // namespace
}  // namespace bondd::problems

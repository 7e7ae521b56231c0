// How far a WAN's packets get, told from the answers to echo requests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bondd/probes/way_probe.h"

namespace bondd::probes {
namespace {

using namespace std::chrono_literals;
using Kind = IcmpAnswer::Kind;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr TimePoint kStart{1h};

IpAddress ip(const char* text) {
  return *parse_ip(text);
}

WayProbe::Target target(const char* wan = "lte", std::uint16_t port = 5081) {
  return {wan, ip("203.0.113.10"), ip("192.168.2.1"), port, 0x20000};
}

// One round; `answer` says what comes back for a request, if anything.
template <typename AnswerTo>
Way round(WayProbe& probe, TimePoint now, AnswerTo answer) {
  for (const WayProbe::Request& request : probe.poll_requests(now)) {
    if (request.udp_port != 0) continue;
    std::optional<IcmpAnswer> got = answer(request);
    if (!got) continue;
    got->to = request.to;
    got->sequence = request.sequence;
    probe.handle_answer(now + 20ms, *got);
  }
  probe.poll_requests(now + kPatience);
  return probe.way(now + kPatience, "lte");
}

IcmpAnswer from(Kind kind, const char* who) {
  IcmpAnswer answer;
  answer.kind = kind;
  answer.from = ip(who);
  return answer;
}

TEST(WayProbe, AnEchoFromTheServerMeansThatAllIsReached) {
  WayProbe probe;
  probe.set_targets({target()});
  const Way way = round(probe, kStart, [](const auto& request) -> std::optional<IcmpAnswer> {
    if (request.hop_limit == 1) return from(Kind::kTimeExceeded, "192.168.2.1");
    return from(Kind::kEchoReply, "203.0.113.10");
  });
  EXPECT_EQ(way.server, model::Answer::kYes);
  EXPECT_EQ(way.beyond_gateway, model::Answer::kYes);
}

TEST(WayProbe, OnlyTheGatewayAnswersOnADeadLine) {
  WayProbe probe;
  probe.set_targets({target()});
  const Way way = round(probe, kStart, [](const auto& request) -> std::optional<IcmpAnswer> {
    if (request.hop_limit == 1) return from(Kind::kTimeExceeded, "192.168.2.1");
    return from(Kind::kUnreachable, "192.168.2.1");
  });
  EXPECT_EQ(way.beyond_gateway, model::Answer::kNo);
  EXPECT_EQ(way.server, model::Answer::kNo);
}

TEST(WayProbe, NamesTheFarthestRouterThatAnswers) {
  WayProbe probe;
  probe.set_targets({target()});
  const Way way = round(probe, kStart, [](const auto& request) -> std::optional<IcmpAnswer> {
    if (request.hop_limit == 2) return from(Kind::kTimeExceeded, "198.51.100.1");
    if (request.hop_limit == 3) return from(Kind::kTimeExceeded, "198.51.100.9");
    return std::nullopt;
  });
  EXPECT_EQ(way.beyond_gateway, model::Answer::kYes);
  EXPECT_EQ(way.server, model::Answer::kNo);
  EXPECT_EQ(way.last_hop, "198.51.100.9");
}

TEST(WayProbe, ARefusedUdpPortIsTheServersOwnWordOnly) {
  WayProbe probe;
  probe.set_targets({target("dsl", 5080), target()});
  IcmpAnswer refused = from(Kind::kPortUnreachable, "192.168.2.1");
  refused.to = ip("203.0.113.10");
  refused.udp_port = 5081;
  probe.handle_answer(kStart, refused);
  EXPECT_EQ(probe.way(kStart, "lte").port_refused, model::Answer::kUnknown) << "said by a router";
  refused.from = refused.to;
  probe.handle_answer(kStart, refused);
  EXPECT_EQ(probe.way(kStart, "lte").port_refused, model::Answer::kYes);
  EXPECT_EQ(probe.way(kStart, "dsl").port_refused, model::Answer::kUnknown);
  EXPECT_EQ(probe.way(kStart + 1min, "lte").port_refused, model::Answer::kUnknown) << "long ago";
}

// Routers answer about one packet a second, and the tunnel's own packets take most of that.
TEST(WayProbe, ARouterThatKnowsNoWayIsBelievedAboutTheTunnelsPacketsToo) {
  WayProbe probe;
  probe.set_targets({target("dsl", 5080), target()});
  IcmpAnswer lost = from(Kind::kUnreachable, "192.168.2.1");
  lost.to = ip("203.0.113.10");
  lost.udp_port = 5081;
  probe.handle_answer(kStart, lost);
  EXPECT_EQ(probe.way(kStart, "lte").unreachable_by, "") << "the gateway: its line is dead";
  lost.from = ip("198.51.100.1");
  probe.handle_answer(kStart, lost);
  EXPECT_EQ(probe.way(kStart, "lte").unreachable_by, "198.51.100.1");
  EXPECT_EQ(probe.way(kStart, "dsl").unreachable_by, "");
  EXPECT_EQ(probe.way(kStart + 1min, "lte").unreachable_by, "") << "long ago";
}

// The server was started after the office: what was refused then is no reason any more.
TEST(WayProbe, ARefusalThatTheLatestRoundDidNotMeetIsOver) {
  WayProbe probe;
  probe.set_targets({target()});
  const auto requests = probe.poll_requests(kStart);
  ASSERT_THAT(requests, SizeIs(7));
  EXPECT_EQ(requests.back().udp_port, 5081) << "the port itself is asked, too";
  IcmpAnswer refused = from(Kind::kPortUnreachable, "203.0.113.10");
  refused.to = refused.from;
  refused.udp_port = 5081;
  probe.handle_answer(kStart + 20ms, refused);
  probe.poll_requests(kStart + kPatience);
  EXPECT_EQ(probe.way(kStart + kPatience, "lte").port_refused, model::Answer::kYes);
  EXPECT_THAT(probe.poll_requests(kStart + kPause), SizeIs(7));
  EXPECT_EQ(probe.way(kStart + kPause, "lte").port_refused, model::Answer::kYes)
      << "while the next round runs";
  probe.poll_requests(kStart + kPause + kPatience);
  EXPECT_EQ(probe.way(kStart + kPause + kPatience, "lte").port_refused, model::Answer::kUnknown);
}

TEST(WayProbe, AsksOneWanAtATimeAndNoneTooOften) {
  WayProbe probe;
  probe.set_targets({target("dsl", 5080), target()});
  int rounds = 0;
  for (TimePoint now = kStart; now < kStart + 20s; now += 100ms) {
    const auto requests = probe.poll_requests(now);
    EXPECT_LE(requests.size(), 7U);
    rounds += requests.empty() ? 0 : 1;
  }
  EXPECT_LE(rounds, 14) << "2 WANs, every 3 s";
  EXPECT_GE(rounds, 12);
  probe.set_targets({});
  EXPECT_THAT(probe.poll_requests(kStart + 1min), IsEmpty()) << "all are heard: nothing is asked";
}

TEST(WayProbe, TargetsThatStayDoNotEndTheRound) {
  WayProbe probe;
  probe.set_targets({target()});
  EXPECT_THAT(probe.poll_requests(kStart), SizeIs(7));
  probe.set_targets({target()});
  probe.poll_requests(kStart + kPatience);
  EXPECT_EQ(probe.way(kStart + kPatience, "lte").server, model::Answer::kNo);
  probe.set_targets({target("dsl", 5080), target()});
  EXPECT_EQ(probe.way(kStart + kPatience, "lte").server, model::Answer::kNo) << "what was found stays";
}

TEST(WayProbe, AnswersOfAnEarlierRoundOrToOthersTellNothing) {
  WayProbe probe;
  probe.set_targets({target()});
  EXPECT_THAT(probe.poll_requests(kStart), SizeIs(7));
  IcmpAnswer stray = from(Kind::kEchoReply, "203.0.113.10");
  stray.to = ip("203.0.113.10");
  stray.sequence = 999;
  probe.handle_answer(kStart, stray);
  stray.sequence = 0;
  stray.to = ip("203.0.113.99");
  probe.handle_answer(kStart, stray);
  probe.poll_requests(kStart + kPatience);
  EXPECT_EQ(probe.way(kStart + kPatience, "lte").server, model::Answer::kNo);
}

// --- bytes ---

std::vector<std::uint8_t> ip_packet(const char* source, const char* destination, std::uint8_t protocol,
                                    const std::vector<std::uint8_t>& payload) {
  std::vector<std::uint8_t> out(20);
  out[0] = 0x45;
  out[9] = protocol;
  std::copy_n(ip(source).data(), 4, out.begin() + 12);
  std::copy_n(ip(destination).data(), 4, out.begin() + 16);
  out.insert(out.end(), payload.begin(), payload.end());
  return out;
}

TEST(Icmp, ReadsWhatARouterSaysOfOurPackets) {
  std::vector<std::uint8_t> exceeded = {11, 0, 0, 0, 0, 0, 0, 0};
  const auto about = ip_packet("192.168.2.2", "203.0.113.10", 1, render_echo(7, 9));
  exceeded.insert(exceeded.end(), about.begin(), about.end());
  const auto answer = parse_icmp(ip_packet("198.51.100.1", "192.168.2.2", 1, exceeded));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(*answer, (IcmpAnswer{Kind::kTimeExceeded, ip("198.51.100.1"), ip("203.0.113.10"), 7, 9, 0}));
}

TEST(Icmp, ReadsThePortThatIsRefused) {
  std::vector<std::uint8_t> refused = {3, 3, 0, 0, 0, 0, 0, 0};
  const auto about = ip_packet("192.168.2.2", "203.0.113.10", 17, {0x80, 0, 0x13, 0xd9, 0, 8, 0, 0});
  refused.insert(refused.end(), about.begin(), about.end());
  const auto answer = parse_icmp(ip_packet("203.0.113.10", "192.168.2.2", 1, refused));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->kind, Kind::kPortUnreachable);
  EXPECT_EQ(answer->udp_port, 5081);
}

// The kernel says it to its own programs when a neighbour is silent: that is no router beyond the gateway.
TEST(Icmp, WhatThisMachineSaysOfItsOwnPacketsIsNothing) {
  std::vector<std::uint8_t> unreachable = {3, 1, 0, 0, 0, 0, 0, 0};
  const auto about = ip_packet("192.168.2.2", "203.0.113.10", 1, render_echo(7, 9));
  unreachable.insert(unreachable.end(), about.begin(), about.end());
  EXPECT_TRUE(parse_icmp(ip_packet("198.51.100.1", "192.168.2.2", 1, unreachable)).has_value());
  EXPECT_FALSE(parse_icmp(ip_packet("192.168.2.2", "192.168.2.2", 1, unreachable)).has_value());
}

TEST(Icmp, WhatIsCutOffOrNotIcmpIsNothing) {
  const auto whole = ip_packet("203.0.113.10", "192.168.2.2", 1, {0, 0, 0, 0, 0, 7, 0, 9});
  EXPECT_TRUE(parse_icmp(whole).has_value());
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(parse_icmp(std::span(whole).first(size)).has_value()) << size;
  EXPECT_FALSE(
      parse_icmp(ip_packet("203.0.113.10", "192.168.2.2", 17, {0, 0, 0, 0, 0, 7, 0, 9})).has_value());
  EXPECT_FALSE(parse_icmp(ip_packet("203.0.113.10", "192.168.2.2", 1, {3, 4, 0, 0, 0, 0, 0, 0})).has_value());
}

}  // namespace
}  // namespace bondd::probes

// Towards an original peer: which links share a flow, what is marked for its reordering,
// and what its acknowledgements wait for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "bondd/mlvpn/core/bare_ack.h"
#include "tests/support/mlvpn_peer.h"

namespace bondd::mlvpn::test {
namespace {

using namespace std::chrono_literals;

constexpr int kPadding = 9;
const Endpoint kServers[] = {endpoint("192.0.2.1", 5080), endpoint("192.0.2.1", 5081)};

// IPv4 and TCP with these flags and options, from port `port`.
Bytes tcp(std::uint16_t port, std::uint32_t ack, std::size_t payload = 0, std::uint8_t flags = 0x10,
          const Bytes& options = {}) {
  Bytes p(40 + options.size() + payload);
  p[0] = 0x45;
  p[2] = static_cast<std::uint8_t>(p.size() >> 8);
  p[3] = static_cast<std::uint8_t>(p.size());
  p[9] = 6;
  p[20] = static_cast<std::uint8_t>(port >> 8);
  p[21] = static_cast<std::uint8_t>(port);
  for (std::size_t i = 0; i < 4; ++i) p[28 + i] = static_cast<std::uint8_t>(ack >> (24 - 8 * i));
  p[32] = static_cast<std::uint8_t>((20 + options.size()) / 4 << 4);
  p[33] = flags;
  std::copy(options.begin(), options.end(), p.begin() + 40);
  return p;
}

// A client with two links to a server that is the original program: it answers each
// second with a keepalive that echoes the newest timestamp, as old as the line's delay.
struct Upstream : Rig {
  PeerFlowState peer[2] = {{.flow = 0x11, .seq = 0}, {.flow = 0x22, .seq = 0}};
  Duration trip[2] = {20ms, 20ms};

  explicit Upstream(const LinkConfig& a = {.name = "a"}, const LinkConfig& b = {.name = "b"})
      : Rig(engine_config(Role::kClient)) {
    for (LinkConfig config : {a, b}) {
      config.remote = kServers[config.name == "a" ? 0 : 1];
      engine->add_link(now, config);
    }
    started = now;
    run_for(1ms);
    first_stamp = decode(sent.at(0).bytes)->timestamp;
    for (LinkId i : {LinkId{0}, LinkId{1}}) receive(i, kServers[i], peer[i].make(kAuthOk, text("OK")));
    run_for(1ms);
    sent.clear();
  }
  // Seconds of idleness, in which the server echoes with the lines' round trips.
  void idle(int seconds, Duration train_takes = 0ms) {
    for (int s = 0; s < seconds; ++s) {
      run_for(1s);
      echo(train_takes);
    }
  }
  void echo(Duration train_takes = 0ms) {
    const std::size_t end = sent.size();
    for (LinkId i : {LinkId{0}, LinkId{1}}) {
      bool train = false;
      for (std::size_t k = std::min(scanned, end); k < end; ++k)
        train = train || (sent[k].link == i && decode(sent[k].bytes)->type == kPadding);
      // An echo counts the time that it was held: what is left is the round trip.
      const Duration away = trip[i] + (train ? train_takes : 0ms);
      const auto echo = std::chrono::duration_cast<std::chrono::milliseconds>(now - started - away).count();
      receive(i, kServers[i],
              peer[i].make(kKeepalive, {}, 0, false, static_cast<std::uint16_t>(first_stamp + echo)));
    }
    scanned = end;
  }
  // The link of each datagram of padding that was sent.
  std::vector<LinkId> padding() const {
    std::vector<LinkId> links;
    for (const Sent& s : sent) {
      if (decode(s.bytes)->type == kPadding) links.push_back(s.link);
    }
    return links;
  }
  TimePoint started;
  std::uint16_t first_stamp = 0;
  std::size_t scanned = 0;  // of `sent`

  std::vector<Sent> data(std::uint16_t port, int packets) {
    sent.clear();
    for (int i = 0; i < packets; ++i) {
      from_tun(tcp(port, 1, 1000));
      run_for(1ms);
    }
    std::vector<Sent> out;
    for (const Sent& s : sent) {
      if (decode(s.bytes)->type == kData) out.push_back(s);
    }
    return out;
  }
};

TEST(BareAck, IsAnAcknowledgementAndNothingElse) {
  ASSERT_TRUE(bare_ack(tcp(1, 77)));
  EXPECT_EQ(bare_ack(tcp(1, 77))->number, 77U);
  EXPECT_FALSE(bare_ack(tcp(1, 77, 1)));        // carries data
  EXPECT_FALSE(bare_ack(tcp(1, 77, 0, 0x12)));  // SYN
  EXPECT_FALSE(bare_ack(tcp(1, 77, 0, 0x11)));  // FIN
  EXPECT_FALSE(bare_ack(tcp(1, 77, 0, 0x14)));  // RST
  EXPECT_NE(bare_ack(tcp(1, 77))->flow, bare_ack(tcp(2, 77))->flow);
  EXPECT_FALSE(bare_ack(text("no packet")));
  const Bytes ranges{1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2};
  EXPECT_TRUE(bare_ack(tcp(1, 77, 0, 0x10, ranges))->selective);
  EXPECT_FALSE(bare_ack(tcp(1, 77, 0, 0x10, {5, 200, 0, 0})));  // options that lie
}

TEST(BareAck, OneThatSaysLessIsOutdatedUnlessItTellsOfRanges) {
  NewestAcks acks;
  EXPECT_FALSE(acks.outdated({1, 100, false}));
  EXPECT_FALSE(acks.outdated({1, 100, false}));  // a duplicate has a meaning
  EXPECT_TRUE(acks.outdated({1, 99, false}));
  EXPECT_FALSE(acks.outdated({1, 99, true}));
  EXPECT_FALSE(acks.outdated({2, 50, false}));
}

TEST(UpstreamPeer, AcknowledgementsDoNotWaitForThePacketsOfASlowLine) {
  Upstream rig;
  rig.receive(0, kServers[0], rig.peer[0].make(kData, text("first"), 0));
  rig.delivered.clear();
  // Number 1 is on the slow line.
  rig.receive(0, kServers[0], rig.peer[0].make(kData, tcp(9, 1000), 2));
  EXPECT_EQ(rig.delivered.size(), 1U);
  rig.receive(0, kServers[0], rig.peer[0].make(kData, text("third"), 3));
  EXPECT_EQ(rig.delivered.size(), 1U);  // DATA waits
  // What comes over the slow line and says less is of no use any more.
  rig.receive(1, kServers[1], rig.peer[1].make(kData, tcp(9, 500), 1));
  EXPECT_EQ(rig.delivered.size(), 2U);
  EXPECT_EQ(rig.delivered.back(), text("third"));
}

TEST(UpstreamPeer, LinksThatAreNotKnownToBeAlikeShareNoFlow) {
  Upstream rig;
  std::set<LinkId> links;
  for (const Sent& s : rig.data(4000, 200)) {
    links.insert(s.link);
    EXPECT_FALSE(decode(s.bytes)->reorder);  // in order as it is: past the peer's buffer
  }
  EXPECT_EQ(links.size(), 1U);
}

TEST(UpstreamPeer, LinksOfEqualDelayAndRateShareFlowsInOrder) {
  Upstream rig({.name = "a", .upload = Rate{4'000'000}}, {.name = "b", .upload = Rate{4'000'000}});
  rig.idle(6);
  std::set<LinkId> links;
  std::optional<std::uint64_t> last;
  for (const Sent& s : rig.data(4000, 400)) {
    links.insert(s.link);
    const auto p = decode(s.bytes);
    EXPECT_TRUE(p->reorder);
    last = std::max(last.value_or(0), p->data_seq);
  }
  EXPECT_EQ(links.size(), 2U);
}

TEST(UpstreamPeer, ALinkOfOtherDelayGetsFlowsOfItsOwn) {
  Upstream rig({.name = "a", .upload = Rate{4'000'000}}, {.name = "b", .upload = Rate{4'000'000}});
  rig.trip[1] = 300ms;
  rig.idle(6);
  std::set<LinkId> links;
  for (const Sent& s : rig.data(4000, 400)) links.insert(s.link);
  EXPECT_EQ(links, std::set<LinkId>{0});
}

TEST(UpstreamPeer, ATrainOfPaddingTellsAnIdleLinesRate) {
  Upstream rig;
  rig.idle(8, 8ms);                         // 8 packets, together 10.4 kB: 10 Mbit/s
  EXPECT_EQ(rig.padding().size(), 2U * 7);  // a short one is enough
  ASSERT_TRUE(rig.stats(0).capacity);
  EXPECT_NEAR(static_cast<double>(rig.stats(0).capacity->bits_per_second) * 1e-6, 10, 1.5);
}

TEST(UpstreamPeer, ATrainTooShortForAFastLineIsFollowedByALongerOne) {
  Upstream rig;
  rig.idle(8, 1ms);
  EXPECT_GE(rig.padding().size(), 2U * (7 + 31));
}

TEST(UpstreamPeer, ALineWithSmallPacketsOnlyIsMeasuredTooAndTheyGoAroundTheTrain) {
  Upstream rig;
  rig.idle(2);
  std::size_t seen = 0;
  while (rig.padding().empty()) {
    rig.from_tun(tcp(4000, 1, 60));
    rig.run_for(10ms);
    ASSERT_LT(++seen, 1000U);
  }
  const LinkId measured = rig.padding()[0];
  rig.from_tun(tcp(4000, 1, 60));
  rig.run_for(1ms);
  EXPECT_EQ(decode(rig.sent.back().bytes)->type, kData);
  EXPECT_NE(rig.sent.back().link, measured);
}

TEST(UpstreamPeer, AFlowThatFillsItsLineMovesToAFasterOne) {
  Upstream rig({.name = "a", .upload = Rate{4'000'000}}, {.name = "b", .upload = Rate{40'000'000}});
  rig.trip[1] = 78ms;
  rig.idle(6);
  rig.data(4000, 1);
  EXPECT_EQ(rig.sent.back().link, 0);  // there it comes first
  rig.data(4000, 600);
  const std::vector<Sent> later = rig.data(4000, 100);
  EXPECT_TRUE(std::ranges::all_of(later, [](const Sent& s) { return s.link == 1; }));
}

TEST(UpstreamPeer, AFlowOnALongWayMovesToAShortOneOfTheSameRate) {
  Upstream rig({.name = "a", .upload = Rate{40'000'000}}, {.name = "b", .upload = Rate{40'000'000}});
  rig.trip[0] = 600ms;
  rig.trip[1] = 300ms;
  rig.idle(6);
  EXPECT_EQ(rig.data(4000, 50).back().link, 1);
  rig.trip[0] = 20ms;
  for (int i = 0; i < 30; ++i) {  // without a pause
    rig.data(4000, 100);
    rig.echo();
  }
  EXPECT_EQ(rig.data(4000, 50).back().link, 0);
}

}  // namespace
}  // namespace bondd::mlvpn::test

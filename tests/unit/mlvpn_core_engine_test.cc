// Whole tunnels: two engines with two lines between them, and one engine
// against an upstream-like server with two links.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/engine_pair.h"

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;
using namespace test;

TEST(Engine, TwoBonddKnowEachOtherAndUseBothLinks) {
  Pair pair;
  pair.run_for(100ms);
  for (LinkId i : kBoth) {
    EXPECT_EQ(pair.client.state(i), LinkState::kUp);
    EXPECT_EQ(pair.server.state(i), LinkState::kUp);
    EXPECT_TRUE(pair.client.stats(i).peer_is_bondd);
    EXPECT_TRUE(pair.server.stats(i).peer_is_bondd);
  }
  pair.stream(pair.client, 200);
  pair.run_for(100ms);
  ASSERT_EQ(pair.server.delivered.size(), 200U);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(pair.server.delivered[i], text("p" + std::to_string(i)));
  EXPECT_GT(pair.client.stats(0).tx_packets, 60U);
  EXPECT_GT(pair.client.stats(1).tx_packets, 60U);
}

std::vector<std::string> notices(const Rig& rig) {
  std::vector<std::string> out;
  for (const LinkEvent& event : rig.events) {
    if (event.kind == EventKind::kNotice) out.push_back(event.reason);
  }
  return out;
}

TEST(Engine, WhatADaemonTellsReachesTheOthersAlsoWhenItIsLostOnce) {
  Pair pair;
  pair.client.engine->set_notice(pair.client.now, "of the office");
  pair.server.engine->set_notice(pair.server.now, "of the server");
  pair.run_for(2s);
  ASSERT_FALSE(notices(pair.client).empty() || notices(pair.server).empty());
  EXPECT_THAT(notices(pair.client), ::testing::Each("of the server"));
  EXPECT_THAT(notices(pair.server), ::testing::Each("of the office"));
  pair.cut[0] = pair.cut[1] = true;
  pair.client.engine->set_notice(pair.client.now, "changed");
  pair.run_for(100ms);
  pair.cut[0] = pair.cut[1] = false;
  pair.run_for(3s);
  EXPECT_EQ(notices(pair.server).back(), "changed");
}

// "I hear nothing", and a moment later that it does: the second one is what holds.
TEST(Engine, ANoticeSoonAfterAnotherIsNotLost) {
  Pair pair;
  pair.run_for(1s);
  pair.server.engine->set_notice(pair.server.now, "hears nothing");
  pair.run_for(200ms);
  pair.server.engine->set_notice(pair.server.now, "hears all");
  pair.run_for(1100ms);
  ASSERT_FALSE(notices(pair.client).empty());
  EXPECT_EQ(notices(pair.client).front(), "hears nothing");
  EXPECT_EQ(notices(pair.client).back(), "hears all");
}

// A peer that says something else all the time cannot flood the daemon.
TEST(Engine, NoticesAreHandedOnOnceASecond) {
  Pair pair;
  pair.run_for(1s);
  for (int i = 0; i < 50; ++i) {
    pair.server.engine->set_notice(pair.server.now, "text " + std::to_string(i));
    pair.run_for(100ms);
  }
  EXPECT_LE(notices(pair.client).size(), 7U);
}

TEST(Engine, AnOriginalPeerIsToldNothing) {
  Pair pair({.name = "ovh"}, {.name = "orange"}, false);
  pair.client.engine->set_notice(pair.client.now, "of the office");
  pair.run_for(20s);
  EXPECT_THAT(notices(pair.server), ::testing::IsEmpty());
}

TEST(Engine, CapacityAndLossAreUnknownUntilTheyAreMeasured) {
  Pair pair;
  pair.run_for(3s);
  for (const LinkId link : kBoth) {
    EXPECT_EQ(pair.client.stats(link).capacity, std::nullopt);
    EXPECT_EQ(pair.client.stats(link).tx_loss_percent, std::nullopt);
  }
}

// What was lost while a line was cut is not its loss of now: of an idle line it would stand there for a
// minute.
TEST(Engine, ALineThatWasCutHasNoLossAfterwards) {
  for (const bool all : {true, false}) {
    Pair pair;
    pair.run_for(20s);
    pair.cut[0] = true;
    pair.cut[1] = all;
    pair.run_for(40s);
    pair.cut[0] = pair.cut[1] = false;
    for (int second = 0; second < 60; ++second) {
      pair.run_for(1s);
      for (Rig* rig : {&pair.client, &pair.server}) {
        for (const LinkId link : kBoth) {
          EXPECT_EQ(rig->stats(link).loss_percent.value_or(0), 0) << "second " << second;
        }
      }
    }
  }
}

TEST(Engine, KeepsOrderOverLinksOfUnlikeDelay) {
  Pair pair;
  pair.delay[1] = 45ms;
  pair.run_for(200ms);
  pair.stream(pair.client, 500);
  pair.run_for(500ms);
  ASSERT_EQ(pair.server.delivered.size(), 500U);
  for (int i = 0; i < 500; ++i) ASSERT_EQ(pair.server.delivered[i], text("p" + std::to_string(i)));
}

TEST(Engine, SharesFollowTheWeights) {
  Pair pair({.name = "a", .weight = 3}, {.name = "b", .weight = 1}, false);
  pair.run_for(100ms);
  const auto before = pair.client.stats(0).tx_bytes, before_b = pair.client.stats(1).tx_bytes;
  for (int i = 0; i < 4000; ++i) {
    pair.client.from_tun(Bytes(i % 3 == 0 ? 60 : 1300, 1));
    if (i % 20 == 0) pair.run_for(1ms);
  }
  const double a = static_cast<double>(pair.client.stats(0).tx_bytes - before);
  const double b = static_cast<double>(pair.client.stats(1).tx_bytes - before_b);
  EXPECT_NEAR(a / b, 3.0, 0.15);
}

// More is read from tun than the links carry, so that a small packet is seen: in the device's
// queue it would wait behind what a bulk flow has there.
TEST(Engine, AGivenUploadIsAnUpperBoundAndSmallPacketsPassWhatWaits) {
  Pair pair({.name = "a", .upload = Rate{2'000'000}}, {.name = "b", .upload = Rate{1'000'000}}, false);
  pair.run_for(8s);  // time to find that the links are alike
  const auto bytes = [&] { return pair.client.stats(0).tx_bytes + pair.client.stats(1).tx_bytes; };
  const auto before = bytes();
  for (int ms = 0; ms < 2000; ++ms) {
    if (pair.client.engine->packet_budget() > 0) pair.client.from_tun(Bytes(1000, 2));  // 8 Mbit/s
    pair.run_for(1ms);
  }
  const double mbit = static_cast<double>(bytes() - before) * 8 / 2e6;
  EXPECT_NEAR(mbit, 3.0, 0.2);
  ASSERT_GT(pair.client.engine->packet_budget(), 0U);
  pair.server.delivered.clear();
  const Bytes small(60, 0x45);
  pair.client.from_tun(small);
  pair.run_for(30ms);
  EXPECT_THAT(pair.server.delivered, testing::Contains(small));
}

TEST(Engine, ASilentlyDeadLineIsLeftWithinAFewRoundTrips) {
  Pair pair;
  pair.run_for(100ms);
  pair.stream(pair.server, 300, 0, true);
  pair.cut[1] = true;
  const TimePoint cut_at = pair.client.now;
  while (pair.server.state(1) != LinkState::kSilent || pair.client.state(1) != LinkState::kSilent) {
    pair.stream(pair.server, 1, 0, true);
    ASSERT_LT(pair.client.now - cut_at, 300ms);
  }
  pair.sent_into_cut = 0;
  pair.stream(pair.server, 500, 1000, true);
  EXPECT_EQ(pair.sent_into_cut, 0U);
  // And is used again when it is back.
  pair.cut[1] = false;
  pair.run_for(300ms);
  EXPECT_EQ(pair.server.state(1), LinkState::kUp);
  EXPECT_EQ(pair.client.state(1), LinkState::kUp);
}

// The gateway of a line is off, and packets of the server still come in by it.
TEST(Engine, AnIdleLineThatLosesOneDirectionIsSilentAtBothEnds) {
  for (const bool towards_server : {true, false}) {
    SCOPED_TRACE(towards_server ? "towards the server" : "towards the client");
    Pair pair;
    pair.run_for(3s);
    pair.in_the_line = [&](Pair::Flying& f) {
      if (f.line == 1 && f.to_server == towards_server) f.bytes.clear();
    };
    pair.run_for(4s);
    EXPECT_EQ(pair.client.state(1), LinkState::kSilent);
    EXPECT_EQ(pair.server.state(1), LinkState::kSilent);
    pair.in_the_line = [](Pair::Flying&) {};
    pair.run_for(2s);
    EXPECT_EQ(pair.client.state(1), LinkState::kUp);
    EXPECT_EQ(pair.server.state(1), LinkState::kUp);
  }
}

TEST(Engine, NothingIsTakenForSilentWhileAllIsWell) {
  Pair pair;
  pair.delay[1] = 80ms;
  pair.run_for(300ms);
  pair.client.events.clear();
  pair.server.events.clear();
  for (int i = 0; i < 20; ++i) {
    pair.stream(pair.server, 200);
    pair.run_for(3s);
  }
  EXPECT_TRUE(pair.client.events.empty());
  EXPECT_TRUE(pair.server.events.empty());
}

TEST(Engine, DeliveryGoesOnWhenALinkDiesWithPacketsInFlight) {
  Pair pair;
  pair.run_for(100ms);
  pair.stream(pair.server, 100, 0, true);
  pair.run_for(100ms);
  pair.client.delivered.clear();
  pair.cut[1] = true;
  pair.stream(pair.server, 400, 0, true);
  pair.run_for(100ms);
  // What was sent into the dead line is lost, nothing else, and in order.
  EXPECT_GT(pair.client.delivered.size(), 300U);
  int last = -1;
  for (const Bytes& b : pair.client.delivered) {
    const int n = std::stoi(std::string(b.begin() + 1, b.end()));
    EXPECT_GT(n, last);
    last = n;
  }
  EXPECT_EQ(last, 399);
}

TEST(Engine, AServerThatRestartsGetsItsLinksBackAtOnce) {
  Pair pair;
  pair.run_for(100ms);
  pair.stream(pair.client, 50, 0, true);
  Rig reborn(engine_config(Role::kServer, 3));
  reborn.now = pair.client.now;
  reborn.engine.reset();
  reborn.engine = std::make_unique<Engine>(
      reborn.now, engine_config(Role::kServer, 3),
      SecretKey::from_password({reinterpret_cast<const std::uint8_t*>(kPassword), std::strlen(kPassword)}));
  for (const char* name : {"ovh", "orange"}) reborn.engine->add_link(reborn.now, {.name = name});
  std::swap(pair.server.engine, reborn.engine);
  pair.server.delivered.clear();
  pair.stream(pair.client, 400);
  EXPECT_EQ(pair.client.state(0), LinkState::kUp);
  EXPECT_EQ(pair.server.state(0), LinkState::kUp);
  EXPECT_GT(pair.server.delivered.size(), 250U);
  EXPECT_GE(
      std::stoi(std::string(pair.server.delivered.back().begin() + 1, pair.server.delivered.back().end())),
      388);
}

TEST(Engine, TheKeyChangesAtOneEndAfterTheOtherWithoutALoss) {
  Pair pair;
  pair.run_for(100ms);
  const auto key = [] {
    const std::string p = "the next password";
    return SecretKey::from_password({reinterpret_cast<const std::uint8_t*>(p.data()), p.size()});
  };
  pair.stream(pair.client, 50);
  pair.server.engine->set_key(pair.server.now, key());
  pair.stream(pair.client, 1500, 50);
  pair.client.engine->set_key(pair.client.now, key());
  pair.stream(pair.client, 1500, 1550);
  pair.run_for(100ms);
  EXPECT_EQ(pair.server.delivered.size(), 3050U);
  pair.client.sent.clear();
  pair.client.from_tun(text("x"));
  ASSERT_FALSE(pair.client.sent.empty());
  EXPECT_TRUE(decode(pair.client.sent.at(0).bytes, false, "the next password"));
}

// Until the other end knows the next password, what is sent under it does not open there: that is no packet
// loss.
TEST(Engine, APasswordThatOnlyOneEndHasYetIsNoLoss) {
  for (const bool server_first : {true, false}) {
    Pair pair;
    pair.run_for(20s);
    Rig& first = server_first ? pair.server : pair.client;
    Rig& second = server_first ? pair.client : pair.server;
    const auto expect_no_loss = [&](int seconds) {
      for (int second_of_all = 0; second_of_all < seconds; ++second_of_all) {
        pair.run_for(1s);
        for (const LinkId link : kBoth) {
          EXPECT_EQ(pair.client.stats(link).loss_percent.value_or(0), 0) << server_first << second_of_all;
          EXPECT_EQ(pair.server.stats(link).loss_percent.value_or(0), 0) << server_first << second_of_all;
        }
      }
    };
    first.engine->set_key(first.now, password_only("the next password"));
    expect_no_loss(40);
    second.engine->set_key(second.now, password_only("the next password"));
    expect_no_loss(40);
  }
}

TEST(Engine, AddingAndRemovingALinkLosesNothingOnTheOthers) {
  Pair pair;
  pair.run_for(100ms);
  pair.stream(pair.client, 100);
  pair.client.engine->remove_link(pair.client.now, 1);
  pair.client.collect();
  // Behind it may come what was under way on that link, over the other one.
  EXPECT_TRUE(std::ranges::any_of(pair.client.sent, [](const Sent& s) {
    const auto goodbye = decode(s.bytes);
    return goodbye && goodbye->type == kDisconnect;
  }));
  pair.stream(pair.client, 100, 100);
  pair.client.engine->update_link(pair.client.now, 0, {.name = "ovh", .remote = kServers[0], .weight = 7});
  pair.stream(pair.client, 100, 200);
  pair.run_for(100ms);
  EXPECT_EQ(pair.server.state(1), LinkState::kDown);
  EXPECT_EQ(pair.server.delivered.size(), 300U);
}

TEST(Engine, FallbackLinksCarryOnlyWhenNothingElseDoes) {
  Pair pair({.name = "fibre"}, {.name = "lte", .fallback_only = true});
  pair.run_for(100ms);
  pair.sent_into_cut = 0;
  const auto before = pair.client.stats(1).tx_packets;
  pair.stream(pair.client, 100);
  EXPECT_LE(pair.client.stats(1).tx_packets, before + 3);
  pair.cut[0] = true;
  pair.stream(pair.client, 600, 100);
  pair.run_for(100ms);
  EXPECT_EQ(pair.server.delivered.back(), text("p699"));
}

// ------------------------------------------------- against an upstream server

// The client engine with two links signed on to an upstream-like server.
struct Upstream : Rig {
  PeerFlowState peer[2] = {{.flow = 0x11, .seq = 0}, {.flow = 0x22, .seq = 0}};
  std::uint64_t data_seq = 0;
  Upstream() : Rig(engine_config(Role::kClient)) {
    for (LinkId i : kBoth) {
      engine->add_link(now, {.name = i == 0 ? "ovh" : "orange", .remote = kServers[i]});
    }
    run_for(1ms);
    for (LinkId i : kBoth) receive(i, kServers[i], peer[i].make(kAuthOk, text("OK")));
    run_for(1ms);
    sent.clear();
  }
  // The server's DATA over both links (or one), for `ms` milliseconds.
  void flow(int ms, bool second_line) {
    for (int i = 0; i < ms; ++i) {
      for (LinkId link : kBoth) {
        const Bytes d =
            peer[link].make(kData, text("d"), data_seq++, false, std::exchange(echo[link], 0xffff));
        if (link == 0 || second_line) receive(link, kServers[link], d);
      }
      from_tun(text("ack"));
      if (scanned > sent.size()) scanned = 0;
      for (; scanned < sent.size(); ++scanned)
        echo[sent[scanned].link] = decode(sent[scanned].bytes)->timestamp;
      run_for(1ms);
    }
  }
  std::size_t scanned = 0;  // of `sent`: each timestamp is echoed once
  std::uint16_t echo[2] = {0xffff, 0xffff};
};

TEST(Engine, ADeadLinesLinkIsReHomedOntoALivingLine) {
  Upstream rig;
  rig.flow(1500, true);
  ASSERT_EQ(rig.state(1), LinkState::kUp);
  rig.sent.clear();
  const TimePoint cut_at = rig.now;
  while (rig.state(1) == LinkState::kUp) {
    rig.flow(1, false);
    ASSERT_LT(rig.now - cut_at, 300ms);
  }
  // The server learns link 1's new address from its keepalives; they may get lost.
  rig.flow(300, false);
  int keepalives = 0;
  for (const Sent& s : rig.sent) {
    if (s.link != 1 || s.path != 0) continue;
    const auto p = decode(s.bytes);
    ASSERT_TRUE(p);
    EXPECT_EQ(p->type, kKeepalive);
    EXPECT_EQ(s.to, kServers[1]);
    ++keepalives;
  }
  EXPECT_GE(keepalives, 3);
  EXPECT_EQ(rig.stats(1).path, 0);
  // What the server sends for link 1 now comes by line 0. It says nothing of line 1.
  rig.delivered.clear();
  rig.receive(0, kServers[1], rig.peer[1].make(kData, text("by line 0"), rig.data_seq++));
  rig.flow(100, false);
  EXPECT_THAT(rig.delivered, testing::Contains(text("by line 0")));
  EXPECT_EQ(rig.state(1), LinkState::kSilent);
  // Line 1 is tried by AUTH, and nothing else goes there.
  rig.sent.clear();
  rig.flow(1000, false);
  int auths = 0;
  for (const Sent& s : rig.sent) {
    if (s.path != 1) continue;
    const auto p = decode(s.bytes);
    EXPECT_EQ(p->type, kAuth);
    ++auths;
  }
  EXPECT_GE(auths, 1);
  // An answer to it by the other line is none; one by its own brings the link home.
  rig.receive(0, kServers[1], rig.peer[1].make(kAuthOk, text("OK")));
  EXPECT_EQ(rig.state(1), LinkState::kSilent);
  rig.receive(1, kServers[1], rig.peer[1].make(kAuthOk, text("OK")));
  EXPECT_EQ(rig.state(1), LinkState::kUp);
  EXPECT_EQ(rig.stats(1).path, 1);
}

// Two ends that take each other for upstream programs; the server sends on both links in
// turn, and only what it heard from them tells it where.
TEST(Engine, AServerThatKnowsNothingOfADeadLineReachesTheClientByTheOther) {
  Pair pair({.name = "a", .weight = 1}, {.name = "b", .weight = 1}, false);
  pair.run_for(100ms);
  pair.stream(pair.client, 1500, 0, true);
  pair.cut[1] = true;
  pair.stream(pair.client, 400, 1500, true);
  pair.client.delivered.clear();
  pair.stream(pair.client, 1000, 2000, true);
  EXPECT_GE(pair.client.delivered.size(), 990U);
  pair.cut[1] = false;
  pair.stream(pair.client, 1500, 3000, true);
  EXPECT_EQ(pair.client.state(1), LinkState::kUp);
  EXPECT_EQ(pair.server.state(1), LinkState::kUp);
  EXPECT_EQ(pair.client.stats(1).path, 1);
}

// An upload that is all on the dead line: the server has nothing to send, on neither link.
// It says AUTH_OK at once, and a keepalive each second.
struct OneFlow : Upstream {
  // A packet each 10 ms for that long, or until the link is not up; no answer comes for `dead`.
  // Returns the AUTHs.
  int upload(Duration duration, std::optional<LinkId> dead = {}) {
    int auths = 0;
    for (const TimePoint end = now + duration; now < end && (!dead || state(*dead) == LinkState::kUp);) {
      from_tun(text("up"));
      run_for(10ms);
      for (LinkId i : kBoth) {
        for (const PeerPacket& p : take_sent(i)) {
          if (p.type == kData) carrier = i;
          last[i] = p.timestamp;
          if (p.type != kAuth) continue;
          ++auths;
          if (i != dead) receive(i, kServers[i], peer[i].make(kAuthOk, text("OK"), 0, false, p.timestamp));
        }
      }
      if (now < next_keepalive) continue;
      next_keepalive = now + 1s;
      for (LinkId i : kBoth)
        if (i != dead)
          receive(i, kServers[i], peer[i].make(kKeepalive, {}, 0, false, std::exchange(last[i], 0xffff)));
    }
    return auths;
  }
  LinkId carrier = 0;
  std::uint16_t last[2] = {0xffff, 0xffff};
  TimePoint next_keepalive = now;
};

TEST(Engine, ADeadLineIsFoundThoughNothingComesByTheOthers) {
  OneFlow rig;
  rig.upload(15s);  // after the trains, around which it goes over the other
  const TimePoint cut_at = rig.now;
  rig.upload(5s, rig.carrier);
  EXPECT_EQ(rig.state(rig.carrier), LinkState::kSilent);
  EXPECT_LT(rig.now - cut_at, 1s);
}

TEST(Engine, AnOriginalServerIsSeldomAskedInVain) {  // it runs a script for each AUTH
  OneFlow rig;
  rig.upload(3s);
  EXPECT_LE(rig.upload(60s), 3);
}

// Our AUTH arrives and moves the server back each time; it is said less and less often.
TEST(Engine, ALineThatOnlyCarriesUpwardsCostsLittleOfTheOther) {
  Pair pair({.name = "a", .weight = 1}, {.name = "b", .weight = 1}, false);
  pair.run_for(100ms);
  pair.stream(pair.client, 1500, 0, true);
  pair.mute[1] = true;
  pair.stream(pair.client, 10'000, 1500, true);
  pair.client.delivered.clear();
  pair.stream(pair.client, 10'000, 20'000, true);
  EXPECT_GE(pair.client.delivered.size(), 9600U);
  pair.mute[1] = false;
  pair.stream(pair.client, 6000, 40'000, true);
  EXPECT_EQ(pair.client.state(1), LinkState::kUp);
}

TEST(Engine, AnUpstreamServerThatPrefersOneLinkIsNotTakenForDeadAgainAndAgain) {
  Upstream rig;
  int ups = 0;
  for (int second = 0; second < 20; ++second) {
    rig.flow(200, true);  // both links
    rig.events.clear();
    rig.flow(800, false);  // one, the other is only kept alive
    if (rig.state(1) == LinkState::kStarting) {
      rig.receive(1, kServers[1], rig.peer[1].make(kAuthOk, text("OK")));
      ++ups;
    }
    rig.receive(1, kServers[1], rig.peer[1].make(kKeepalive));
  }
  EXPECT_LE(ups, 4);
}

TEST(Engine, WhatWaitsBehindAHoleSurvivesTheRound) {
  Upstream rig;
  rig.receive(0, kServers[0], rig.peer[0].make(kData, text("a"), 0));
  rig.receive(0, kServers[0], rig.peer[0].make(kData, text("c"), 2));
  rig.receive(1, kServers[1], rig.peer[1].make(kData, text("b"), 1));
  EXPECT_THAT(rig.delivered, testing::ElementsAre(text("a"), text("b"), text("c")));
}

TEST(Engine, AnUpstreamServersQuietLinkIsNotTakenForDead) {
  Upstream rig;
  // It uses link 0 alone (link 1 is its fallback) and answers keepalives once in 2 s.
  for (int second = 0; second < 20; ++second) {
    for (int i = 0; i < 100; ++i) {
      rig.receive(0, kServers[0], rig.peer[0].make(kData, text("d"), rig.data_seq++));
      rig.run_for(10ms);
    }
    rig.receive(0, kServers[0], rig.peer[0].make(kKeepalive));
    if (second % 2 == 0) rig.receive(1, kServers[1], rig.peer[1].make(kKeepalive));
  }
  EXPECT_EQ(rig.state(1), LinkState::kUp);
}

TEST(Engine, ASteppingWallClockChangesNothing) {
  // The wall clock enters once, as the base of the sequence numbers. Whatever
  // it was, an hour of running is an hour.
  EngineConfig config = engine_config(Role::kClient);
  config.wall_clock_us = 0;
  Rig rig(config);
  rig.engine->add_link(rig.now, {.name = "ovh", .remote = kServers[0]});
  PeerFlowState peer;
  rig.run_for(1ms);
  rig.receive(0, kServers[0], peer.make(kAuthOk, text("OK")));
  for (int i = 0; i < 3600; ++i) {
    rig.receive(0, kServers[0], peer.make(kKeepalive));
    rig.run_for(1s);
  }
  EXPECT_EQ(rig.stats(0).disconnects, 0U);
}

// The pool is empty just when a link's session ends: what was to leave by it must not keep
// the other link from sending.
TEST(Engine, ALinkThatEndsWhileThePoolIsEmptyHoldsUpNoOther) {
  for (const LinkId ending : kBoth) {
    Pair pair;
    pair.run_for(100ms);
    pair.stream(pair.server, 50);
    pair.run_for(100ms);
    BufferPool& pool = pair.server.engine->pool();
    auto last = pool.take();
    last->size = 100;
    std::fill_n(last->data, last->size, std::uint8_t{0x45});
    std::vector<PacketRef> taken;
    while (const auto buffer = pool.take()) taken.push_back(*buffer);
    pair.server.engine->handle_packets(pair.server.now, {&*last, 1});
    pair.server.collect();
    pair.client.engine->remove_link(pair.client.now, ending);
    pair.run_for(50ms);
    EXPECT_EQ(pair.server.state(ending), LinkState::kDown);
    pair.server.engine->recycle(taken);
    pair.client.delivered.clear();
    pair.stream(pair.server, 50);
    pair.run_for(100ms);
    EXPECT_EQ(pair.client.delivered.size(), 51U) << ending;
  }
}

TEST(Engine, TheSameSeedGivesTheSameBytes) {
  const auto run = [] {
    Pair pair;
    pair.run_for(100ms);
    pair.client.from_tun(text("x"));
    return pair.client.sent.at(0).bytes;
  };
  EXPECT_EQ(run(), run());
}

TEST(Engine, ABlockedSocketHoldsItsPacketsInTheQueueNotTheOthers) {
  Pair pair;
  pair.run_for(100ms);
  pair.client.engine->path_blocked(pair.client.now, 0);
  pair.client.engine->path_blocked(pair.client.now, 1);
  for (int i = 0; i < 20; ++i) pair.client.from_tun(text("p" + std::to_string(i)));
  EXPECT_TRUE(pair.client.sent.empty());
  EXPECT_EQ(pair.client.engine->stats().ingress_queued, 20U);
  pair.client.engine->path_writable(pair.client.now, 1);
  pair.client.collect();
  for (const Sent& s : pair.client.sent) EXPECT_EQ(s.path, 1);
  EXPECT_EQ(pair.client.sent.size(), 20U);
}

TEST(Engine, ABurstHasEqualSizesAndAShorterLast) {
  Pair pair({.name = "a", .weight = 1}, {.name = "b", .weight = 1}, false);
  pair.run_for(100ms);
  Rig& rig = pair.client;
  std::vector<PacketRef> packets;
  for (const std::size_t size : {1300, 1300, 1300, 700, 1300, 1300, 1400, 20}) {
    auto p = rig.engine->pool().take();
    p->size = static_cast<std::uint32_t>(size);
    std::fill_n(p->data, size, std::uint8_t{7});
    packets.push_back(*p);
  }
  rig.engine->handle_packets(rig.now, packets);
  std::vector<std::vector<std::uint32_t>> bursts;
  Transmit t;
  while (rig.engine->poll_transmit(rig.now, t)) {
    bursts.emplace_back();
    for (const auto& p : t.packets) bursts.back().push_back(p.size - 44);
    rig.engine->recycle(t.packets);
  }
  EXPECT_THAT(bursts, testing::ElementsAre(testing::ElementsAre(1300, 1300, 1300, 700),
                                           testing::ElementsAre(1300, 1300), testing::ElementsAre(1400, 20)));
}

TEST(Engine, ReturnsEveryBufferToThePool) {
  Pair pair;
  pair.run_for(100ms);
  const auto free = pair.client.engine->pool().free_buffers();
  const auto server_free = pair.server.engine->pool().free_buffers();
  pair.delay[1] = 40ms;
  pair.stream(pair.client, 300, 0, true);
  pair.cut[1] = true;
  pair.stream(pair.client, 300, 0, true);
  pair.run_for(2s);
  EXPECT_EQ(pair.client.engine->pool().free_buffers(), free);
  EXPECT_EQ(pair.server.engine->pool().free_buffers(), server_free);
}

}  // namespace
}  // namespace bondd::mlvpn

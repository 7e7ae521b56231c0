// Session keys of two engines: how they come, follow each other and go.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/support/session_pair.h"

namespace bondd::mlvpn {
namespace {

using namespace test;

TEST(Session, IsThereAfterARoundTripAndAHalf) {
  SessionPair bond;
  bond.run_for(25ms);
  for (const LinkId link : kBoth) EXPECT_EQ(bond.client.stats(link).protection, Protection::kSession);
  bond.run_for(10ms);
  bond.expect_sessions("35 ms");
  EXPECT_LT(bond.server.stats(0).key_age, 2s);
  EXPECT_NEAR(bond.client.stats(0).rtt_ms.value_or(0), 20, 3);
}

TEST(Session, OnlyTheHandshakeGoesUnderThePassword) {
  SessionPair bond;
  std::map<int, int> types;
  int others = 0;
  bond.in_the_line = [&](Pair::Flying& f) {
    if (const auto packet = decode(f.bytes)) {
      ++types[packet->type];
    } else {
      ++others;
      EXPECT_GE(f.bytes.size(), 44U);
    }
  };
  bond.run_for(500ms);
  bond.stream(bond.client, 200, 0, true);
  EXPECT_GT(others, 400);
  EXPECT_EQ(types[kAuth], 2);
  EXPECT_EQ(types[kAuthOk], 2);
  EXPECT_EQ(types[kDisconnect], 2);  // to an original server that still holds a session of ours
  EXPECT_EQ(types.size(), 3U);
}

// Written from wire.h's text alone, with libsodium's whole secretbox.
TEST(Session, ADatagramIsASecretboxOfHeaderAndText) {
  const std::array<std::uint8_t, 32> key{1, 2, 3};
  for (const bool clear : {false, true}) {
    Bytes datagram(44 + 5);
    std::copy_n("hello", 5, datagram.begin() + 44);
    Header header;
    header.type = 3;
    header.unused = 1;
    header.timestamp = 0x0102;
    header.timestamp_reply = 0x0304;
    header.data_seq = 0x05060708090a0b0c;
    render_inner_header(header, datagram.data());
    BoxJob job{datagram.data() + kSessionBox, 14 + 5, 0x11121314, 0x2122232425262728, false, clear};
    SecretBox(SecretKey::from_bytes(key)).seal({&job, 1});
    render_session_front({0x11121314, 0x2122232425262728, clear}, datagram.size(), datagram.data());

    EXPECT_EQ(Bytes(datagram.begin(), datagram.begin() + 2),
              (Bytes{static_cast<std::uint8_t>(clear ? 0x80 : 0), 21}));
    EXPECT_EQ(Bytes(datagram.begin() + 8, datagram.begin() + 20),
              (Bytes{0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28}));
    Bytes box(datagram.begin() + 2, datagram.begin() + 8);
    box.insert(box.end(), datagram.begin() + 20, datagram.end());
    std::array<std::uint8_t, 24> nonce{0x28, 0x27, 0x26, 0x25, 0x24, 0x23,
                                       0x22, 0x21, 0x14, 0x13, 0x12, 0x11};
    Bytes text(box.size() - 16);
    const Bytes inner{0x31, 0x0c, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 'h', 'e', 'l', 'l', 'o'};
    if (!clear) {
      ASSERT_EQ(crypto_secretbox_open_easy(text.data(), box.data(), box.size(), nonce.data(), key.data()), 0);
    } else {  // the one-time key of another nonce, over what stands there
      for (std::size_t i = 8; i < 12; ++i) nonce[i] = static_cast<std::uint8_t>(~nonce[i]);
      std::array<std::uint8_t, 32> once;
      crypto_stream(once.data(), once.size(), nonce.data(), key.data());
      text.assign(box.begin() + 16, box.end());
      EXPECT_EQ(crypto_onetimeauth_verify(box.data(), text.data(), text.size(), once.data()), 0);
    }
    EXPECT_EQ(text, inner);

    const auto front = parse_session_front(datagram);
    ASSERT_TRUE(front);
    EXPECT_EQ(front->clear, clear);
    gather_session_mac(datagram.data());
    job.ok = false;
    SecretBox(SecretKey::from_bytes(key)).open({&job, 1});
    EXPECT_TRUE(job.ok);
    Header read;
    parse_inner_header(datagram.data(), read);
    EXPECT_EQ(read, header);
  }
}

TEST(Session, AsManyBytesAsWithout) {
  for (const bool sessions : {false, true}) {
    const auto secrets = [&] { return sessions ? with_sessions() : password_only(); };
    Pair bond(engine_config(Role::kClient, 1), engine_config(Role::kServer, 2), secrets(), secrets());
    bond.run_for(100ms);
    std::size_t longest = 0;
    bond.in_the_line = [&](Pair::Flying& f) { longest = std::max(longest, f.bytes.size()); };
    bond.client.from_tun(Bytes(1400, 1));
    bond.run_for(50ms);
    EXPECT_EQ(longest, 1444U);
  }
}

TEST(Session, NewKeysComeEachTwoMinutesAndLoseNothing) {
  SessionPair bond;
  bond.run_for(1s);
  std::size_t sent = 0;
  for (int second = 0; second < 250; ++second) {
    // Full rate around the changes, else now and then.
    const bool dense = second % 120 > 115 || second % 120 < 5;
    for (int i = 0; i < (dense ? 500 : 10); ++i, ++sent) {
      bond.client.from_tun(text("u" + std::to_string(sent)));
      bond.server.from_tun(text("d" + std::to_string(sent)));
      bond.run_for(dense ? 2ms : 100ms);
    }
    for (const LinkId link : kBoth) {
      EXPECT_LT(bond.client.stats(link).key_age, 122s);
      EXPECT_LT(bond.server.stats(link).key_age, 122s);
    }
  }
  bond.run_for(200ms);
  EXPECT_EQ(bond.server.delivered.size(), sent);
  EXPECT_EQ(bond.client.delivered.size(), sent);
  for (std::size_t i = 0; i < sent; ++i) EXPECT_EQ(bond.server.delivered[i], text("u" + std::to_string(i)));
  for (Rig* rig : {&bond.client, &bond.server}) {
    EXPECT_EQ(rig->engine->stats().bad_mac, 0U);
    EXPECT_EQ(rig->engine->stats().replayed, 0U);
    for (const LinkId link : kBoth) {
      EXPECT_EQ(rig->stats(link).disconnects, 0U);
      EXPECT_EQ(rig->stats(link).loss_percent.value_or(0), 0);
      EXPECT_EQ(rig->stats(link).repaired, 0U);
    }
  }
}

// On recorded lines (UMTS, EV-DO) packets stood in queues for 10.6 s.
TEST(Session, NewKeysComeOverALineWithALongQueue) {
  SessionPair bond;
  bond.run_for(110s);
  bond.delay[0] = bond.delay[1] = 6s;
  for (int i = 0; i < 160; ++i) {
    bond.client.from_tun(text("u"));
    bond.server.from_tun(text("d"));
    bond.run_for(1s);
  }
  for (Rig* rig : {&bond.client, &bond.server}) {
    for (const LinkId link : kBoth) {
      EXPECT_LT(rig->stats(link).key_age, 140s);  // 120 s, and a round trip
      EXPECT_EQ(rig->stats(link).disconnects, 0U);
    }
  }
}

TEST(Session, FormerKeysOpenForTenSecondsMore) {
  for (const auto& [late, taken] : {std::pair{8s, true}, std::pair{12s, false}}) {
    SessionPair bond;
    bond.run_for(110s);
    std::vector<Pair::Flying> held;
    bond.in_the_line = [&](Pair::Flying& f) {
      if (f.to_server && f.line == 0 && held.empty() && f.bytes.size() > 100) held.push_back(f);
    };
    bond.client.from_tun(Bytes(200, 'x'));
    bond.client.from_tun(Bytes(200, 'y'));
    bond.run_for(1ms);
    ASSERT_FALSE(held.empty());
    bond.in_the_line = [](Pair::Flying&) {};
    while (*bond.server.stats(0).key_age > 1s) bond.run_for(50ms);
    bond.run_for(late);
    const auto before = bond.server.engine->stats();
    bond.server.receive(0, kClients[0], held[0].bytes);
    const auto after = bond.server.engine->stats();
    // It came before, too: what opens is known for a replay, what does not counts otherwise.
    EXPECT_EQ(after.replayed - before.replayed, taken ? 1U : 0U);
    EXPECT_EQ(after.bad_mac - before.bad_mac, taken ? 0U : 1U);
  }
}

TEST(Session, NoKeyIsUsedForMoreThanThreeMinutes) {
  SessionPair bond;
  bond.run_for(1s);
  // Whatever could bring new keys is lost.
  bond.in_the_line = [](Pair::Flying& f) {
    if (decode(f.bytes)) f.bytes.clear();
  };
  for (int i = 0; i < 178; ++i) {
    bond.client.from_tun(text("x"));
    bond.run_for(1s);
  }
  EXPECT_EQ(bond.client.state(0), LinkState::kUp);
  bond.run_for(5s);
  for (Rig* rig : {&bond.client, &bond.server}) {
    for (const LinkId link : kBoth) {
      EXPECT_NE(rig->state(link), LinkState::kUp);
      EXPECT_THAT(rig->stats(link).reason, testing::HasSubstr("180 s"));
    }
    EXPECT_TRUE(SessionInspector::keys(*rig->engine).empty());
  }
  bond.in_the_line = [](Pair::Flying&) {};
  bond.run_for(2s);
  bond.expect_sessions("handshakes pass again");
}

TEST(Session, AServerThatRestartedIsFoundBySilence) {
  SessionPair bond;
  bond.run_for(100ms);
  bond.stream(bond.client, 50, 0, true);
  bond.restart(Role::kServer, 3);
  bond.server.delivered.clear();
  bond.stream(bond.client, 600);
  bond.run_for(100ms);
  bond.expect_sessions("after 600 ms");
  EXPECT_EQ(bond.client.stats(0).disconnects, 0U);
}

TEST(Session, ALinkLearnsFromAnotherThatTheServerRestarted) {
  SessionPair bond;
  bond.run_for(100ms);
  bond.stream(bond.client, 50, 0, true);
  bond.restart(Role::kServer, 3);
  bond.cut[1] = true;
  bond.stream(bond.client, 800);
  EXPECT_EQ(bond.server.stats(0).protection, Protection::kSession);
  bond.cut[1] = false;
  bond.stream(bond.client, 300);
  bond.run_for(100ms);
  bond.expect_sessions("400 ms after the line");
}

// Packets from the address that went do not leave, and only answers to handshakes come to the new one
// before the server has heard a packet of the session from there.
TEST(Session, AClientWithANewAddressIsBackAtOnce) {
  SessionPair bond;
  bond.own = endpoint("192.168.1.2", 1).address;
  bond.run_for(5s);
  bond.expect_sessions("before");
  bond.own = endpoint("192.168.1.7", 1).address;
  std::array<bool, 2> heard{};
  bond.in_the_line = [&](Pair::Flying& f) {
    if (decode(f.bytes)) return;
    if (f.to_server) heard[f.line] = true;
    if (!heard[f.line]) f.bytes.clear();
  };
  bond.run_for(3s);
  bond.expect_sessions("3 s after");
  for (const LinkId link : kBoth) EXPECT_EQ(bond.client.stats(link).peer->local, bond.own);
}

TEST(Session, AClientThatRestartedIsBackAtOnce) {
  SessionPair bond;
  bond.run_for(1s);
  bond.restart(Role::kClient, 5);
  bond.run_for(60ms);
  bond.expect_sessions("clock goes on");
  bond.restart(Role::kClient, 0);  // its clock was set back
  bond.run_for(100ms);
  bond.expect_sessions("clock set back");
}

// A machine without a clock chip, one whose battery is empty, one that somebody set by hand.
TEST(Session, AClockThatIsWrongByYearsLocksNobodyOut) {
  constexpr std::uint64_t kYear = 365ULL * 86'400 * 1'000'000;
  const EngineConfig right = engine_config(Role::kClient, 1);
  SessionPair bond;
  std::uint8_t seed = 10;
  for (const std::uint64_t clock :
       {right.wall_clock_us + 10 * kYear, right.wall_clock_us, std::uint64_t{0}}) {
    for (const Role other : {Role::kServer, Role::kClient}) {
      EngineConfig config = engine_config(Role::kClient, ++seed);
      config.wall_clock_us = clock;
      bond.restart(Role::kClient, config);
      bond.run_for(500ms);
      bond.expect_sessions("the client started");
      bond.run_for(130s);
      EXPECT_LT(*bond.server.stats(0).key_age, 20s);
      bond.restart(other, ++seed);
      bond.run_for(2s);
      bond.expect_sessions("an end with the right clock started");
    }
  }
}

TEST(Session, IsUpWithinThreeSecondsOnALineThatLosesAThird) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    SessionPair bond;
    std::mt19937 random(seed);
    bond.in_the_line = [&](Pair::Flying& f) {
      if (random() % 10 < 3) f.bytes.clear();
    };
    bond.run_for(3s);
    for (Rig* rig : {&bond.client, &bond.server}) {
      EXPECT_EQ(rig->stats(0).protection, Protection::kSession) << "seed " << seed;
      EXPECT_EQ(rig->stats(1).protection, Protection::kSession) << "seed " << seed;
    }
  }
}

TEST(Session, IsAgreedOnOverALineWithALongWay) {
  SessionPair bond;
  bond.delay[0] = bond.delay[1] = 900ms;
  bond.run_for(4s);
  for (Rig* rig : {&bond.client, &bond.server}) EXPECT_EQ(rig->stats(0).protection, Protection::kSession);
  bond.run_for(10s);
  EXPECT_GT(*bond.client.stats(0).key_age, 9s);  // one handshake, not one for each second
}

TEST(Session, ThePasswordChangesAtOneEndAfterTheOther) {
  SessionPair bond;
  bond.run_for(100ms);
  bond.server.engine->set_key(bond.server.now, with_sessions("the next password"));
  bond.run_for(5s);
  bond.expect_sessions("one end changed");
  bond.restart(Role::kClient, 5);  // with the former one
  bond.run_for(2s);
  bond.expect_sessions("a client with the former password");
  bond.client.engine->set_key(bond.client.now, with_sessions("the next password"));
  bond.run_for(130s);
  bond.expect_sessions("both changed");
  bond.restart(Role::kClient, 6, with_sessions("the next password"));
  bond.run_for(1s);
  bond.expect_sessions("a client with the new password");
}

TEST(Session, ClearDataCanBeReadAndNotChanged) {
  EngineConfig a = engine_config(Role::kClient, 1), b = engine_config(Role::kServer, 2);
  a.clear_data = b.clear_data = true;
  SessionPair bond(a, b);
  bond.run_for(100ms);
  const Bytes secret(300, 'z');
  int changed = 0;
  bond.in_the_line = [&](Pair::Flying& f) {
    if (!f.to_server || f.bytes.size() < 300) return;
    ASSERT_EQ(f.bytes.size(), 344U);
    EXPECT_TRUE(std::equal(secret.begin(), secret.end(), f.bytes.begin() + 44));
    // A copy that comes first, with one bit different: of the text, of the length's bits.
    for (const std::size_t at : {std::size_t{200}, std::size_t{0}, std::size_t{35}}) {
      Bytes copy = f.bytes;
      copy[at] ^= 0x80;
      bond.server.receive(f.port, kClients[f.line], copy);
      ++changed;
    }
  };
  const auto before = bond.server.engine->stats().bad_mac;
  for (int i = 0; i < 10; ++i) bond.client.from_tun(secret);
  bond.run_for(50ms);
  EXPECT_GE(changed, 30);
  EXPECT_EQ(bond.server.engine->stats().bad_mac - before, static_cast<unsigned>(changed));
  EXPECT_EQ(bond.server.delivered.size(), 10U);
}

// No end has the other one's traffic in clear that its own file wants sealed.
TEST(Session, DataIsEncipheredWhenOneEndAsksForIt) {
  for (const Role clear : {Role::kClient, Role::kServer}) {
    EngineConfig a = engine_config(Role::kClient, 1), b = engine_config(Role::kServer, 2);
    a.clear_data = clear == Role::kClient;
    b.clear_data = !a.clear_data;
    SessionPair bond(a, b);
    bond.run_for(100ms);
    bond.expect_sessions("one end in clear");
    const Bytes secret(300, 'z');
    int carried = 0;
    bond.in_the_line = [&](Pair::Flying& f) {
      if (f.bytes.size() < 300) return;
      ++carried;
      EXPECT_EQ(std::ranges::search_n(f.bytes, 8, 'z').size(), 0U);
      EXPECT_EQ(f.bytes[0] & 0x80, 0);
    };
    for (int i = 0; i < 10; ++i) {
      bond.client.from_tun(secret);
      bond.server.from_tun(secret);
    }
    bond.run_for(50ms);
    EXPECT_GE(carried, 20);
    bond.run_for(130s);  // under the next keys, too
    bond.client.from_tun(secret);
    bond.server.from_tun(secret);
    bond.run_for(50ms);
    EXPECT_GE(carried, 22);

    // The one that wants it in clear says so after a restart, the other one no more.
    bond.in_the_line = [](Pair::Flying&) {};
    EngineConfig both = engine_config(a.clear_data ? Role::kServer : Role::kClient, 3);
    both.clear_data = true;
    bond.restart(both.role, both);
    bond.run_for(2s);
    bond.expect_sessions("both in clear");
    int clear_ones = 0;
    bond.in_the_line = [&](Pair::Flying& f) {
      clear_ones += !std::ranges::search_n(f.bytes, 300, 'z').empty();
    };
    bond.client.from_tun(secret);
    bond.server.from_tun(secret);
    bond.run_for(50ms);
    EXPECT_GE(clear_ones, 2);
  }
}

// As an end that makes a mistake would send it: right in all but that.
TEST(Session, ClearDataIsRefusedWhereTheFileWantsItSealed) {
  for (const bool wanted : {false, true}) {
    EngineConfig server = engine_config(Role::kServer, 2);
    server.clear_data = wanted;
    SessionPair bond(engine_config(Role::kClient, 1), server);
    bond.run_for(1s);
    std::optional<SessionFront> front;
    bond.in_the_line = [&](Pair::Flying& f) {
      if (f.line != 0 || !f.to_server) return;
      front = parse_session_front(f.bytes);
      f.bytes.clear();
    };
    while (!front) bond.run_for(10ms);
    bond.in_the_line = [](Pair::Flying&) {};
    Bytes datagram(kOverhead + 5);
    std::copy_n("hello", 5, datagram.end() - 5);
    Header header;
    header.type = kData;
    render_inner_header(header, datagram.data());
    BoxJob job{
        datagram.data() + kSessionBox, kInnerHeaderSize + 5, front->receive_id, front->seq, false, true};
    SessionInspector::keys(*bond.client.engine)[1]->seal({&job, 1});
    render_session_front({front->receive_id, front->seq, true}, datagram.size(), datagram.data());
    const auto before = bond.server.engine->stats().foreign;
    bond.server.delivered.clear();
    bond.server.receive(0, kClients[0], datagram);
    bond.server.collect();
    EXPECT_EQ(bond.server.delivered.size(), wanted ? 1U : 0U);
    EXPECT_EQ(bond.server.engine->stats().foreign - before, wanted ? 0U : 1U);
  }
}

// Both ends start again at any moment, over lines that lose, double and delay what they carry.
TEST(Session, ComesUpAfterAnyOrderOfRestarts) {
  for (unsigned seed = 1; seed <= 30; ++seed) {
    std::mt19937 random(seed);
    SessionPair bond;
    const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
    bond.in_the_line = [&](Pair::Flying& f) {
      if (below(10) == 0) bond.air.emplace(bond.client.now + 1ms * below(2000), f);
      if (below(10) < 3) f.bytes.clear();
    };
    for (std::uint8_t run = 10; run < 30; ++run) {
      bond.restart(below(2) == 0 ? Role::kClient : Role::kServer, run);
      bond.run_for(1ms * below(below(4) == 0 ? 3000 : 50));
    }
    bond.in_the_line = [](Pair::Flying&) {};
    bond.run_for(8s);  // round trips of 2 s were measured
    bond.expect_sessions(("seed " + std::to_string(seed)).c_str());
  }
}

// One of the files has the names of two lines the wrong way round: that was no harm before there were keys.
TEST(Session, NamesTheWrongWayRoundCostTimeOnly) {
  SessionPair bond;
  const auto swap_names = [&] {
    for (const LinkId link : kBoth)
      bond.server.engine->update_link(bond.server.now, link, {.name = link == 0 ? "orange" : "ovh"});
  };
  swap_names();
  bond.run_for(2s);
  EXPECT_THAT(bond.server.stats(0).reason, testing::HasSubstr("calls this line ovh"));
  bond.run_for(5s);
  bond.expect_sessions("both ends started");
  bond.run_for(130s);
  EXPECT_LT(*bond.server.stats(0).key_age, 20s);
  EXPECT_EQ(bond.server.stats(0).disconnects, 0U);
  bond.restart(Role::kClient, 5);
  bond.run_for(1s);
  bond.expect_sessions("another client");
  bond.restart(Role::kServer, 6);
  swap_names();
  bond.run_for(12s);
  bond.expect_sessions("another server");
}

// --- other peers

TEST(Session, EachPairOfNewOldAndOriginalIsUp) {
  enum Kind { kNew, kOld, kOriginal };
  for (const Kind a : {kNew, kOld, kOriginal}) {
    for (const Kind b : {kNew, kOld, kOriginal}) {
      SCOPED_TRACE(testing::Message() << a << " asks " << b);
      const auto config = [](Role role, std::uint8_t seed, Kind kind) {
        EngineConfig c = engine_config(role, seed);
        c.announce = kind != kOriginal;
        return c;
      };
      const auto secrets = [](Kind kind) { return kind == kNew ? with_sessions() : password_only(); };
      Pair bond(config(Role::kClient, 1, a), config(Role::kServer, 2, b), secrets(a), secrets(b));
      bond.own = endpoint("192.168.1.2", 1).address;  // as of a socket without an address
      bond.run_for(1s);
      const bool session = a == kNew && b == kNew;
      for (Rig* rig : {&bond.client, &bond.server}) {
        for (const LinkId link : kBoth) {
          EXPECT_EQ(rig->state(link), LinkState::kUp);
          EXPECT_EQ(rig->stats(link).protection, session ? Protection::kSession : Protection::kPassword);
        }
      }
      bond.stream(bond.client, 100, 0, true);
      bond.run_for(100ms);
      EXPECT_EQ(bond.server.delivered.size(), 100U);
      EXPECT_EQ(bond.client.delivered.size(), 100U);
    }
  }
}

TEST(Session, WhatProvedItselfOnceIsNothingLessLater) {
  for (const bool announce : {true, false}) {
    SessionPair bond;
    bond.run_for(1s);
    bond.restart(Role::kClient, 5, password_only(), announce);
    bond.server.events.clear();
    bond.run_for(40s);
    EXPECT_EQ(bond.server.state(0), LinkState::kDown);
    EXPECT_THAT(bond.server.stats(0).reason, testing::HasSubstr("older bondd, after"));
    EXPECT_TRUE(std::ranges::any_of(bond.server.events,
                                    [](const LinkEvent& e) { return e.kind == EventKind::kDowngrade; }));
    bond.restart(Role::kClient, 6);
    bond.run_for(1s);
    bond.expect_sessions("it is itself again");
    bond.restart(Role::kServer, 7, password_only(), announce);
    bond.run_for(40s);
    EXPECT_NE(bond.client.state(0), LinkState::kUp);
    EXPECT_THAT(bond.client.stats(0).reason, testing::HasSubstr("older bondd, after"));
  }
}

TEST(Session, WhatProvedItselfInAnEarlierRunIsNothingLess) {
  EngineConfig config = engine_config(Role::kServer, 2);
  config.peer_proved = true;
  Pair bond(engine_config(Role::kClient, 1), config, password_only(), with_sessions());
  bond.run_for(10s);
  EXPECT_EQ(bond.server.state(0), LinkState::kDown);
  EXPECT_EQ(bond.server.stats(0).protection, Protection::kNone);
  SessionPair itself(engine_config(Role::kClient, 1), config);
  itself.run_for(1s);
  itself.expect_sessions("it is itself");
}

TEST(Session, TheFileSaysWhoThePeerIs) {
  using Peer = EngineConfig::Peer;
  const auto run = [](Peer kind, bool peer_has_sessions) {
    EngineConfig config = engine_config(Role::kServer, 2);
    config.peer = kind;
    Pair bond(engine_config(Role::kClient, 1), config, peer_has_sessions ? with_sessions() : password_only(),
              with_sessions());
    bond.run_for(1s);
    EXPECT_EQ(bond.client.state(0),
              bond.server.state(0) == LinkState::kUp ? LinkState::kUp : LinkState::kStarting);
    return bond.server.stats(0).protection;
  };
  EXPECT_EQ(run(Peer::kBondd, true), Protection::kSession);
  EXPECT_EQ(run(Peer::kBondd, false), Protection::kNone);
  EXPECT_EQ(run(Peer::kOriginal, true), Protection::kPassword);
  EXPECT_EQ(run(Peer::kOriginal, false), Protection::kPassword);
}

// The secrets of an end whose private key is `own` and that meets the end with `peer`.
Secrets with_pair(std::uint8_t own, std::uint8_t peer) {
  std::array<std::uint8_t, 32> key{8, own}, other{8, peer};  // three bits of the first byte are not used
  Secrets secrets = with_sessions();
  secrets.pair.emplace(KeyPair{NoiseKey(key), noise_public(other)});
  return secrets;
}

TEST(SessionKeyPair, TwoEndsThatKnowEachOtherHaveSessions) {
  SessionPair bond;
  bond.restart(Role::kClient, engine_config(Role::kClient, 3), with_pair(1, 2));
  bond.restart(Role::kServer, engine_config(Role::kServer, 4), with_pair(2, 1));
  bond.run_for(500ms);
  bond.expect_sessions("at the start");
  bond.run_for(130s);
  bond.expect_sessions("with the next keys");
  EXPECT_LT(*bond.server.stats(0).key_age, 20s);
  bond.client.engine->set_key(bond.client.now, with_sessions("the next password"));
  bond.run_for(1s);
  bond.server.engine->set_key(bond.server.now, with_sessions("the next password"));
  bond.run_for(130s);
  bond.expect_sessions("with the next password");
}

// The end that has the key pair finds no session with anybody else who has the password, and says what is
// wrong.
TEST(SessionKeyPair, ThePasswordAloneIsNotEnough) {
  using testing::HasSubstr;
  // Knows whom it meets, and is somebody else.
  const auto wrong = [](Role role) { return with_pair(3, role == Role::kClient ? 2 : 1); };
  for (const bool any_key : {false, true}) {
    SessionPair bond;
    EngineConfig config = engine_config(Role::kServer, 4);
    config.peer = EngineConfig::Peer::kBondd;
    bond.restart(Role::kServer, config, with_pair(2, 1));
    if (any_key) bond.restart(Role::kClient, engine_config(Role::kClient, 3), wrong(Role::kClient));
    bond.run_for(20s);
    for (const LinkId link : kBoth) {
      EXPECT_EQ(bond.server.state(link), LinkState::kDown);
      EXPECT_NE(bond.client.state(link), LinkState::kUp);
    }
    EXPECT_THAT(bond.server.stats(0).reason,
                HasSubstr(any_key ? "not the key that key_file says" : "has no key_file"));
    EXPECT_TRUE(std::ranges::any_of(bond.server.events,
                                    [](const LinkEvent& e) { return e.kind == EventKind::kDowngrade; }));

    bond.restart(Role::kServer, engine_config(Role::kServer, 5),
                 any_key ? wrong(Role::kServer) : with_sessions());
    config = engine_config(Role::kClient, 6);
    config.peer = EngineConfig::Peer::kBondd;
    bond.restart(Role::kClient, config, with_pair(1, 2));
    bond.run_for(20s);
    for (const LinkId link : kBoth) EXPECT_NE(bond.client.state(link), LinkState::kUp);
  }
}

// A bondd that announces itself to one whose file says "mlvpn" gets no answer to that, so neither end may use
// what only two bondd know.
TEST(Session, ABonddThatIsCalledTheOriginalProgramIsServedAsOne) {
  for (const Role role : {Role::kClient, Role::kServer}) {
    EngineConfig client = engine_config(Role::kClient, 1), server = engine_config(Role::kServer, 2);
    (role == Role::kClient ? client : server).peer = EngineConfig::Peer::kOriginal;
    Pair bond(client, server, with_sessions(), with_sessions());
    constexpr int kNewest = kDisconnect, kTrain = static_cast<int>(PacketType::kPadding);
    bond.in_the_line = [&](Pair::Flying& f) {
      const auto packet = decode(f.bytes);
      ASSERT_TRUE(packet);
      EXPECT_TRUE(packet->type <= kNewest || packet->type == kTrain) << packet->type;
    };
    bond.run_for(1s);
    bond.stream(bond.client, 2000);
    bond.stream(bond.server, 2000);
    for (Rig* rig : {&bond.client, &bond.server}) {
      EXPECT_FALSE(rig->stats(0).peer_is_bondd);
      EXPECT_EQ(rig->stats(0).protection, Protection::kPassword);
      EXPECT_EQ(rig->stats(0).disconnects, 0U);
    }
    bond.expect_carried("at the end");
  }
}

}  // namespace
}  // namespace bondd::mlvpn

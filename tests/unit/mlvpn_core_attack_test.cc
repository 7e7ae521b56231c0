// Somebody who holds or hears one line: what it carries may be read, kept, changed, sent again
// and sent elsewhere. The key is unknown, the header is not authenticated.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/support/engine_pair.h"

namespace bondd::mlvpn {
namespace {

using namespace test;

const Endpoint kAttacker = endpoint("192.0.2.66", 666);

Bytes retyped(Bytes datagram, int type) {
  datagram[2] = static_cast<std::uint8_t>((datagram[2] & 15) | (type & 15) << 4);
  datagram[3] = static_cast<std::uint8_t>((datagram[3] & ~3) | type >> 4);
  return datagram;
}

Bytes renumbered(Bytes datagram, std::uint64_t data_seq) {
  for (int i = 0; i < 8; ++i)
    datagram[20 + static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(data_seq >> (56 - 8 * i));
  return datagram;
}

struct Tapped : Pair {
  std::vector<Flying> tape;
  explicit Tapped(bool announce = true) : Pair({.name = "ovh"}, {.name = "orange"}, announce) {
    in_the_line = [this](Flying& f) { tape.push_back(f); };
    run_for(3s);
  }
  // The newest packet of that type that line `line` carried to the server.
  const Bytes& newest(LinkId line, int type) {
    for (auto f = tape.rbegin(); f != tape.rend(); ++f) {
      if (f->to_server && f->line == line && decode(f->bytes)->type == type) return f->bytes;
    }
    throw std::runtime_error("no such packet");
  }
  void expect_all_well(const char* when) {
    for (const LinkId link : kBoth) {
      EXPECT_EQ(client.state(link), LinkState::kUp) << when;
      EXPECT_EQ(server.state(link), LinkState::kUp) << when;
      EXPECT_EQ(server.stats(link).peer, kClients[link]) << when;
      EXPECT_TRUE(server.stats(link).peer_is_bondd) << when;
      EXPECT_EQ(server.stats(link).disconnects, 0U) << when;
    }
    expect_carried(when);
  }
  void restart(Role role, std::uint8_t seed) {
    Rig& rig = role == Role::kClient ? client : server;
    rig.engine = std::make_unique<Engine>(
        rig.now, engine_config(role, seed),
        SecretKey::from_password({reinterpret_cast<const std::uint8_t*>(kPassword), std::strlen(kPassword)}));
    for (const LinkId i : kBoth) {
      LinkConfig config{.name = i == 0 ? "ovh" : "orange"};
      if (role == Role::kClient) config.remote = kServers[i];
      rig.engine->add_link(rig.now, config);
    }
  }
};

TEST(Attack, APacketOfOneLineSaysNothingOnAnother) {
  for (const bool announce : {true, false}) {
    Tapped bond(announce);
    for (const LinkId line : kBoth) {
      for (const int type : {kAuth, kAuthOk, kDisconnect, kData, kKeepalive}) {
        bond.server.receive(1 - line, kAttacker, retyped(bond.newest(line, kKeepalive), type));
        bond.server.receive(1 - line, kAttacker, retyped(bond.newest(line, kAuth), type));
      }
    }
    for (const LinkId link : kBoth) {
      EXPECT_EQ(bond.server.state(link), LinkState::kUp);
      EXPECT_EQ(bond.server.stats(link).peer, kClients[link]);
    }
    bond.expect_carried(announce ? "bondd" : "original");
  }
}

TEST(Attack, NoPacketPassesForAnotherThatChangesASession) {
  Tapped bond;
  bond.stream(bond.client, 50, 0, true);
  bond.in_the_line = [](Pair::Flying& f) {  // the first of its kind
    const auto packet = decode(f.bytes);
    if (packet->type == kKeepalive || packet->type == 8) f.bytes = retyped(f.bytes, kDisconnect);
  };
  bond.run_for(1500ms);
  bond.in_the_line = [n = 0](Pair::Flying& f) mutable {
    if (decode(f.bytes)->type == kData && n++ < 40) f.bytes = retyped(f.bytes, f.to_server ? kAuth : kAuthOk);
  };
  bond.stream(bond.client, 50, 0, true);
  bond.in_the_line = [](Pair::Flying&) {};
  bond.run_for(1s);
  bond.expect_all_well("after retyping");
}

TEST(Attack, ATapeOfAFormerRunOfTheClientOpensNothing) {
  Tapped bond;
  const auto tape = bond.tape;
  const auto play = [&](int type) {
    for (const auto& f : tape) {
      if (f.to_server) bond.server.receive(f.port, kAttacker, type < 0 ? f.bytes : retyped(f.bytes, type));
    }
  };
  // A newer run with its clock set back: nothing but the proof tells it from the tape.
  bond.restart(Role::kClient, 0);
  bond.run_for(1s);
  for (const int type : {-1, static_cast<int>(kAuth), static_cast<int>(kDisconnect)}) {
    play(type);
    bond.run_for(400ms);
    play(type);
  }
  bond.expect_carried("client restarted");
  // The server has forgotten everything: the tape comes first.
  bond.restart(Role::kServer, 9);
  play(-1);
  play(kAuth);
  for (const LinkId link : kBoth) EXPECT_NE(bond.server.stats(link).peer, kAttacker);
  bond.run_for(1s);
  bond.expect_carried("server restarted");
}

TEST(Attack, ARecordingOfTheOriginalProgramTakesNoLinkFromABondd) {
  Tapped bond;
  PeerFlowState former{.flow = 0x4711, .seq = 1000};
  for (int i = 0; i < 50; ++i) {
    bond.server.receive(0, kAttacker, former.make(kAuth, text("AU")));
    bond.server.receive(0, kAttacker, former.make(kKeepalive));
    bond.run_for(100ms);
  }
  bond.expect_all_well("after 5 s of it");
}

TEST(Attack, AClientWhoseFlowIsHeldForOverTakesANewOne) {
  Rig rig(engine_config(Role::kClient));
  rig.engine->add_link(rig.now, {.name = "ovh", .remote = kServers[0]});
  rig.run_for(20s);
  std::set<std::uint32_t> flows;
  for (const auto& packet : rig.take_sent()) flows.insert(packet.flow);
  EXPECT_GE(flows.size(), 2U);
  EXPECT_LE(flows.size(), 4U);
}

TEST(Attack, ForgedNumbersOfDataCostTheOtherLineNothing) {
  Tapped bond;
  int changed = 0;
  bond.in_the_line = [&](Pair::Flying& f) {
    if (f.line != 0 || decode(f.bytes)->type != kData) return;
    f.bytes = renumbered(f.bytes, std::uint64_t(changed % 1024) << 52 | std::uint64_t{1} << 50);
    ++changed;
  };
  bond.stream(bond.client, 2000, 0, true);
  EXPECT_GT(changed, 100);
  bond.in_the_line = [](Pair::Flying&) {};
  bond.run_for(100ms);
  bond.expect_all_well("after renumbering");
}

TEST(Attack, AForgedClearPacketStopsNothing) {
  EngineConfig config = engine_config(Role::kServer);
  config.clear_data = true;
  Rig rig(config);
  rig.clear = true;
  const LinkId link = *rig.engine->add_link(rig.now, {.name = "ovh"});
  PeerFlowState peer;
  rig.receive(link, kClients[0], peer.make(kAuth, text("AU")));
  PeerFlowState forger{.flow = peer.flow, .seq = ~std::uint64_t{0}};
  rig.receive(link, kClients[0], forger.make(kData, text("forged"), 0, true));
  rig.run_for(1s);
  rig.receive(link, kClients[0], peer.make(kKeepalive));
  rig.delivered.clear();
  for (std::uint64_t i = 1; i <= 10; ++i)
    rig.receive(link, kClients[0], peer.make(kData, text("real"), i, true));
  rig.run_for(1s);
  EXPECT_EQ(rig.delivered.size(), 10U);
  EXPECT_EQ(rig.state(link), LinkState::kUp);
}

// A peer of an earlier version of bondd: it announces itself, and proves nothing.
Bytes old_announcement(const char* word, std::uint64_t challenge) {
  Bytes body = text(std::string(word) + "bnd");
  body.push_back(1);
  for (const std::uint64_t value : {std::uint64_t{7}})
    body.insert(body.end(), {0, 0, 0, static_cast<std::uint8_t>(value)});
  body.insert(body.end(), {1, 2, 3, 4, 5, 6, 7, 8});
  for (int i = 56; i >= 0; i -= 8) body.push_back(static_cast<std::uint8_t>(challenge >> i));
  return body;
}

TEST(OldBondd, ItsClientSignsOnAndItsDisconnectIsBelieved) {
  Rig rig(engine_config(Role::kServer));
  const LinkId link = *rig.engine->add_link(rig.now, {.name = "ovh"});
  PeerFlowState peer{.flow = 1, .seq = std::uint64_t{1'800'000'000'000'000} << 8};
  rig.receive(link, kClients[0], peer.make(kDisconnect));
  rig.receive(link, kClients[0], peer.make(kAuth, old_announcement("AU", 42)));
  EXPECT_EQ(rig.state(link), LinkState::kUp);
  EXPECT_TRUE(rig.stats(link).peer_is_bondd);
  EXPECT_EQ(rig.take_sent().back().text.size(), 26U);
  rig.receive(link, kClients[0], peer.make(kDisconnect));
  EXPECT_EQ(rig.state(link), LinkState::kDown);
}

TEST(OldBondd, ItsServerIsAnsweredAndLeftInItsWords) {
  Rig rig(engine_config(Role::kClient));
  const LinkId link = *rig.engine->add_link(rig.now, {.name = "ovh", .remote = kServers[0]});
  rig.run_for(1ms);
  const Bytes said = rig.take_sent().back().text;
  std::uint64_t challenge = 0;
  for (std::size_t i = 18; i < 26; ++i) challenge = challenge << 8 | said.at(i);
  PeerFlowState peer{.flow = 1, .seq = std::uint64_t{1'800'000'000'000'000} << 8};
  rig.receive(link, kServers[0], peer.make(kAuthOk, old_announcement("OK", challenge)));
  EXPECT_EQ(rig.state(link), LinkState::kUp);
  EXPECT_TRUE(rig.stats(link).peer_is_bondd);
  rig.take_sent();
  rig.engine->shutdown(rig.now);
  rig.collect();
  const auto last = rig.take_sent().back();
  EXPECT_EQ(last.type, kDisconnect);
  EXPECT_TRUE(last.text.empty());  // it refuses any other
}

}  // namespace
}  // namespace bondd::mlvpn

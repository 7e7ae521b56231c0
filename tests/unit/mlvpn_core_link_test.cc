// Sessions: one engine against the tests' own upstream-like peer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/mlvpn_peer.h"

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;
using namespace test;

const Endpoint kServer = endpoint("203.0.113.10", 1194);
const Endpoint kClient = endpoint("198.51.100.7", 40000);
const Endpoint kElsewhere = endpoint("192.0.2.66", 666);

// A bondd server with one link and an upstream client signed on.
struct ServerRig : Rig {
  PeerFlowState peer;
  LinkId link;
  explicit ServerRig(EngineConfig config = engine_config(Role::kServer)) : Rig(config) {
    link = *engine->add_link(now, {.name = "ovh"});
  }
  void sign_on() {
    receive(link, kClient, peer.make(kAuth, text("AU")));
    run_for(1ms);
  }
};

struct ClientRig : Rig {
  PeerFlowState peer;
  LinkId link;
  explicit ClientRig(EngineConfig config = engine_config(Role::kClient)) : Rig(config) {
    link = *engine->add_link(now, {.name = "ovh", .remote = kServer});
  }
  void sign_on() {
    run_for(1ms);
    receive(link, kServer, peer.make(kAuthOk, text("OK")));
    run_for(1ms);
  }
};

TEST(Link, ClientSaysDisconnectBeforeItsFirstAuth) {
  ClientRig rig;
  rig.run_for(1ms);
  const auto sent = rig.take_sent();
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(sent[0].type, kDisconnect);
  EXPECT_EQ(sent[1].type, kAuth);
  EXPECT_EQ(sent[1].text[0], 'A');
  EXPECT_EQ(sent[1].text[1], 'U');
  EXPECT_EQ(sent[1].seq, sent[0].seq + 1);
}

TEST(Link, ClientComesUpOnAuthOkAndCarriesData) {
  ClientRig rig;
  rig.sign_on();
  EXPECT_EQ(rig.state(rig.link), LinkState::kUp);
  rig.take_sent();
  rig.from_tun(text("hello"));
  const auto sent = rig.take_sent();
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].type, kData);
  EXPECT_EQ(sent[0].text, text("hello"));
  EXPECT_EQ(sent[0].data_seq, 0U);
  rig.receive(rig.link, kServer, rig.peer.make(kData, text("world")));
  EXPECT_THAT(rig.delivered, testing::ElementsAre(text("world")));
}

TEST(Link, ServerAnswersAuthAndSendsToWhereItCameFrom) {
  ServerRig rig;
  rig.sign_on();
  ASSERT_EQ(rig.sent.size(), 1U);
  EXPECT_EQ(rig.sent[0].to, kClient);
  EXPECT_EQ(rig.take_sent()[0].type, kAuthOk);
  EXPECT_EQ(rig.state(rig.link), LinkState::kUp);
}

TEST(Link, SaysKeepaliveEverySecond) {
  ServerRig rig;
  rig.sign_on();
  rig.take_sent();
  for (int i = 0; i < 10; ++i) {
    rig.run_for(1s);
    rig.receive(rig.link, kClient, rig.peer.make(kKeepalive));
  }
  const auto sent = rig.take_sent();
  EXPECT_GE(sent.size(), 9U);
  EXPECT_LE(sent.size(), 11U);
  for (const auto& p : sent) EXPECT_EQ(p.type, kKeepalive);
}

TEST(Link, EchoesATimestampOnceWithItsHoldTime) {
  ServerRig rig;
  rig.sign_on();
  rig.take_sent();
  PeerPacket p{
      .type = kKeepalive, .timestamp = 65000, .flow = rig.peer.flow, .seq = rig.peer.seq++, .text = {}};
  rig.receive(rig.link, kClient, encode(p));
  rig.now += 600ms;
  rig.from_tun(text("a"));
  rig.from_tun(text("b"));
  const auto sent = rig.take_sent();
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(sent[0].timestamp_reply, static_cast<std::uint16_t>(65000 + 600));
  EXPECT_EQ(sent[1].timestamp_reply, 0xffff);
}

TEST(Link, TimesOutAndSignsOnAgain) {
  ClientRig rig;
  rig.sign_on();
  rig.run_for(31s);
  EXPECT_EQ(rig.state(rig.link), LinkState::kStarting);
  EXPECT_EQ(rig.take_sent().back().type, kAuth);
  rig.receive(rig.link, kServer, rig.peer.make(kAuthOk, text("OK")));
  EXPECT_EQ(rig.state(rig.link), LinkState::kUp);
}

TEST(Link, SequenceNumbersStartAtATimeBaseSoThatRestartsNeverReuseOne) {
  ClientRig first(engine_config(Role::kClient, 1)), second(engine_config(Role::kClient, 2));
  first.run_for(1ms);
  second.run_for(1ms);
  const auto a = first.take_sent().back(), b = second.take_sent().front();
  EXPECT_EQ(a.seq >> 8 >> 20, std::uint64_t{1'800'000'001'000'000} >> 20);
  EXPECT_GT(b.seq, a.seq + 1'000'000);
}

TEST(Link, DropsReplayedPackets) {
  ServerRig rig;
  rig.sign_on();
  const Bytes data = rig.peer.make(kData, text("once"));
  for (int i = 0; i < 4; ++i) rig.receive(rig.link, kClient, data);
  rig.receive(rig.link, kClient, std::vector{data, data});
  EXPECT_EQ(rig.delivered.size(), 1U);
  EXPECT_EQ(rig.engine->stats().replayed, 5U);
}

TEST(Link, DropsTheSecondOfTwoCopiesInOneBatch) {
  ServerRig rig;
  rig.sign_on();
  const Bytes data = rig.peer.make(kData, text("once"));
  rig.receive(rig.link, kClient, std::vector{data, data});
  EXPECT_EQ(rig.delivered.size(), 1U);
}

TEST(Link, ARecordedDisconnectTakesNothingDown) {
  ServerRig rig;
  rig.sign_on();
  const Bytes recorded = rig.peer.make(kDisconnect);
  rig.receive(rig.link, kClient, recorded);
  EXPECT_EQ(rig.state(rig.link), LinkState::kDown);
  rig.sign_on();
  EXPECT_EQ(rig.state(rig.link), LinkState::kUp);
  rig.receive(rig.link, kElsewhere, recorded);
  EXPECT_EQ(rig.state(rig.link), LinkState::kUp);
  // One of a former run of the peer, too.
  PeerFlowState former{.flow = 0x99, .seq = 1000};
  rig.receive(rig.link, kElsewhere, former.make(kDisconnect));
  EXPECT_EQ(rig.state(rig.link), LinkState::kUp);
}

TEST(Link, LearnsANewAddressOnlyFromThePacketNewerThanAllBefore) {
  ServerRig rig;
  rig.sign_on();
  const Bytes held_back = rig.peer.make(kKeepalive);
  rig.receive(rig.link, kClient, rig.peer.make(kKeepalive));
  rig.receive(rig.link, kElsewhere, held_back);  // authentic, but older
  rig.take_sent();
  rig.from_tun(text("x"));
  EXPECT_EQ(rig.sent.at(0).to, kClient);
  const Endpoint rebound = endpoint("198.51.100.7", 40001);
  rig.receive(rig.link, rebound, rig.peer.make(kKeepalive));
  rig.sent.clear();
  rig.from_tun(text("y"));
  EXPECT_EQ(rig.sent.at(0).to, rebound);
}

TEST(Link, ClearDataIsOnlyTakenFromTheAuthenticatedAddressAndFlow) {
  EngineConfig config = engine_config(Role::kServer);
  config.clear_data = true;
  ServerRig rig(config);
  rig.receive(rig.link, kClient, rig.peer.make(kData, text("too early"), 0, true));
  rig.sign_on();
  PeerFlowState forger{.flow = 0x666, .seq = 1 << 20};
  rig.receive(rig.link, kElsewhere, forger.make(kData, text("forged"), 0, true));
  rig.receive(rig.link, kClient, forger.make(kData, text("forged flow"), 0, true));
  PeerFlowState copy = rig.peer;
  rig.receive(rig.link, kElsewhere, copy.make(kData, text("forged address"), 0, true));
  EXPECT_TRUE(rig.delivered.empty());
  rig.receive(rig.link, kClient, rig.peer.make(kData, text("real"), 0, true));
  EXPECT_THAT(rig.delivered, testing::ElementsAre(text("real")));
  rig.take_sent();
  rig.from_tun(text("answer"));
  EXPECT_EQ(rig.sent.at(0).to, kClient);
  EXPECT_EQ(rig.take_sent().at(0).text, text("answer"));
}

TEST(Link, RefusesALengthThatIsNotTheDatagrams) {
  EngineConfig config = engine_config(Role::kServer);
  config.clear_data = true;
  ServerRig rig(config);
  rig.sign_on();
  Bytes lying = rig.peer.make(kData, Bytes(12, 1), 0, true);
  lying[0] = 500 >> 8;
  lying[1] = 500 & 0xff;
  rig.receive(rig.link, kClient, lying);
  EXPECT_TRUE(rig.delivered.empty());
  EXPECT_EQ(rig.engine->stats().malformed, 1U);
}

TEST(Link, DropsItsOwnPacketsWhenTheyAreReflected) {
  ServerRig rig;
  rig.sign_on();
  rig.sent.clear();
  rig.from_tun(text("mine"));
  rig.receive(rig.link, kElsewhere, rig.sent.at(0).bytes);
  EXPECT_TRUE(rig.delivered.empty());
  EXPECT_EQ(rig.engine->stats().foreign, 1U);
}

TEST(Link, ItsOwnDisconnectSentBackEndsNothing) {
  ServerRig rig;
  PeerFlowState bondd{.flow = 1, .seq = std::uint64_t{1'700'000'000'000'000} << 8};
  rig.receive(rig.link, kClient, bondd.make(kKeepalive));  // a session that is not known
  ASSERT_EQ(rig.sent.size(), 1U);
  const Bytes own = rig.sent[0].bytes;
  rig.receive(rig.link, kClient, bondd.make(kAuth, text("AU")));
  ASSERT_EQ(rig.state(rig.link), LinkState::kUp);
  rig.receive(rig.link, kElsewhere, own);
  EXPECT_EQ(rig.state(rig.link), LinkState::kUp);
}

TEST(Link, AnswersDisconnectToASessionItDoesNotKnowButNotOften) {
  ServerRig rig;
  for (int i = 0; i < 20; ++i) {
    rig.receive(rig.link, kClient, rig.peer.make(kData, text("x"), static_cast<std::uint64_t>(i)));
    rig.run_for(100ms);
  }
  const auto sent = rig.take_sent();
  EXPECT_GE(sent.size(), 1U);
  EXPECT_LE(sent.size(), 3U);
  EXPECT_EQ(sent[0].type, kDisconnect);
  EXPECT_TRUE(rig.delivered.empty());
}

TEST(Link, AnUpstreamClientThatRestartsIsServedAtItsNewAddress) {
  ServerRig rig;
  rig.sign_on();
  rig.receive(rig.link, kClient, rig.peer.make(kData, text("old"), 0));
  rig.run_for(1s);
  const Endpoint reborn_at = endpoint("198.51.100.7", 51111);
  PeerFlowState reborn{.flow = 0x77, .seq = 0};
  rig.receive(rig.link, reborn_at, reborn.make(kAuth, text("AU")));
  rig.sent.clear();
  rig.from_tun(text("x"));
  EXPECT_EQ(rig.sent.at(0).to, reborn_at);
  // Its data counts from 0 again and is delivered at once.
  rig.receive(rig.link, reborn_at, reborn.make(kData, text("new"), 0));
  EXPECT_EQ(rig.delivered.back(), text("new"));
  // The former run is over for good.
  rig.receive(rig.link, kClient, rig.peer.make(kKeepalive));
  rig.sent.clear();
  rig.from_tun(text("y"));
  EXPECT_EQ(rig.sent.at(0).to, reborn_at);
}

TEST(Link, ARecordedAuthDoesNotTakeALinkFromALivingPeer) {
  ServerRig rig;
  rig.sign_on();
  PeerFlowState recorded{.flow = 0x1234, .seq = 0};
  const Bytes auth = recorded.make(kAuth, text("AU"));
  for (int i = 0; i < 20; ++i) {
    rig.receive(rig.link, kClient, rig.peer.make(kData, text("live"), static_cast<std::uint64_t>(i)));
    if (i == 5) rig.receive(rig.link, kElsewhere, auth);
    rig.run_for(50ms);
    rig.sent.clear();
    rig.from_tun(text("x"));
    ASSERT_EQ(rig.sent.at(0).to, kClient) << i;
  }
  EXPECT_EQ(rig.delivered.size(), 20U);
}

TEST(Link, AQuietPeerTakesItsLinkBackFromARecordedAuth) {
  ServerRig rig;
  rig.sign_on();
  PeerFlowState recorded{.flow = 0x1234, .seq = 0};
  rig.run_for(900ms);
  rig.receive(rig.link, kElsewhere, recorded.make(kAuth, text("AU")));
  rig.run_for(500ms);
  rig.receive(rig.link, kClient, rig.peer.make(kKeepalive));
  rig.sent.clear();
  rig.from_tun(text("x"));
  EXPECT_EQ(rig.sent.at(0).to, kClient);
}

TEST(Link, AnOlderRunOfABonddPeerIsNeverTaken) {
  ServerRig rig;
  PeerFlowState live{.flow = 1, .seq = std::uint64_t{1'800'000'000'000'000} << 8};
  PeerFlowState older{.flow = 2, .seq = std::uint64_t{1'790'000'000'000'000} << 8};
  rig.receive(rig.link, kClient, live.make(kAuth, text("AU")));
  rig.run_for(3s);  // silent, but not for long enough
  rig.receive(rig.link, kElsewhere, older.make(kAuth, text("AU")));
  rig.sent.clear();
  rig.from_tun(text("x"));
  EXPECT_EQ(rig.sent.at(0).to, kClient);
  PeerFlowState newer{.flow = 3, .seq = std::uint64_t{1'800'000'100'000'000} << 8};
  rig.receive(rig.link, kElsewhere, newer.make(kAuth, text("AU")));
  rig.sent.clear();
  rig.from_tun(text("y"));
  EXPECT_EQ(rig.sent.back().to, kElsewhere);
  rig.receive(rig.link, kClient, live.make(kData, text("retired"), 7));
  EXPECT_TRUE(rig.delivered.empty());
}

TEST(Link, AnAuthMadeIntoADisconnectOnTheWayIsRefused) {
  ServerRig rig;
  rig.sign_on();
  Bytes flipped = rig.peer.make(kData, text("payload"), 3);
  flipped[2] = static_cast<std::uint8_t>((flipped[2] & 15) | kDisconnect << 4);
  rig.receive(rig.link, kClient, flipped);
  EXPECT_EQ(rig.state(rig.link), LinkState::kUp);
}

TEST(Link, AWrongPasswordIsSaidOnceInTenSeconds) {
  ServerRig rig;
  for (int i = 0; i < 50; ++i) {
    PeerPacket p{.type = kAuth, .flow = 9, .seq = static_cast<std::uint64_t>(i), .text = text("AU")};
    rig.receive(rig.link, kClient, encode(p, false, "other-password"));
    rig.run_for(100ms);
  }
  std::size_t said = 0;
  for (const auto& e : rig.events) said += e.kind == EventKind::kWrongPassword;
  EXPECT_EQ(said, 1U);
  EXPECT_TRUE(rig.sent.empty());
  EXPECT_EQ(rig.engine->stats().bad_mac, 50U);
}

TEST(Link, AsksForTheNameToBeLookedUpAgainAndMovesToTheNewAddress) {
  ClientRig rig;
  rig.run_for(6s);
  bool asked = false;
  for (const auto& e : rig.events) asked = asked || e.kind == EventKind::kResolve;
  EXPECT_TRUE(asked);
  const Endpoint moved = endpoint("203.0.113.99", 1194);
  rig.engine->set_remote(rig.now, rig.link, moved);
  rig.sent.clear();
  rig.run_for(1ms);
  ASSERT_FALSE(rig.sent.empty());
  EXPECT_EQ(rig.sent.back().to, moved);
  rig.receive(rig.link, moved, rig.peer.make(kAuthOk, text("OK")));
  EXPECT_EQ(rig.state(rig.link), LinkState::kUp);
}

TEST(Link, AnUpstreamServerThatRestartedIsFoundBeforeTheTimeout) {
  ClientRig rig;
  rig.sign_on();
  rig.take_sent();
  rig.run_for(3s);  // it holds no session any more and says nothing
  bool asked = false;
  for (const auto& p : rig.take_sent()) asked = asked || p.type == kAuth;
  ASSERT_TRUE(asked);
  PeerFlowState reborn{.flow = 0x4711, .seq = 0};
  rig.receive(rig.link, kServer, reborn.make(kAuthOk, text("OK")));
  rig.receive(rig.link, kServer, reborn.make(kData, text("back"), 0));
  EXPECT_THAT(rig.delivered, testing::ElementsAre(text("back")));
}

TEST(Link, ARecordedAuthOkIsRefused) {
  // Of an upstream server: from anywhere but the server's address.
  ClientRig rig;
  rig.run_for(1ms);
  rig.receive(rig.link, kElsewhere, rig.peer.make(kAuthOk, text("OK")));
  EXPECT_EQ(rig.state(rig.link), LinkState::kStarting);
  // Of a bondd: from anywhere, for it answers another challenge.
  Bytes body = text("OKbnd");
  body.push_back(1);
  body.resize(2 + 24, 0x42);
  rig.receive(rig.link, kServer, rig.peer.make(kAuthOk, body));
  EXPECT_EQ(rig.state(rig.link), LinkState::kStarting);
}

TEST(Link, ADisconnectThatWasOvertakenByTheNextAuthIsIgnored) {
  ServerRig rig;
  rig.sign_on();
  const Bytes late = rig.peer.make(kDisconnect);
  rig.receive(rig.link, kClient, rig.peer.make(kAuth, text("AU")));
  rig.receive(rig.link, kClient, late);
  EXPECT_EQ(rig.state(rig.link), LinkState::kUp);
}

TEST(Link, WorksOverIpv6) {
  Rig rig(engine_config(Role::kServer));
  const LinkId link = *rig.engine->add_link(rig.now, {.name = "six"});
  PeerFlowState peer;
  const Endpoint six = endpoint("2001:db8::7", 40000);
  rig.receive(link, six, peer.make(kAuth, text("AU")));
  ASSERT_EQ(rig.sent.size(), 1U);
  EXPECT_EQ(rig.sent[0].to, six);
}

TEST(Link, AServerThatKeptItsSessionIsHeardAgainAfterATimeout) {
  ServerRig rig;
  rig.sign_on();
  rig.run_for(40s);
  EXPECT_EQ(rig.state(rig.link), LinkState::kDown);
  rig.receive(rig.link, kClient, rig.peer.make(kData, text("still here"), 5));
  EXPECT_EQ(rig.state(rig.link), LinkState::kUp);
  EXPECT_THAT(rig.delivered, testing::ElementsAre(text("still here")));
}

TEST(Link, TakesOldVersionsSpareTypesAndPacketsWithoutReorder) {
  ServerRig rig;
  rig.receive(rig.link, kClient, encode({.type = kAuth, .flow = 5, .seq = 0, .text = {}}));  // no "AU"
  EXPECT_EQ(rig.state(rig.link), LinkState::kUp);
  for (int version = 0; version < 16; ++version) {
    PeerPacket p{.type = kData,
                 .version = version,
                 .reorder = version % 2 == 0,
                 .flow = 5,
                 .seq = static_cast<std::uint64_t>(1 + version),
                 .data_seq = static_cast<std::uint64_t>(version),
                 .text = text("v")};
    rig.receive(rig.link, kClient, encode(p));
  }
  rig.run_for(2s);
  EXPECT_EQ(rig.delivered.size(), 16U);
  for (int type = 5; type < 64; ++type) {
    rig.receive(
        rig.link, kClient,
        encode({.type = type, .flow = 5, .seq = static_cast<std::uint64_t>(100 + type), .text = text("?")}));
  }
  EXPECT_EQ(rig.state(rig.link), LinkState::kUp);
  EXPECT_EQ(rig.delivered.size(), 16U);
}

TEST(Link, SaysDisconnectOnShutdownEvenAfterAKeepaliveWasQueued) {
  ServerRig rig;
  rig.sign_on();
  rig.take_sent();
  rig.now += 5s;
  rig.engine->handle_timeout(rig.now);  // a KEEPALIVE is queued now
  rig.engine->shutdown(rig.now);
  rig.collect();
  const auto sent = rig.take_sent();
  ASSERT_FALSE(sent.empty());
  EXPECT_EQ(sent.back().type, kDisconnect);
}

}  // namespace
}  // namespace bondd::mlvpn

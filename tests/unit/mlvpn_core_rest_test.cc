// A WAN that is only there for the case that the others fail rests meanwhile: what it costs, and how soon it
// takes over.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/engine_pair.h"

namespace bondd::mlvpn::test {
namespace {

constexpr std::size_t kIpAndUdp = 28;
constexpr std::size_t kBytesADay = 1'000'000;
constexpr LinkId kMain = 0, kBackup = 1;

// A backup that both files name as such, and what passes by it in both directions.
struct WithBackup : Pair {
  std::size_t bytes = 0;
  WithBackup() : WithBackup({.name = "dsl"}) {}
  explicit WithBackup(LinkConfig main, bool announce = true, bool on_server = true)
      : Pair(std::move(main), {.name = "lte", .fallback_only = true}, announce) {
    LinkConfig there{.name = "lte", .fallback_only = on_server};
    server.engine->update_link(server.now, kBackup, there);
    in_the_line = [this](Flying& packet) {
      if (packet.line != kBackup) return;
      bytes += packet.bytes.size() + kIpAndUdp;
    };
    run_for(20s);
    bytes = 0;
  }

  // A ping each 200 ms, by which the office sees that the bond carries; how long it took until one came back.
  Duration ping_for(Duration duration) {
    const TimePoint end = client.now + duration;
    Duration longest{};
    TimePoint answered = client.now;
    while (client.now < end) {
      client.from_tun(text("ping"));
      for (int i = 0; i < 20; ++i) {
        run_for(10ms);
        if (!server.delivered.empty()) {
          server.delivered.clear();
          server.from_tun(text("pong"));
        }
        if (client.delivered.empty()) continue;
        client.delivered.clear();
        longest = std::max<Duration>(longest, client.now - answered);
        answered = client.now;
      }
    }
    return std::max<Duration>(longest, client.now - answered);
  }

  [[nodiscard]] LinkStats of(const Rig& rig, LinkId id) const {
    return rig.engine->link_stats(rig.now).at(id);
  }
};

std::size_t a_day(std::size_t bytes, Duration of) {
  return static_cast<std::size_t>(static_cast<double>(bytes) * (24h / 1s) /
                                  std::chrono::duration<double>(of).count());
}

TEST(Rest, IdleBackupCostsLessThanOneMegabyteADay) {
  WithBackup bond;
  bond.run_for(600s);
  EXPECT_LT(a_day(bond.bytes, 600s), kBytesADay);
  for (const Rig* end : {&bond.client, &bond.server}) EXPECT_EQ(bond.of(*end, kBackup).state, LinkState::kUp);
}

TEST(Rest, BackupBesideLightTrafficCostsLessThanOneMegabyteADay) {
  WithBackup bond;
  bond.ping_for(300s);
  EXPECT_LT(a_day(bond.bytes, 300s), kBytesADay);
}

TEST(Rest, BackupTakesOverWithinASecond) {
  for (const bool from_client : {true, false}) {
    WithBackup bond;
    bond.ping_for(40s);
    (from_client ? bond.mute : bond.cut)[kMain] = true;
    EXPECT_LT(bond.ping_for(20s), 1s);
    bond.mute[kMain] = bond.cut[kMain] = false;
    bond.ping_for(20s);
    bond.bytes = 0;
    bond.ping_for(60s);
    EXPECT_LT(a_day(bond.bytes, 60s), 2 * kBytesADay) << "it rests again";
  }
}

TEST(Rest, FirstPacketAfterASilentCutOfAnIdleBondArrivesSoon) {
  WithBackup bond;
  bond.run_for(33s);
  bond.cut[kMain] = true;
  bond.run_for(60s);
  EXPECT_LT(bond.ping_for(5s), 300ms + 200ms) << "and up to 200 ms between two pings";
}

// As `bondd wan restore` does, at one end first: the other hears of it later.
TEST(Rest, NothingIsLostWhenABackupBecomesAnOrdinaryWan) {
  for (const bool at_server : {true, false}) {
    WithBackup bond;
    bond.ping_for(40s);
    Rig& first = at_server ? bond.server : bond.client;
    Rig& second = at_server ? bond.client : bond.server;
    LinkConfig ordinary{.name = "lte"};
    for (Rig* rig : {&first, &second}) {
      if (rig == &bond.client) ordinary.remote = kServers[kBackup];
      rig->engine->update_link(rig->now, kBackup, ordinary);
      int sent = 0, answered = 0;
      for (int i = 0; i < 400; ++i) {
        bond.client.from_tun(text("ping" + std::to_string(i)));
        ++sent;
        bond.run_for(5ms);
        for (std::size_t n = bond.server.delivered.size(); n > 0; --n) bond.server.from_tun(text("pong"));
        bond.server.delivered.clear();
        answered += static_cast<int>(bond.client.delivered.size());
        bond.client.delivered.clear();
      }
      bond.run_for(1s);
      for (std::size_t n = bond.server.delivered.size(); n > 0; --n) bond.server.from_tun(text("pong"));
      bond.run_for(1s);
      answered += static_cast<int>(bond.client.delivered.size());
      bond.client.delivered.clear();
      bond.server.delivered.clear();
      EXPECT_EQ(answered, sent) << (rig == &first ? "one end" : "both ends")
                                << ", server first: " << at_server;
    }
  }
}

TEST(Rest, DeadBackupIsNoticed) {
  WithBackup bond;
  bond.cut[kBackup] = true;
  bond.run_for(30s);
  for (const Rig* end : {&bond.client, &bond.server}) EXPECT_NE(bond.of(*end, kBackup).state, LinkState::kUp);
  bond.cut[kBackup] = false;
  bond.run_for(2s);
  for (const Rig* end : {&bond.client, &bond.server}) EXPECT_EQ(bond.of(*end, kBackup).state, LinkState::kUp);
}

TEST(Rest, LostWordOfARestingLinkIsNoSilence) {
  WithBackup bond;
  const auto count = bond.in_the_line;
  bond.in_the_line = [&, n = 0](Pair::Flying& packet) mutable {
    count(packet);
    if (packet.line == kBackup && ++n % 3 == 0) packet.bytes.clear();
  };
  for (int i = 0; i < 600; ++i) {
    bond.run_for(1s);
    for (const Rig* end : {&bond.client, &bond.server})
      ASSERT_EQ(bond.of(*end, kBackup).state, LinkState::kUp);
  }
}

TEST(Rest, BackupInTheOfficesFileAloneRestsToo) {
  WithBackup bond({.name = "dsl"}, true, false);
  bond.run_for(600s);
  EXPECT_LT(a_day(bond.bytes, 600s), kBytesADay);
}

TEST(Rest, IdleWanThatIsNoBackupIsHeardEachSecond) {
  Pair bond({.name = "dsl"}, {.name = "lte"});
  bond.run_for(60s);
  for (const Rig* end : {&bond.client, &bond.server})
    EXPECT_LT(*end->engine->link_stats(end->now).at(kBackup).heard_ago, 1100ms);
}

TEST(Rest, OriginalPeerHearsOfItEachSecond) {
  WithBackup bond({.name = "dsl"}, false);
  bond.run_for(60s);
  EXPECT_LT(*bond.of(bond.server, kBackup).heard_ago, 1100ms);
}

}  // namespace
}  // namespace bondd::mlvpn::test

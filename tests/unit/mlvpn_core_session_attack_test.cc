// Somebody who holds or hears the lines of two engines with session keys, and who has the password and
// the memory of both, later.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <set>

#include "bondd/mlvpn/core/random.h"
#include "tests/support/session_pair.h"

namespace bondd::mlvpn {
namespace {

using namespace test;

const Endpoint kAttacker = endpoint("192.0.2.66", 666);

struct Tapped : SessionPair {
  std::vector<Flying> tape;
  Tapped() {
    in_the_line = [this](Flying& f) { tape.push_back(f); };
    run_for(3s);
    stream(client, 50, 0, true);
    run_for(50ms);  // all that is on the tape has come
  }
  void expect_untouched(const char* when) {
    for (const LinkId link : kBoth) {
      EXPECT_EQ(server.stats(link).peer, kClients[link]) << when;
      EXPECT_EQ(server.stats(link).disconnects, 0U) << when;
      EXPECT_EQ(client.stats(link).disconnects, 0U) << when;
    }
    expect_sessions(when);
  }
};

std::uint64_t refused(const EngineStats& s) {
  return s.bad_mac + s.malformed + s.replayed + s.foreign;
}

TEST(SessionAttack, EachChangedBitOfAHeaderIsDroppedAndCounted) {
  Tapped bond;
  bond.in_the_line = [](Pair::Flying&) {};
  Bytes datagram;
  bond.in_the_line = [&](Pair::Flying& f) {
    if (f.to_server && f.bytes.size() > 100 && datagram.empty()) std::swap(datagram, f.bytes);
  };
  bond.client.from_tun(Bytes(100, 'x'));
  bond.run_for(1ms);
  ASSERT_FALSE(datagram.empty());
  bond.in_the_line = [](Pair::Flying&) {};
  bond.run_for(300ms);  // it was sent again
  bond.server.delivered.clear();
  for (std::size_t bit = 0; bit < datagram.size() * 8; ++bit) {
    Bytes changed = datagram;
    changed[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    const auto before = refused(bond.server.engine->stats());
    for (const LinkId link : kBoth) bond.server.receive(link, kClients[link], changed);
    EXPECT_EQ(refused(bond.server.engine->stats()), before + 2) << "bit " << bit;
  }
  EXPECT_TRUE(bond.server.delivered.empty());
  bond.expect_untouched("after all bits");
}

TEST(SessionAttack, ChangedCopiesThatComeFirstChangeNothing) {
  Tapped bond;
  unsigned n = 0;
  bond.in_the_line = [&](Pair::Flying& f) {
    Bytes copy = f.bytes;
    copy[n % 44] ^= static_cast<std::uint8_t>(1U << n / 44 % 8);
    ++n;
    if (f.to_server) {
      bond.server.receive(f.port, kClients[f.line], copy);
    } else {
      bond.client.receive(f.line, kServers[f.port], copy);
    }
  };
  bond.server.delivered.clear();
  bond.stream(bond.client, 500, 0, true);
  bond.run_for(100ms);
  EXPECT_EQ(bond.server.delivered.size(), 500U);
  bond.in_the_line = [](Pair::Flying&) {};
  bond.expect_untouched("after the copies");
}

TEST(SessionAttack, ATapeChangesNothingWhoeverRestarts) {
  Tapped bond;
  bond.in_the_line = [](Pair::Flying&) {};
  const auto tape = bond.tape;
  const auto play = [&] {
    for (const auto& f : tape) {
      for (const LinkId link : kBoth) {
        if (f.to_server) bond.server.receive(link, kAttacker, f.bytes);
        if (!f.to_server) bond.client.receive(link, kAttacker, f.bytes);
      }
    }
  };
  play();
  bond.expect_untouched("the same session");
  bond.restart(Role::kClient, 5);
  play();
  bond.run_for(500ms);
  play();
  bond.expect_sessions("another client");
  bond.restart(Role::kServer, 7);
  play();  // the server has forgotten all: the tape comes first
  for (const LinkId link : kBoth) {
    EXPECT_EQ(bond.server.state(link), LinkState::kDown);
    EXPECT_NE(bond.server.stats(link).peer, kAttacker);
  }
  bond.run_for(2s);
  bond.expect_sessions("another server");
  for (const LinkId link : kBoth) EXPECT_EQ(bond.server.stats(link).peer, kClients[link]);
}

TEST(SessionAttack, AQuestionOfOneLineIsNoneOnAnother) {
  // The first question of line 0 never comes to its own port: the attacker brings it to line 1.
  SessionPair bond;
  bond.in_the_line = [&](Pair::Flying& f) {
    if (f.to_server && f.line == 0) f.port = 1;
  };
  for (int i = 0; i < 100; ++i) {
    bond.run_for(100ms);
    EXPECT_NE(bond.client.stats(0).protection, Protection::kSession);
    if (i < 5) continue;
    EXPECT_EQ(bond.server.stats(1).protection, Protection::kSession);
    EXPECT_EQ(bond.server.stats(1).peer, kClients[1]);
    EXPECT_EQ(bond.server.stats(1).disconnects, 0U);
  }
  EXPECT_THAT(bond.server.stats(1).name, "orange");
}

// Somebody with the password who asks without end, each time with another key.
struct Asker {
  PeerFlowState flow{.flow = 0x4712, .seq = std::uint64_t{1'900'000'000'000'000} << 8};
  std::uint64_t time_us = 1'900'000'000'000'000;
  std::uint8_t count = 0;
  Bytes ask() {
    constexpr std::uint32_t capabilities = kOurCapabilities | kCapSession;
    const Announcement ours{capabilities, 77, 78};
    const Hello hello{
        .time_us = ++time_us, .receive_id = 99, .capabilities = capabilities, .name = name_hash("ovh")};
    std::array<std::uint8_t, 32> fresh{};
    fresh[0] = ++count;
    fresh[1] = static_cast<std::uint8_t>(time_us);
    Noise noise(NoisePattern::kNNpsk0, Noise::Side::kInitiator,
                {reinterpret_cast<const std::uint8_t*>(kSessionPrologue.data()), kSessionPrologue.size()},
                std::span<const std::uint8_t, 32>(with_sessions().psk->data(), 32), NoiseKey(fresh));
    Bytes message;
    noise.write(render_hello(hello), message);
    const auto said = render_handshake("AU", ours, true, 0, message);
    return flow.make(kAuth, Bytes(said.span().begin(), said.span().end()));
  }
};

TEST(SessionAttack, QuestionsWithoutEndAreBounded) {
  Tapped bond;
  bond.in_the_line = [](Pair::Flying&) {};
  Asker asker;
  std::size_t offered = 0, answered = 0;
  for (int i = 0; i < 1000; ++i) {
    bond.server.sent.clear();
    bond.server.receive(0, kAttacker, asker.ask());
    for (const Sent& s : bond.server.sent) {
      if (s.to != kAttacker) continue;
      ++answered;
      offered += decode(s.bytes)->text.size() > 34;
      EXPECT_LE(s.bytes.size(), 44U + kMaxHandshake);
    }
    bond.run_for(1ms);
    EXPECT_LE(SessionInspector::offers(*bond.server.engine, 0), 4U);
  }
  EXPECT_LE(offered, 41U);  // of 20 a second
  EXPECT_GE(offered, 20U);
  EXPECT_EQ(answered, 1000U);  // the others by a number to show
  bond.expect_untouched("after the questions");
  // The genuine client, too, is asked for the number, and shows it.
  bond.restart(Role::kClient, 5);
  for (int i = 0; i < 100; ++i) {
    bond.server.receive(0, kAttacker, asker.ask());
    bond.run_for(1ms);
  }
  bond.expect_sessions("meanwhile");
}

// Holds line 0: reads, drops, delays, changes, repeats on either line, and makes up. What it does most
// changes every two seconds.
class Holder {
 public:
  Holder(SessionPair& bond, unsigned seed) : bond_(bond), random_(seed) {
    bond_.in_the_line = [this](Pair::Flying& f) {
      if (f.line == 0) meet(f);
    };
  }
  ~Holder() {
    bond_.in_the_line = [](Pair::Flying&) {};
  }

 private:
  enum Act : std::uint8_t { kDrop, kDelay, kChange, kRepeat, kMakeUp, kActs };
  unsigned below(unsigned n) { return static_cast<unsigned>(random_() % n); }
  [[nodiscard]] Duration soon(Duration most) {
    return Duration(1ms) * below(static_cast<unsigned>(most / 1ms));
  }
  void put(Pair::Flying f, Duration after) {
    f.port = static_cast<LinkId>(below(2));
    bond_.air.emplace(bond_.client.now + after, std::move(f));
  }

  void meet(Pair::Flying& f) {
    if (bond_.client.now >= next_mood_) {
      next_mood_ = bond_.client.now + 2s;
      for (unsigned& percent : moods_) percent = below(3) == 0 ? below(100) : below(5);
    }
    tape_[taped_++ % tape_.size()] = f;
    const auto does = [&](Act act) { return below(100) < moods_.at(act); };
    if (does(kRepeat)) put(tape_[below(static_cast<unsigned>(std::min(taped_, tape_.size())))], soon(500ms));
    if (does(kMakeUp)) {
      Pair::Flying made = f;
      for (std::size_t i = 0; i < made.bytes.size(); ++i)
        if (below(4) == 0) made.bytes[i] = static_cast<std::uint8_t>(random_());
      put(std::move(made), soon(20ms));
    }
    if (does(kChange))
      f.bytes[below(static_cast<unsigned>(f.bytes.size()))] ^= static_cast<std::uint8_t>(1U << below(8));
    const bool delayed = does(kDelay);
    if (delayed) bond_.air.emplace(bond_.client.now + soon(3s), f);
    if (delayed || does(kDrop)) f.bytes.clear();
  }

  SessionPair& bond_;
  std::mt19937 random_;
  TimePoint next_mood_{};
  std::array<unsigned, kActs> moods_{};
  std::array<Pair::Flying, 256> tape_{};
  std::size_t taped_ = 0;
};

// When something was delivered last; the longest time without.
struct Gap {
  std::size_t seen = 0;
  TimePoint last;
  Duration longest{};
  void look(const Rig& rig) {
    longest = std::max<Duration>(longest, rig.now - last);
    if (rig.delivered.size() == seen) return;
    seen = rig.delivered.size();
    last = rig.now;
  }
};

TEST(SessionAttack, WhoHoldsOneLineStopsNothingForMoreThanASecond) {
  const char* const more = std::getenv("BONDD_SEEDS");
  const unsigned seeds = more != nullptr ? static_cast<unsigned>(std::atoi(more)) : 20;
  for (unsigned seed = 1; seed <= seeds; ++seed) {
    SessionPair bond;
    if (seed % 2 == 0) bond.run_for(1s);
    std::optional<Holder> holder(std::in_place, bond, seed);
    bond.run_for(500ms);
    Gap at_server{.last = bond.server.now}, at_client{.last = bond.client.now};
    for (int i = 0; i < 3000; ++i) {  // a minute
      bond.client.from_tun(Bytes(200, 'u'));
      bond.server.from_tun(Bytes(200, 'd'));
      bond.run_for(20ms);
      at_server.look(bond.server);
      at_client.look(bond.client);
    }
    EXPECT_LE(at_server.longest, 1s) << "seed " << seed;
    EXPECT_LE(at_client.longest, 1s) << "seed " << seed;
    holder.reset();
    bond.run_for(5s);
    bond.expect_sessions(("5 s after it stopped, seed " + std::to_string(seed)).c_str());
  }
}

// --- later: the password, and the memory of both engines

bool opens(SecretBox& key, const Bytes& datagram) {
  Bytes copy = datagram;
  const auto front = parse_session_front(copy);
  if (!front) return false;
  gather_session_mac(copy.data());
  BoxJob job{copy.data() + kSessionBox,
             static_cast<std::uint32_t>(copy.size() - 30),
             front->receive_id,
             front->seq,
             false,
             front->clear};
  key.open({&job, 1});
  return job.ok;
}

TEST(SessionAttack, MemoryAndPasswordOpenTheLastThreeMinutesOnly) {
  SessionPair bond;
  struct Captured {
    TimePoint at;
    Bytes bytes;
  };
  std::vector<Captured> captured;
  bond.in_the_line = [&](Pair::Flying& f) { captured.push_back({bond.client.now, f.bytes}); };
  for (int i = 0; i < 3000; ++i) {  // ten minutes
    bond.client.from_tun(text("secret " + std::to_string(i)));
    bond.server.from_tun(text("answer " + std::to_string(i)));
    bond.run_for(200ms);
  }
  std::vector<SecretBox*> keys = SessionInspector::keys(*bond.client.engine);
  for (SecretBox* key : SessionInspector::keys(*bond.server.engine)) keys.push_back(key);
  EXPECT_GE(keys.size(), 8U);
  std::size_t old_opened = 0, new_opened = 0, by_password = 0;
  for (const Captured& c : captured) {
    const auto packet = decode(c.bytes);  // with the password
    by_password += packet && packet->type != kAuth && packet->type != kAuthOk && packet->type != kDisconnect;
    const bool open = std::ranges::any_of(keys, [&](SecretBox* key) { return opens(*key, c.bytes); });
    (bond.client.now - c.at > 180s ? old_opened : new_opened) += open;
  }
  EXPECT_EQ(by_password, 0U);
  EXPECT_EQ(old_opened, 0U);
  EXPECT_GT(new_opened, 100U);  // the test can open what can be opened
}

TEST(SessionAttack, WhatIsLeftOfTheRandomNumbersTellsNoFormerKey) {
  std::array<std::uint8_t, 32> seed{1, 2, 3};
  Random random(seed);
  random.next64();
  const auto key = random.fresh_key();
  static_assert(sizeof(Random) >= 32);
  std::array<std::uint8_t, sizeof(Random)> memory;
  std::memcpy(memory.data(), static_cast<const void*>(&random), sizeof random);
  // With the seed in memory and any count, the key would come again.
  std::array<std::uint8_t, 32> left;
  std::memcpy(left.data(), memory.data(), 32);
  EXPECT_NE(left, seed);
  for (int skip = 0; skip < 100; ++skip) {
    Random again(left);
    for (int i = 0; i < skip; ++i) again.next64();
    EXPECT_FALSE(std::ranges::equal(again.fresh_key().span(), key.span()));
  }
}

}  // namespace
}  // namespace bondd::mlvpn

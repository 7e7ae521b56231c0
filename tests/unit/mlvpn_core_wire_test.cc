// The wire against what the upstream program really sent: known answers and
// captures, both through bondd's codec and through libsodium's own secretbox.
#include <gtest/gtest.h>
#include <sodium.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bondd/mlvpn/core/crypto.h"
#include "bondd/mlvpn/core/salsa.h"
#include "bondd/mlvpn/core/wire.h"
#include "tests/support/mlvpn_vectors.h"

namespace bondd::mlvpn {
namespace {

using test::Bytes;
using test::from_hex;
using test::known_answers;

SecretKey key_of(const std::string& password) {
  return SecretKey::from_password({reinterpret_cast<const std::uint8_t*>(password.data()), password.size()});
}

Header header_of(const nlohmann::json& f) {
  Header h;
  h.length = f["len"];
  h.version = f["version"];
  h.type = f["type"];
  h.reorder = f["reorder"].get<int>() != 0;
  h.unused = f["unused"];
  h.timestamp = f["timestamp"];
  h.timestamp_reply = f["timestamp_reply"];
  h.flow_id = f["flow_id"];
  h.seq = f["seq"];
  h.data_seq = f["data_seq"];
  return h;
}

BoxJob job_of(Bytes& packet, const Header& h) {
  return {packet.data() + kHeaderSize, static_cast<std::uint32_t>(packet.size() - kOverhead), h.flow_id,
          h.seq, false};
}

TEST(Wire, DerivesTheKnownKeys) {
  for (const auto& k : known_answers()["key_derivation"]) {
    EXPECT_EQ(key_of(k["password"]),
              SecretKey::from_bytes(std::span<const std::uint8_t, 32>(from_hex(k["key"]).data(), 32)));
  }
}

TEST(Wire, DecodesEveryKnownAnswer) {
  for (const auto& c : known_answers()["cases"]) {
    SCOPED_TRACE(c["id"].get<std::string>());
    Bytes packet = from_hex(c["packet"]);
    Header h;
    ASSERT_EQ(parse_header(packet, h), ParseError::kNone);
    EXPECT_EQ(h, header_of(c["fields"]));
    Bytes text(packet.begin() + kHeaderSize, packet.end());
    if (c["encrypted"].get<bool>()) {
      SecretBox box(key_of(c["password"]));
      BoxJob job = job_of(packet, h);
      box.open({&job, 1});
      ASSERT_TRUE(job.ok);
      text.assign(packet.begin() + kOverhead, packet.end());
    }
    EXPECT_EQ(text, from_hex(c["plaintext"]));
  }
}

TEST(Wire, EncodesEveryKnownAnswerToTheBit) {
  for (const auto& c : known_answers()["cases"]) {
    SCOPED_TRACE(c["id"].get<std::string>());
    const Header h = header_of(c["fields"]);
    const Bytes text = from_hex(c["plaintext"]);
    const bool encrypted = c["encrypted"];
    Bytes packet(kHeaderSize + (encrypted ? kMacSize : 0) + text.size());
    render_header(h, packet.data());
    std::copy(text.begin(), text.end(), packet.end() - static_cast<std::ptrdiff_t>(text.size()));
    if (encrypted) {
      SecretBox box(key_of(c["password"]));
      BoxJob job = job_of(packet, h);
      box.seal({&job, 1});
    }
    EXPECT_EQ(packet, from_hex(c["packet"]));
  }
}

TEST(Wire, DecodesEveryCapturedDatagram) {
  std::size_t captures = 0;
  for (const auto& [name, datagrams] : test::captures()) {
    SCOPED_TRACE(name);
    ++captures;
    ASSERT_FALSE(datagrams.empty());
    const bool clear = name.starts_with("clear-");
    SecretBox box(key_of("test-Pa55word!"));
    SecretBox other(key_of("other-password"));
    for (const auto& d : datagrams) {
      Bytes packet = d.payload;
      Header h;
      ASSERT_EQ(parse_header(packet, h), ParseError::kNone);
      EXPECT_EQ(h.version, 1);
      EXPECT_TRUE(h.reorder);
      EXPECT_LE(h.type, 4);
      if (clear && h.is(PacketType::kData)) continue;
      BoxJob job = job_of(packet, h);
      box.open({&job, 1});
      if (name == "wrong-password") {
        EXPECT_FALSE(job.ok);
        other.open({&job, 1});
      }
      EXPECT_TRUE(job.ok);
      Bytes again = packet;
      render_header(h, again.data());
      EXPECT_EQ(again, packet);
    }
  }
  EXPECT_EQ(captures, 9U);
}

TEST(Wire, RefusesInexactLengths) {
  Bytes packet = from_hex(known_answers()["cases"][0]["packet"]);
  Header h;
  EXPECT_EQ(parse_header(packet, h), ParseError::kNone);
  Bytes longer = packet;
  longer.push_back(0);
  EXPECT_EQ(parse_header(longer, h), ParseError::kLengthMismatch);
  Bytes shorter = packet;
  shorter.pop_back();
  EXPECT_EQ(parse_header(shorter, h), ParseError::kLengthMismatch);
  EXPECT_EQ(parse_header(std::span(packet).first(27), h), ParseError::kTooShort);
  packet[0] = packet[1] = 0;
  EXPECT_EQ(parse_header(std::span(packet).first(28), h), ParseError::kEmptyBody);
  Bytes huge(1501);
  huge[0] = (1501 - 28) >> 8;
  huge[1] = (1501 - 28) & 0xff;
  EXPECT_EQ(parse_header(huge, h), ParseError::kTooLong);
}

TEST(Wire, TreatsEveryNegativeCaseAsExpected) {
  for (const auto& c : known_answers()["negative"]) {
    SCOPED_TRACE(c["id"].get<std::string>());
    const std::string expect = c["expect"];
    Bytes packet = from_hex(c["packet"]);
    Header h;
    const ParseError error = parse_header(packet, h);
    if (expect == "rejected") {
      EXPECT_NE(error, ParseError::kNone);
      continue;
    }
    ASSERT_EQ(error, ParseError::kNone);
    const auto opens = [&](const nlohmann::json& hex) {
      const Bytes key = from_hex(hex);
      SecretBox box(SecretKey::from_bytes(std::span<const std::uint8_t, 32>(key.data(), 32)));
      Bytes copy = packet;
      BoxJob job = job_of(copy, h);
      box.open({&job, 1});
      return job.ok;
    };
    EXPECT_EQ(opens(c["key"]), expect.starts_with("MAC valid"));
    if (c.contains("key2")) {
      EXPECT_TRUE(opens(c["key2"]));
    }
    if (c.contains("fields")) {
      EXPECT_EQ(h, header_of(c["fields"]));
    }
  }
}

TEST(Wire, TimestampIsNeverTheMarkForNone) {
  EXPECT_EQ(wire_timestamp(65535), 0);
  EXPECT_EQ(wire_timestamp(65536), 0);
  EXPECT_EQ(wire_timestamp(65534), 65534);
  EXPECT_EQ(wire_timestamp(65536 + 17), 17);
}

// Every implementation of the cipher against libsodium's whole secretbox.
TEST(Crypto, EveryImplementationEqualsSecretbox) {
  ASSERT_GE(sodium_init(), 0);
  const SalsaOps* all[kMaxSalsaOps];
  const std::size_t count = all_salsa_ops(all);
  std::uint8_t key[32];
  randombytes_buf(key, sizeof key);
  for (std::size_t k = 0; k < count; ++k) {
    SCOPED_TRACE(all[k]->name);
    for (std::size_t size = 0; size <= 2100; size += size < 300 ? 1 : 37) {
      SalsaNonce nonces[kSalsaBatch];
      for (auto& n : nonces)
        n = {size * 0x9e3779b97f4a7c15ULL, static_cast<std::uint32_t>(size ^ 0xabcdef01)};
      SalsaStream streams[kSalsaBatch];
      const std::size_t n = 1 + size % kSalsaBatch;
      all[k]->start(key, nonces, n, streams);
      std::uint8_t nonce[24] = {};
      std::memcpy(nonce, &nonces[n - 1].seq, 8);
      std::memcpy(nonce + 8, &nonces[n - 1].flow_id, 4);
      Bytes text(size + 64, 0x5a), expected(size + 16);  // nothing behind the text is touched
      randombytes_buf(text.data(), size);
      crypto_secretbox_easy(expected.data(), text.data(), size, nonce, key);
      salsa_xor(*all[k], streams[n - 1], text.data(), size);
      std::uint8_t mac[16];
      crypto_onetimeauth(mac, text.data(), size, streams[n - 1].block0);
      ASSERT_EQ(std::memcmp(mac, expected.data(), 16), 0) << size;
      ASSERT_TRUE(std::equal(expected.begin() + 16, expected.end(), text.begin())) << size;
      ASSERT_TRUE(std::all_of(text.begin() + static_cast<std::ptrdiff_t>(size), text.end(),
                              [](std::uint8_t b) { return b == 0x5a; }))
          << size;
    }
  }
}

TEST(Crypto, BatchesSealAndOpenAndKeepForgedBytes) {
  SecretBox box(key_of("batch"));
  std::vector<Bytes> packets;
  std::vector<BoxJob> jobs;
  for (std::uint32_t i = 0; i < 37; ++i) {
    packets.emplace_back(16 + i * 41, static_cast<std::uint8_t>(i));
    jobs.push_back({packets.back().data(), i * 41, 7, 1000 + i, false});
  }
  box.seal(jobs);
  const Bytes forged_before = [&] {
    packets[5][20] ^= 1;
    return packets[5];
  }();
  packets[6][3] ^= 0x80;  // the MAC itself
  box.open(jobs);
  for (std::uint32_t i = 0; i < 37; ++i) {
    EXPECT_EQ(jobs[i].ok, i != 5 && i != 6) << i;
    if (jobs[i].ok) {
      EXPECT_TRUE(std::all_of(packets[i].begin() + 16, packets[i].end(),
                              [&](std::uint8_t b) { return b == static_cast<std::uint8_t>(i); }));
    }
  }
  EXPECT_EQ(packets[5], forged_before);
}

}  // namespace
}  // namespace bondd::mlvpn

// Against the vectors of cacophony, an implementation in Haskell that others are checked with, too.
#include <gtest/gtest.h>
#include <sodium.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "bondd/mlvpn/session/noise.h"

namespace bondd::mlvpn {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes from_hex(const std::string& hex) {
  Bytes out(hex.size() / 2);
  EXPECT_EQ(sodium_hex2bin(out.data(), out.size(), hex.data(), hex.size(), nullptr, nullptr, nullptr), 0);
  return out;
}

NoiseKey key_of(const Bytes& bytes) {
  return NoiseKey(std::span<const std::uint8_t, 32>(bytes.data(), 32));
}

NoiseKey key_of(std::uint8_t byte) {
  return key_of(Bytes(32, byte));
}

// Both ends of one vector.
struct Ends {
  Bytes psk, prologue, own[2], peer[2];
  std::unique_ptr<Noise> ends[2];

  explicit Ends(const nlohmann::json& v) {
    const bool statics = v.contains("init_static");
    psk = from_hex(v["init_psks"][0]);
    prologue = from_hex(v["init_prologue"]);
    const NoisePattern pattern = statics ? NoisePattern::kKKpsk0 : NoisePattern::kNNpsk0;
    const char* names[2] = {"init_", "resp_"};
    for (int i = 0; i < 2; ++i) {
      std::optional<NoiseStatics> keys;
      if (statics) {
        own[i] = from_hex(v[std::string(names[i]) + "static"]);
        peer[i] = from_hex(v[std::string(names[i]) + "remote_static"]);
        keys = NoiseStatics{std::span<const std::uint8_t, 32>(own[i].data(), 32),
                            std::span<const std::uint8_t, 32>(peer[i].data(), 32)};
      }
      ends[i] = std::make_unique<Noise>(pattern, i == 0 ? Noise::Side::kInitiator : Noise::Side::kResponder,
                                        prologue, std::span<const std::uint8_t, 32>(psk.data(), 32),
                                        key_of(from_hex(v[std::string(names[i]) + "ephemeral"])), keys);
    }
  }
};

nlohmann::json vectors() {
  std::ifstream file(BONDD_SOURCE_DIR "/tests/data/noise/cacophony.json");
  return nlohmann::json::parse(file)["vectors"];
}

// ChaCha20-Poly1305 under a key of split(), with the count as nonce.
Bytes sealed(const NoiseKey& key, std::uint8_t count, const Bytes& text) {
  const std::uint8_t nonce[12] = {0, 0, 0, 0, count};
  Bytes out(text.size() + 16);
  crypto_aead_chacha20poly1305_ietf_encrypt(out.data(), nullptr, text.data(), text.size(), nullptr, 0,
                                            nullptr, nonce, key.data());
  return out;
}

TEST(Noise, SaysWhatAnIndependentImplementationSays) {
  ASSERT_EQ(vectors().size(), 2U);
  for (const auto& v : vectors()) {
    SCOPED_TRACE(v["protocol_name"].get<std::string>());
    Ends both(v);
    Bytes message, payload;
    for (const std::size_t i : {0U, 1U}) {
      const Bytes text = from_hex(v["messages"][i]["payload"]);
      ASSERT_TRUE(both.ends[i]->write(text, message));
      EXPECT_EQ(message, from_hex(v["messages"][i]["ciphertext"]));
      ASSERT_TRUE(both.ends[1 - i]->read(message, payload));
      EXPECT_EQ(payload, text);
    }
    for (const auto& end : both.ends)
      EXPECT_TRUE(std::ranges::equal(end->hash().span(), from_hex(v["handshake_hash"])));
    const NoiseKeys keys[2] = {both.ends[0]->split(), both.ends[1]->split()};
    for (std::size_t i = 2; i < v["messages"].size(); ++i) {
      const auto& said = v["messages"][i];
      for (const NoiseKeys& k : keys) {
        const NoiseKey& key = i % 2 == 0 ? k.from_initiator : k.from_responder;
        EXPECT_EQ(sealed(key, static_cast<std::uint8_t>(i / 2 - 1), from_hex(said["payload"])),
                  from_hex(said["ciphertext"]));
      }
    }
  }
}

// A pair with one thing different at the responder.
bool understood(std::uint8_t psk_a, std::uint8_t psk_b, const Bytes& prologue_b, std::size_t flip) {
  const Bytes prologue{1, 2, 3};
  const NoiseKey a = key_of(psk_a), b = key_of(psk_b);
  Noise asks(NoisePattern::kNNpsk0, Noise::Side::kInitiator, prologue, a.span(), key_of(7));
  Noise answers(NoisePattern::kNNpsk0, Noise::Side::kResponder, prologue_b, b.span(), key_of(8));
  Bytes message, payload;
  EXPECT_TRUE(asks.write(Bytes(16, 5), message));
  if (flip < 8 * message.size()) message[flip / 8] ^= static_cast<std::uint8_t>(1U << flip % 8);
  return answers.read(message, payload);
}

TEST(Noise, NothingElseThanTheWholeMessageUnderTheSamePskIsUnderstood) {
  const Bytes prologue{1, 2, 3};
  const std::size_t bits = 8 * (16 + kNoiseOverhead);
  EXPECT_TRUE(understood(1, 1, prologue, bits));
  EXPECT_FALSE(understood(1, 2, prologue, bits));
  EXPECT_FALSE(understood(1, 1, {1, 2, 4}, bits));
  for (std::size_t bit = 0; bit < bits; ++bit) EXPECT_FALSE(understood(1, 1, prologue, bit)) << bit;
}

TEST(Noise, ShortMessagesAndKeysWithoutAProductAreRefused) {
  const NoiseKey psk = key_of(1);
  for (std::size_t size = 0; size < kNoiseOverhead; ++size) {
    Noise answers(NoisePattern::kNNpsk0, Noise::Side::kResponder, {}, psk.span(), key_of(8));
    Bytes payload;
    EXPECT_FALSE(answers.read(Bytes(size, 9), payload));
  }
  // The holder of the psk gives 0 for a public key: then all the world would know the product.
  Noise answers(NoisePattern::kNNpsk0, Noise::Side::kResponder, {}, psk.span(), key_of(8));
  Noise twin(NoisePattern::kNNpsk0, Noise::Side::kInitiator, {}, psk.span(), key_of(7));
  Bytes first, second, payload;
  ASSERT_TRUE(twin.write({}, first));
  ASSERT_TRUE(answers.read(first, payload));
  ASSERT_TRUE(answers.write({}, second));
  std::fill_n(second.begin(), kNoiseKeySize, std::uint8_t{0});
  EXPECT_FALSE(twin.read(second, payload));
}

TEST(Noise, EachHandshakeHasItsOwnKeys) {
  const NoiseKey psk = key_of(1);
  std::vector<Bytes> seen;
  for (std::uint8_t fresh = 1; fresh <= 4; ++fresh) {
    Noise asks(NoisePattern::kNNpsk0, Noise::Side::kInitiator, {}, psk.span(), key_of(fresh));
    Noise answers(NoisePattern::kNNpsk0, Noise::Side::kResponder, {}, psk.span(), key_of(99));
    Bytes message, payload;
    ASSERT_TRUE(asks.write({}, message) && answers.read(message, payload));
    ASSERT_TRUE(answers.write({}, message) && asks.read(message, payload));
    const NoiseKeys keys = asks.split();
    for (const NoiseKey* key : {&keys.from_initiator, &keys.from_responder}) {
      Bytes bytes(key->span().begin(), key->span().end());
      EXPECT_TRUE(std::ranges::find(seen, bytes) == seen.end());
      seen.push_back(std::move(bytes));
    }
  }
}

}  // namespace
}  // namespace bondd::mlvpn

#include "bondd/mlvpn/session/noise.h"

#include <sodium.h>

#include <cassert>
#include <string_view>
#include <utility>

namespace bondd::mlvpn {
namespace {

constexpr std::size_t kMac = 16;

std::string_view name_of(NoisePattern pattern) {
  switch (pattern) {
    case NoisePattern::kNNpsk0:
      return "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2b";
    case NoisePattern::kKKpsk0:
      return "Noise_KKpsk0_25519_ChaChaPoly_BLAKE2b";
  }
  return {};
}

// 4 zero bytes and the count, little-endian (section 12.3).
std::array<std::uint8_t, crypto_aead_chacha20poly1305_IETF_NPUBBYTES> nonce_of(std::uint64_t count) {
  std::array<std::uint8_t, crypto_aead_chacha20poly1305_IETF_NPUBBYTES> nonce{};
  for (std::size_t i = 0; i < 8; ++i) nonce[4 + i] = static_cast<std::uint8_t>(count >> (8 * i));
  return nonce;
}

}  // namespace

std::array<std::uint8_t, kNoiseKeySize> noise_public(std::span<const std::uint8_t, kNoiseKeySize> secret) {
  std::array<std::uint8_t, kNoiseKeySize> out;
  crypto_scalarmult_base(out.data(), secret.data());
  return out;
}

std::span<const Noise::Token> Noise::tokens(NoisePattern pattern, bool first) {
  static constexpr std::array kFirstNN{Token::kPsk, Token::kE};
  static constexpr std::array kSecondNN{Token::kE, Token::kEe};
  static constexpr std::array kFirstKK{Token::kPsk, Token::kE, Token::kEs, Token::kSs};
  static constexpr std::array kSecondKK{Token::kE, Token::kEe, Token::kSe};
  switch (pattern) {
    case NoisePattern::kNNpsk0:
      return first ? std::span<const Token>(kFirstNN) : kSecondNN;
    case NoisePattern::kKKpsk0:
      return first ? std::span<const Token>(kFirstKK) : kSecondKK;
  }
  return {};
}

Noise::Noise(NoisePattern pattern, Side side, std::span<const std::uint8_t> prologue,
             std::span<const std::uint8_t, 32> psk, NoiseKey fresh, std::optional<NoiseStatics> statics)
    : pattern_(pattern), initiator_(side == Side::kInitiator), psk_(psk), own_fresh_(std::move(fresh)) {
  // A name of at most 64 bytes is its own hash, with zeros behind (section 5.2).
  const std::string_view name = name_of(pattern);
  std::copy(name.begin(), name.end(), hash_.data());
  chaining_key_ = NoiseHash(std::as_const(hash_).span());
  mix_hash(prologue);
  if (pattern_ != NoisePattern::kKKpsk0) return;
  assert(statics);
  own_static_ = NoiseKey(statics->own_private);
  std::copy(statics->peer_public.begin(), statics->peer_public.end(), peer_static_.begin());
  const auto own = noise_public(own_static_.span());
  mix_hash(initiator_ ? own : peer_static_);
  mix_hash(initiator_ ? peer_static_ : own);
}

void Noise::mix_hash(std::span<const std::uint8_t> bytes) {
  hash_ = noise_hash({hash_.span(), bytes});
}

void Noise::set_key(const NoiseHash& from) {
  key_ = NoiseKey(from.span().first<kNoiseKeySize>());
  nonce_ = 0;
}

void Noise::mix_key(std::span<const std::uint8_t> input) {
  NoiseHash next, key;
  noise_hkdf(chaining_key_, input, next, key);
  chaining_key_ = std::move(next);
  set_key(key);
}

void Noise::mix_psk() {
  NoiseHash next, to_hash, key;
  noise_hkdf(chaining_key_, psk_.span(), next, to_hash, &key);
  chaining_key_ = std::move(next);
  mix_hash(to_hash.span());
  set_key(key);
}

// The two letters: whose key of the initiator's, and of the responder's.
bool Noise::mix_product(Token token) {
  const bool initiator_fresh = token == Token::kEe || token == Token::kEs;
  const bool responder_fresh = token == Token::kEe || token == Token::kSe;
  const bool mine_fresh = initiator_ ? initiator_fresh : responder_fresh;
  const bool its_fresh = initiator_ ? responder_fresh : initiator_fresh;
  const NoiseKey& mine = mine_fresh ? own_fresh_ : own_static_;
  NoiseKey product;
  if (crypto_scalarmult(product.data(), mine.data(), (its_fresh ? peer_fresh_ : peer_static_).data()) != 0)
    return false;
  mix_key(product.span());
  return true;
}

void Noise::encrypt(std::span<const std::uint8_t> payload, std::vector<std::uint8_t>& out) {
  const std::size_t at = out.size();
  out.resize(at + payload.size() + kMac);
  crypto_aead_chacha20poly1305_ietf_encrypt(&out[at], nullptr, payload.data(), payload.size(), hash_.data(),
                                            sizeof hash_, nullptr, nonce_of(nonce_++).data(), key_.data());
  mix_hash(std::span(out).subspan(at));
}

bool Noise::decrypt(std::span<const std::uint8_t> box, std::vector<std::uint8_t>& payload) {
  if (box.size() < kMac) return false;
  payload.resize(box.size() - kMac);
  if (crypto_aead_chacha20poly1305_ietf_decrypt(payload.data(), nullptr, nullptr, box.data(), box.size(),
                                                hash_.data(), sizeof hash_, nonce_of(nonce_++).data(),
                                                key_.data()) != 0) {
    return false;
  }
  mix_hash(box);
  return true;
}

bool Noise::write(std::span<const std::uint8_t> payload, std::vector<std::uint8_t>& out) {
  assert(first_ == initiator_);
  out.clear();
  for (const Token token : tokens(pattern_, std::exchange(first_, false))) {
    if (token == Token::kPsk) {
      mix_psk();
    } else if (token == Token::kE) {
      const auto fresh = noise_public(own_fresh_.span());
      out.insert(out.end(), fresh.begin(), fresh.end());
      mix_hash(fresh);
      mix_key(fresh);  // as in each handshake with a psk (section 9.2)
    } else if (!mix_product(token)) {
      return false;
    }
  }
  encrypt(payload, out);
  return true;
}

bool Noise::read(std::span<const std::uint8_t> message, std::vector<std::uint8_t>& payload) {
  assert(first_ != initiator_);
  if (message.size() < kNoiseOverhead) return false;
  for (const Token token : tokens(pattern_, std::exchange(first_, false))) {
    if (token == Token::kPsk) {
      mix_psk();
    } else if (token == Token::kE) {
      std::copy_n(message.begin(), kNoiseKeySize, peer_fresh_.begin());
      mix_hash(peer_fresh_);
      mix_key(peer_fresh_);
    } else if (!mix_product(token)) {
      return false;
    }
  }
  return decrypt(message.subspan(kNoiseKeySize), payload);
}

NoiseKeys Noise::split() {
  NoiseHash first, second;
  noise_hkdf(chaining_key_, {}, first, second);
  NoiseKeys keys{NoiseKey(std::as_const(first).span().first<kNoiseKeySize>()),
                 NoiseKey(std::as_const(second).span().first<kNoiseKeySize>())};
  chaining_key_ = NoiseHash();
  key_ = NoiseKey();
  psk_ = NoiseKey();
  own_fresh_ = NoiseKey();
  own_static_ = NoiseKey();
  return keys;
}

}  // namespace bondd::mlvpn

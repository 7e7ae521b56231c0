#include "bondd/mlvpn/session/noise_hash.h"

#include <sodium.h>

namespace bondd::mlvpn {
namespace {

constexpr std::size_t kBlock = 128;

struct Hasher {
  crypto_generichash_state state;
  Hasher() { crypto_generichash_init(&state, nullptr, 0, sizeof(NoiseHash)); }
  ~Hasher() { sodium_memzero(&state, sizeof state); }
  void add(std::span<const std::uint8_t> bytes) {
    crypto_generichash_update(&state, bytes.data(), bytes.size());
  }
  NoiseHash finish() {
    NoiseHash out;
    crypto_generichash_final(&state, out.data(), sizeof(NoiseHash));
    return out;
  }
};

}  // namespace

void wipe_bytes(std::span<std::uint8_t> bytes) {
  sodium_memzero(bytes.data(), bytes.size());
}

NoiseHash noise_hash(std::initializer_list<std::span<const std::uint8_t>> parts) {
  Hasher hasher;
  for (const auto& part : parts) hasher.add(part);
  return hasher.finish();
}

// `key` has 32 or 64 bytes here, never more than a block.
NoiseHash noise_hmac(std::span<const std::uint8_t> key,
                     std::initializer_list<std::span<const std::uint8_t>> parts) {
  Wiped<kBlock> inner, outer;
  for (std::size_t i = 0; i < kBlock; ++i) {
    const std::uint8_t byte = i < key.size() ? key[i] : 0;
    inner.data()[i] = byte ^ 0x36;
    outer.data()[i] = byte ^ 0x5c;
  }
  Hasher hasher;
  hasher.add(inner.span());
  for (const auto& part : parts) hasher.add(part);
  const NoiseHash inside = hasher.finish();
  return noise_hash({outer.span(), inside.span()});
}

void noise_hkdf(const NoiseHash& chaining_key, std::span<const std::uint8_t> input, NoiseHash& first,
                NoiseHash& second, NoiseHash* third) {
  static constexpr std::array<std::uint8_t, 3> kCount{1, 2, 3};
  const auto count = [](std::size_t n) { return std::span(kCount).subspan(n - 1, 1); };
  const NoiseHash temporary = noise_hmac(chaining_key.span(), {input});
  first = noise_hmac(temporary.span(), {count(1)});
  second = noise_hmac(temporary.span(), {first.span(), count(2)});
  if (third != nullptr) *third = noise_hmac(temporary.span(), {second.span(), count(3)});
}

}  // namespace bondd::mlvpn

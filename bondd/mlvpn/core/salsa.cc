#include "bondd/mlvpn/core/salsa.h"

#include <sodium.h>

#include <cstring>

#include "bondd/mlvpn/core/bytes.h"

namespace bondd::mlvpn {
namespace {

void derive_portable(const std::uint8_t key[32], const SalsaNonce* nonces, std::size_t count,
                     std::uint8_t (*subkeys)[32]) {
  std::uint8_t input[16] = {};
  for (std::size_t i = 0; i < count; ++i) {
    store_le(input, nonces[i].seq);
    store_le(input + 8, nonces[i].flow_id);
    crypto_core_hsalsa20(subkeys[i], input, key, nullptr);
  }
}

// libsodium's Salsa20 starts at a block's edge, but the text starts 32 bytes
// into block 0: that half block is XORed by hand.
void xor_portable(const std::uint8_t subkey[32], std::uint8_t poly_key[32], std::uint8_t* text,
                  std::size_t size) {
  static constexpr std::uint8_t kZeroNonce[8] = {};
  std::uint8_t first[64];
  crypto_stream_salsa20(first, sizeof first, kZeroNonce, subkey);
  std::memcpy(poly_key, first, 32);
  if (text == nullptr) return;
  const std::size_t head = size < 32 ? size : 32;
  for (std::size_t i = 0; i < head; ++i) text[i] ^= first[32 + i];
  if (size > 32) crypto_stream_salsa20_xor_ic(text + 32, text + 32, size - 32, kZeroNonce, 1, subkey);
  sodium_memzero(first, sizeof first);
}

constexpr SalsaOps kPortable{"libsodium", derive_portable, xor_portable};

}  // namespace

std::size_t all_salsa_ops(const SalsaOps* out[4]) {
  std::size_t n = 0;
  out[n++] = &kPortable;
  return n;
}

const SalsaOps& salsa_ops() {
  static const SalsaOps& best = [&]() -> const SalsaOps& {
    const SalsaOps* all[4];
    return *all[all_salsa_ops(all) - 1];
  }();
  return best;
}

}  // namespace bondd::mlvpn

// XSalsa20 keystreams for secretbox, by whatever the processor does best.
//
// For each packet: subkey = HSalsa20(key, first 16 bytes of the nonce), then
// Salsa20(subkey, last 8 bytes, which MLVPN leaves 0). The first 32 bytes of
// the stream are the Poly1305 key, the text is XORed with what follows.
#pragma once

#include <cstdint>

namespace bondd::mlvpn {

// Packets whose subkeys are derived at once.
inline constexpr std::size_t kSalsaBatch = 16;

struct SalsaNonce {
  std::uint64_t seq = 0;
  std::uint32_t flow_id = 0;
};

struct SalsaOps {
  const char* name;
  // subkeys[i] (32 bytes each) from the key and nonces[i]; count <= kSalsaBatch.
  void (*derive)(const std::uint8_t key[32], const SalsaNonce* nonces, std::size_t count,
                 std::uint8_t (*subkeys)[32]);
  // Writes the first 32 bytes of the stream to `poly_key` and XORs `text` with
  // what follows. With text == nullptr only the Poly1305 key.
  void (*xor_text)(const std::uint8_t subkey[32], std::uint8_t poly_key[32], std::uint8_t* text,
                   std::size_t size);
};

// The fastest that this processor runs; found once.
const SalsaOps& salsa_ops();
// All that this processor runs, the portable one first (for tests).
std::size_t all_salsa_ops(const SalsaOps* out[4]);

}  // namespace bondd::mlvpn

// XSalsa20 keystreams for secretbox, by whatever the processor does best.
//
// For each packet: subkey = HSalsa20(key, first 16 bytes of the nonce), then
// Salsa20(subkey, last 8 bytes, which MLVPN leaves 0) makes blocks of 64 bytes.
// The first 32 bytes of block 0 are the Poly1305 key; the text is XORed with
// the rest of block 0 and what follows. The subkeys and first blocks of many
// packets are made at once, one packet in each lane of a vector.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bondd::mlvpn {

// Packets whose streams are started at once.
inline constexpr std::size_t kSalsaBatch = 16;

struct SalsaNonce {
  std::uint64_t seq = 0;
  std::uint32_t flow_id = 0;
};

// One packet's stream, started.
struct SalsaStream {
  std::uint8_t subkey[32];
  std::uint8_t block0[64];
};

struct SalsaOps {
  const char* name;
  // Starts `count` streams, at most kSalsaBatch.
  void (*start)(const std::uint8_t key[32], const SalsaNonce* nonces, std::size_t count, SalsaStream* out);
  // text ^= blocks 1, 2, … of the stream.
  void (*xor_blocks)(const std::uint8_t subkey[32], std::uint8_t* text, std::size_t size);
};

// text ^= the stream from the second half of block 0 on.
void salsa_xor(const SalsaOps& ops, const SalsaStream& stream, std::uint8_t* text, std::size_t size);

// The fastest that this processor runs; found once.
const SalsaOps& salsa_ops();
// All that this processor runs, the portable one first; returns how many.
inline constexpr std::size_t kMaxSalsaOps = 3;
std::size_t all_salsa_ops(const SalsaOps* out[kMaxSalsaOps]);

}  // namespace bondd::mlvpn

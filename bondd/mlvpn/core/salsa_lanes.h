// Salsa20 in the lanes of a vector, for one vector type V (salsa_avx2.cc and
// salsa_avx512.cc). Included by files that are compiled for one processor:
// everything has internal linkage, so that no function compiled for a newer one
// can be taken elsewhere by the linker.
//
// V gives: kLanes, type, set1, load (kLanes words), add, xor_, rol<n>,
// store_blocks (see there).
#pragma once

#include <cstdint>
#include <cstring>

#include "bondd/mlvpn/core/salsa.h"

namespace bondd::mlvpn {
namespace {

inline constexpr std::uint32_t kSigma[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};

template <typename V>
using Word = typename V::type;

template <typename V>
[[gnu::always_inline]] inline void quarter(Word<V>& a, Word<V>& b, Word<V>& c, Word<V>& d) {
  b = V::xor_(b, V::template rol<7>(V::add(a, d)));
  c = V::xor_(c, V::template rol<9>(V::add(b, a)));
  d = V::xor_(d, V::template rol<13>(V::add(c, b)));
  a = V::xor_(a, V::template rol<18>(V::add(d, c)));
}

template <typename V>
[[gnu::always_inline]] inline void rounds(Word<V> x[16]) {
  for (int i = 0; i < 10; ++i) {
    quarter<V>(x[0], x[4], x[8], x[12]);
    quarter<V>(x[5], x[9], x[13], x[1]);
    quarter<V>(x[10], x[14], x[2], x[6]);
    quarter<V>(x[15], x[3], x[7], x[11]);
    quarter<V>(x[0], x[1], x[2], x[3]);
    quarter<V>(x[5], x[6], x[7], x[4]);
    quarter<V>(x[10], x[11], x[8], x[9]);
    quarter<V>(x[15], x[12], x[13], x[14]);
  }
}

// The state's words of constants.
template <typename V>
[[gnu::always_inline]] inline void set_sigma(Word<V> x[16]) {
  for (std::size_t i = 0; i < 4; ++i) x[i * 5] = V::set1(kSigma[i]);
}

// Blocks `counter` to counter + kLanes - 1 of one stream, XORed over `size`
// bytes of text (at most kLanes * 64).
template <typename V>
[[gnu::always_inline]] inline void xor_lanes(const std::uint32_t key[8], std::uint32_t counter,
                                             std::uint8_t* text, std::size_t size) {
  Word<V> in[16], x[16];
  set_sigma<V>(in);
  for (int i = 0; i < 4; ++i) {
    in[1 + i] = V::set1(key[i]);
    in[11 + i] = V::set1(key[4 + i]);
  }
  in[6] = in[7] = in[9] = V::set1(0);
  alignas(64) std::uint32_t counters[V::kLanes];
  for (std::uint32_t i = 0; i < V::kLanes; ++i) counters[i] = counter + i;
  in[8] = V::load(counters);
  for (int i = 0; i < 16; ++i) x[i] = in[i];
  rounds<V>(x);
  for (int i = 0; i < 16; ++i) x[i] = V::add(x[i], in[i]);
  V::xor_blocks(x, text, size);
}

// Starts kLanes streams: HSalsa20, then block 0, one packet in each lane.
template <typename V>
[[gnu::always_inline]] inline void start_lanes(const std::uint8_t key[32], const SalsaNonce* nonces,
                                               std::size_t count, SalsaStream* out) {
  std::uint32_t k[8];
  std::memcpy(k, key, sizeof k);
  alignas(64) std::uint32_t n[3][V::kLanes] = {};
  for (std::size_t i = 0; i < count; ++i) {
    n[0][i] = static_cast<std::uint32_t>(nonces[i].seq);
    n[1][i] = static_cast<std::uint32_t>(nonces[i].seq >> 32);
    n[2][i] = nonces[i].flow_id;
  }
  Word<V> x[16];
  set_sigma<V>(x);
  for (int i = 0; i < 4; ++i) {
    x[1 + i] = V::set1(k[i]);
    x[11 + i] = V::set1(k[4 + i]);
  }
  for (int i = 0; i < 3; ++i) x[6 + i] = V::load(n[i]);
  x[9] = V::set1(0);
  rounds<V>(x);
  // HSalsa20's output: the words of the constants and of the nonce.
  const Word<V> sub[8] = {x[0], x[5], x[10], x[15], x[6], x[7], x[8], x[9]};
  Word<V> in[16], y[16];
  set_sigma<V>(in);
  for (int i = 0; i < 4; ++i) {
    in[1 + i] = sub[i];
    in[11 + i] = sub[4 + i];
  }
  for (int i = 6; i < 10; ++i) in[i] = V::set1(0);
  for (int i = 0; i < 16; ++i) y[i] = in[i];
  rounds<V>(y);
  alignas(64) std::uint32_t words[24][V::kLanes];
  for (int i = 0; i < 8; ++i) V::store(words[i], sub[i]);
  for (int i = 0; i < 16; ++i) V::store(words[8 + i], V::add(y[i], in[i]));
  for (std::size_t lane = 0; lane < count; ++lane) {
    std::uint32_t flat[24];
    for (int i = 0; i < 24; ++i) flat[i] = words[i][lane];
    std::memcpy(out[lane].subkey, flat, 32);
    std::memcpy(out[lane].block0, flat + 8, 64);
  }
}

}  // namespace
}  // namespace bondd::mlvpn

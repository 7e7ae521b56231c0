// Eight lanes in 256 bits: what AVX2 and the narrow half of AVX-512 have in common. Internal
// linkage for the reason given in salsa_lanes.h.
#pragma once

#include <immintrin.h>

#include "bondd/mlvpn/core/salsa_lanes.h"

namespace bondd::mlvpn {
namespace {

struct EightLanes {
  using type = __m256i;
  static constexpr std::uint32_t kLanes = 8;
  static type set1(std::uint32_t v) { return _mm256_set1_epi32(static_cast<int>(v)); }
  static type load(const std::uint32_t* p) { return _mm256_load_si256(reinterpret_cast<const type*>(p)); }
  static void store(std::uint32_t* p, type v) { _mm256_store_si256(reinterpret_cast<type*>(p), v); }
  static type add(type a, type b) { return _mm256_add_epi32(a, b); }
  static type xor_(type a, type b) { return _mm256_xor_si256(a, b); }

  // Eight words of eight blocks -> eight times half a block.
  static void transpose(const type in[8], type out[8]) {
    type t[8], u[8];
    for (std::size_t i = 0; i < 4; ++i) {
      t[2 * i] = _mm256_unpacklo_epi32(in[2 * i], in[2 * i + 1]);
      t[2 * i + 1] = _mm256_unpackhi_epi32(in[2 * i], in[2 * i + 1]);
    }
    for (std::size_t i = 0; i < 2; ++i) {
      u[4 * i] = _mm256_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
      u[4 * i + 1] = _mm256_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
      u[4 * i + 2] = _mm256_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
      u[4 * i + 3] = _mm256_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      out[i] = _mm256_permute2x128_si256(u[i], u[4 + i], 0x20);
      out[4 + i] = _mm256_permute2x128_si256(u[i], u[4 + i], 0x31);
    }
  }
};

}  // namespace
}  // namespace bondd::mlvpn

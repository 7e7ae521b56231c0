// Salsa20 in sixteen lanes, for processors with AVX-512 (F, BW, VL): a rotation
// is one instruction, and tails are masked instead of looped over.
#include "bondd/mlvpn/core/salsa_eight_lanes.h"

namespace bondd::mlvpn {
namespace {

struct Avx512 {
  using type = __m512i;
  static constexpr std::uint32_t kLanes = 16;
  static type set1(std::uint32_t v) { return _mm512_set1_epi32(static_cast<int>(v)); }
  static type load(const std::uint32_t* p) { return _mm512_load_si512(p); }
  static void store(std::uint32_t* p, type v) { _mm512_store_si512(p, v); }
  static type add(type a, type b) { return _mm512_add_epi32(a, b); }
  static type xor_(type a, type b) { return _mm512_xor_si512(a, b); }
  template <int n>
  static type rol(type v) {
    return _mm512_rol_epi32(v, n);
  }

  static void xor_block(type block, std::uint8_t* text, std::size_t size) {
    if (size >= 64) {
      _mm512_storeu_si512(text, xor_(_mm512_loadu_si512(text), block));
      return;
    }
    const __mmask64 mask = (std::uint64_t{1} << size) - 1;
    _mm512_mask_storeu_epi8(text, mask, xor_(_mm512_maskz_loadu_epi8(mask, text), block));
  }

  // Sixteen words of sixteen blocks -> sixteen blocks, each XORed over its text.
  static void xor_blocks(const type x[16], std::uint8_t* text, std::size_t size) {
    type t[16], u[16];
    for (std::size_t i = 0; i < 8; ++i) {
      t[2 * i] = _mm512_unpacklo_epi32(x[2 * i], x[2 * i + 1]);
      t[2 * i + 1] = _mm512_unpackhi_epi32(x[2 * i], x[2 * i + 1]);
    }
    for (std::size_t i = 0; i < 4; ++i) {  // u[4i + j]: words 4i to 4i + 3 of blocks j, j + 4, j + 8, j + 12
      u[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
      u[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
      u[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
      u[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    type blocks[16];
    for (std::size_t j = 0; j < 4; ++j) {
      const type a = _mm512_shuffle_i32x4(u[j], u[4 + j], 0x88);
      const type b = _mm512_shuffle_i32x4(u[8 + j], u[12 + j], 0x88);
      const type c = _mm512_shuffle_i32x4(u[j], u[4 + j], 0xdd);
      const type d = _mm512_shuffle_i32x4(u[8 + j], u[12 + j], 0xdd);
      blocks[j] = _mm512_shuffle_i32x4(a, b, 0x88);
      blocks[j + 8] = _mm512_shuffle_i32x4(a, b, 0xdd);
      blocks[j + 4] = _mm512_shuffle_i32x4(c, d, 0x88);
      blocks[j + 12] = _mm512_shuffle_i32x4(c, d, 0xdd);
    }
    for (std::size_t b = 0; b < kLanes && size > 0; ++b) {
      const std::size_t n = size < 64 ? size : 64;
      xor_block(blocks[b], text, n);
      text += n;
      size -= n;
    }
  }
};

// Half as wide, for the end of a packet.
struct Avx512Half : EightLanes {
  template <int n>
  static type rol(type v) {
    return _mm256_rol_epi32(v, n);
  }

  static void xor_blocks(const type x[16], std::uint8_t* text, std::size_t size) {
    type low[8], high[8];
    transpose(x, low);
    transpose(x + 8, high);
    for (std::size_t b = 0; b < kLanes && size > 0; ++b) {
      const std::size_t n = size < 64 ? size : 64;
      Avx512::xor_block(_mm512_inserti64x4(_mm512_castsi256_si512(low[b]), high[b], 1), text, n);
      text += n;
      size -= n;
    }
  }
};

void start(const std::uint8_t key[32], const SalsaNonce* nonces, std::size_t count, SalsaStream* out) {
  start_lanes<Avx512>(key, nonces, count, out);
}

void xor_all(const std::uint8_t subkey[32], std::uint8_t* text, std::size_t size) {
  std::uint32_t key[8];
  std::memcpy(key, subkey, sizeof key);
  std::uint32_t counter = 1;
  while (size > 512) {
    const std::size_t n = size < 1024 ? size : 1024;
    xor_lanes<Avx512>(key, counter, text, n);
    counter += Avx512::kLanes;
    text += n;
    size -= n;
  }
  if (size > 0) xor_lanes<Avx512Half>(key, counter, text, size);
}

}  // namespace

extern const SalsaOps kSalsaAvx512;
const SalsaOps kSalsaAvx512{"avx512", start, xor_all};

}  // namespace bondd::mlvpn

// Salsa20 in eight lanes, for processors with AVX2.
#include "bondd/mlvpn/core/salsa_eight_lanes.h"

namespace bondd::mlvpn {
namespace {

struct Avx2 : EightLanes {
  template <int n>
  static type rol(type v) {
    return _mm256_or_si256(_mm256_slli_epi32(v, n), _mm256_srli_epi32(v, 32 - n));
  }

  static void xor_blocks(const type x[16], std::uint8_t* text, std::size_t size) {
    type low[8], high[8];
    transpose(x, low);
    transpose(x + 8, high);
    for (std::size_t b = 0; b < kLanes && size > 0; ++b) {
      for (int h = 0; h < 2; ++h) {
        const type half = h == 0 ? low[b] : high[b];
        if (size >= 32) {
          auto* p = reinterpret_cast<type*>(text);
          _mm256_storeu_si256(p, xor_(_mm256_loadu_si256(p), half));
          text += 32;
          size -= 32;
        } else if (size > 0) {
          alignas(32) std::uint8_t stream[32];
          _mm256_store_si256(reinterpret_cast<type*>(stream), half);
          for (std::size_t i = 0; i < size; ++i) text[i] ^= stream[i];
          size = 0;
        }
      }
    }
  }
};

void start(const std::uint8_t key[32], const SalsaNonce* nonces, std::size_t count, SalsaStream* out) {
  for (std::size_t i = 0; i < count; i += Avx2::kLanes) {
    start_lanes<Avx2>(key, nonces + i, count - i < Avx2::kLanes ? count - i : Avx2::kLanes, out + i);
  }
}

void xor_all(const std::uint8_t subkey[32], std::uint8_t* text, std::size_t size) {
  std::uint32_t key[8];
  std::memcpy(key, subkey, sizeof key);
  for (std::uint32_t counter = 1; size > 0; counter += Avx2::kLanes) {
    const std::size_t n = size < 512 ? size : 512;
    xor_lanes<Avx2>(key, counter, text, n);
    text += n;
    size -= n;
  }
}

}  // namespace

extern const SalsaOps kSalsaAvx2;
const SalsaOps kSalsaAvx2{"avx2", start, xor_all};

}  // namespace bondd::mlvpn

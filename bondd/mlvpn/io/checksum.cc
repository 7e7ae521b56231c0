#include "bondd/mlvpn/io/checksum.h"

#include <arpa/inet.h>

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bondd::mlvpn {
namespace {

template <typename Word>
Word load(const std::uint8_t* from) {
  Word word = 0;
  std::memcpy(&word, from, sizeof(word));
  return word;
}

// A sum cannot overflow: 32-bit words into 64 bits leave room for 4 billion.
std::uint64_t add_words(const std::uint8_t* data, std::size_t size, std::uint64_t sum) {
  std::uint64_t even = 0;
  std::uint64_t odd = 0;
  for (; size >= 8; data += 8, size -= 8) {
    even += load<std::uint32_t>(data);
    odd += load<std::uint32_t>(data + 4);
  }
  sum += even + odd;
  if (size >= 4) {
    sum += load<std::uint32_t>(data);
    data += 4;
    size -= 4;
  }
  std::uint32_t tail = 0;
  std::memcpy(&tail, data, size);
  return sum + tail;
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] std::uint64_t add_words_avx2(const std::uint8_t* data, std::size_t size,
                                                     std::uint64_t sum) {
  const __m256i low_half = _mm256_set1_epi64x(0xffffffff);
  __m256i even = _mm256_setzero_si256();
  __m256i odd = _mm256_setzero_si256();
  for (; size >= 32; data += 32, size -= 32) {
    const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data));
    even = _mm256_add_epi64(even, _mm256_and_si256(words, low_half));
    odd = _mm256_add_epi64(odd, _mm256_srli_epi64(words, 32));
  }
  alignas(32) std::uint64_t lanes[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), _mm256_add_epi64(even, odd));
  return add_words(data, size, sum + lanes[0] + lanes[1] + lanes[2] + lanes[3]);
}

const bool kHaveAvx2 = __builtin_cpu_supports("avx2") != 0;
#endif

}  // namespace

std::uint64_t checksum_add(std::span<const std::uint8_t> data, std::uint64_t sum) {
#if defined(__x86_64__)
  if (kHaveAvx2 && data.size() >= 64) return add_words_avx2(data.data(), data.size(), sum);
#endif
  return add_words(data.data(), data.size(), sum);
}

std::uint16_t checksum_fold(std::uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}

std::uint64_t pseudo_header_sum(std::span<const std::uint8_t> addresses, std::uint8_t protocol,
                                std::size_t length) {
  const std::uint64_t fixed =
      htonl(static_cast<std::uint32_t>(length)) + std::uint64_t{htonl(static_cast<std::uint32_t>(protocol))};
  return checksum_add(addresses, fixed);
}

}  // namespace bondd::mlvpn

#include "bondd/mlvpn/core/salsa.h"

#include <sodium.h>

#include <algorithm>
#include <cstring>

#include "bondd/mlvpn/core/bytes.h"

namespace bondd::mlvpn {

#if defined(__x86_64__)
extern const SalsaOps kSalsaAvx2;
extern const SalsaOps kSalsaAvx512;
#endif

namespace {

constexpr std::uint8_t kZeroNonce[8] = {};

void start_portable(const std::uint8_t key[32], const SalsaNonce* nonces, std::size_t count,
                    SalsaStream* out) {
  std::uint8_t input[16] = {};
  for (std::size_t i = 0; i < count; ++i) {
    store_le(input, nonces[i].seq);
    store_le(input + 8, nonces[i].flow_id);
    crypto_core_hsalsa20(out[i].subkey, input, key, nullptr);
    crypto_stream_salsa20(out[i].block0, sizeof out[i].block0, kZeroNonce, out[i].subkey);
  }
}

void xor_portable(const std::uint8_t subkey[32], std::uint8_t* text, std::size_t size) {
  crypto_stream_salsa20_xor_ic(text, text, size, kZeroNonce, 1, subkey);
}

constexpr SalsaOps kPortable{"libsodium", start_portable, xor_portable};

}  // namespace

void salsa_xor(const SalsaOps& ops, const SalsaStream& stream, std::uint8_t* text, std::size_t size) {
  const std::size_t head = std::min<std::size_t>(size, 32);
  for (std::size_t i = 0; i < head; ++i) text[i] ^= stream.block0[32 + i];
  if (size > head) ops.xor_blocks(stream.subkey, text + head, size - head);
}

std::size_t all_salsa_ops(const SalsaOps* out[kMaxSalsaOps]) {
  std::size_t n = 0;
  out[n++] = &kPortable;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) out[n++] = &kSalsaAvx2;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl")) {
    out[n++] = &kSalsaAvx512;
  }
#endif
  return n;
}

const SalsaOps& salsa_ops() {
  static const SalsaOps& best = []() -> const SalsaOps& {
    const SalsaOps* all[kMaxSalsaOps];
    return *all[all_salsa_ops(all) - 1];
  }();
  return best;
}

}  // namespace bondd::mlvpn

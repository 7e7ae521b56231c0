#include "bondd/mlvpn/core/random.h"

#include <sodium.h>

#include <utility>

#include "bondd/mlvpn/core/bytes.h"

namespace bondd::mlvpn {

Wiped<32> Random::fresh_key() {
  std::uint8_t nonce[8];
  store_le(nonce, counter_);
  counter_ = 0;
  Wiped<64> out;
  crypto_stream_chacha20(out.data(), sizeof out, nonce, seed_.data());
  seed_ = Wiped<32>(std::as_const(out).span().first<32>());
  return Wiped<32>(std::as_const(out).span().last<32>());
}

std::uint64_t Random::next64() {
  std::uint8_t nonce[8], out[8];
  store_le(nonce, counter_++);
  crypto_stream_chacha20(out, sizeof out, nonce, seed_.data());
  return load_le<std::uint64_t>(out);
}

}  // namespace bondd::mlvpn

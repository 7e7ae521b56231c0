#include "bondd/mlvpn/core/random.h"

#include <sodium.h>

#include "bondd/mlvpn/core/bytes.h"

namespace bondd::mlvpn {

std::uint64_t Random::next64() {
  std::uint8_t nonce[8], out[8];
  store_le(nonce, counter_++);
  crypto_stream_chacha20(out, sizeof out, nonce, seed_.data());
  return load_le<std::uint64_t>(out);
}

}  // namespace bondd::mlvpn

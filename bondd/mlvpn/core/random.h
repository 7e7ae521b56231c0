// Randomness from an injected seed: the same seed gives the same run, a seed
// from getrandom(2) gives numbers nobody can guess (ChaCha20 of a counter).
#pragma once

#include <array>
#include <cstdint>

#include "bondd/mlvpn/session/wiped.h"

namespace bondd::mlvpn {

class Random {
 public:
  explicit Random(const std::array<std::uint8_t, 32>& seed) : seed_(seed) {}
  std::uint64_t next64();
  // A secret. The seed is replaced with it, so that nothing which is left tells this key.
  Wiped<32> fresh_key();
  std::uint32_t next32() { return static_cast<std::uint32_t>(next64()); }

 private:
  Wiped<32> seed_;
  std::uint64_t counter_ = 0;
};

}  // namespace bondd::mlvpn

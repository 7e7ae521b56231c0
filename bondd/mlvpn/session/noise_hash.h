// BLAKE2b as the Noise Protocol Framework uses it (revision 34, sections 4.3 and 12.8): hashes of 64 bytes,
// HMAC over blocks of 128, and HKDF of these.
#pragma once

#include <initializer_list>

#include "bondd/mlvpn/session/wiped.h"

namespace bondd::mlvpn {

using NoiseHash = Wiped<64>;

// Of the parts, one after the other.
NoiseHash noise_hash(std::initializer_list<std::span<const std::uint8_t>> parts);
NoiseHash noise_hmac(std::span<const std::uint8_t> key,
                     std::initializer_list<std::span<const std::uint8_t>> parts);

// Fills two outputs, and the third where there is one.
void noise_hkdf(const NoiseHash& chaining_key, std::span<const std::uint8_t> input, NoiseHash& first,
                NoiseHash& second, NoiseHash* third = nullptr);

}  // namespace bondd::mlvpn

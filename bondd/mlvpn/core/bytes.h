// Integers from and to bytes in a stated order.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>

namespace bondd::mlvpn {

template <std::unsigned_integral T>
constexpr T byte_swapped(T v) {
  if constexpr (sizeof(T) == 2) return static_cast<T>(__builtin_bswap16(v));
  if constexpr (sizeof(T) == 4) return static_cast<T>(__builtin_bswap32(v));
  if constexpr (sizeof(T) == 8) return static_cast<T>(__builtin_bswap64(v));
  return v;
}

template <std::unsigned_integral T>
T load_be(const std::uint8_t* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return std::endian::native == std::endian::little ? byte_swapped(v) : v;
}

template <std::unsigned_integral T>
T load_le(const std::uint8_t* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return std::endian::native == std::endian::little ? v : byte_swapped(v);
}

template <std::unsigned_integral T>
void store_be(std::uint8_t* p, T v) {
  if (std::endian::native == std::endian::little) v = byte_swapped(v);
  std::memcpy(p, &v, sizeof v);
}

template <std::unsigned_integral T>
void store_le(std::uint8_t* p, T v) {
  if (std::endian::native != std::endian::little) v = byte_swapped(v);
  std::memcpy(p, &v, sizeof v);
}

}  // namespace bondd::mlvpn

// Bytes of a fixed number that are wiped when they go, and when they are moved from. Cannot be copied.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

namespace bondd::mlvpn {

void wipe_bytes(std::span<std::uint8_t> bytes);

template <std::size_t N>
class Wiped {
 public:
  Wiped() = default;
  explicit Wiped(std::span<const std::uint8_t, N> bytes) {
    std::copy(bytes.begin(), bytes.end(), bytes_.begin());
  }
  Wiped(Wiped&& other) noexcept : bytes_(other.bytes_) { wipe_bytes(other.bytes_); }
  Wiped& operator=(Wiped&& other) noexcept {
    if (this == &other) return *this;
    bytes_ = other.bytes_;
    wipe_bytes(other.bytes_);
    return *this;
  }
  Wiped(const Wiped&) = delete;
  Wiped& operator=(const Wiped&) = delete;
  ~Wiped() { wipe_bytes(bytes_); }

  [[nodiscard]] std::uint8_t* data() { return bytes_.data(); }
  [[nodiscard]] const std::uint8_t* data() const { return bytes_.data(); }
  [[nodiscard]] std::span<std::uint8_t, N> span() { return bytes_; }
  [[nodiscard]] std::span<const std::uint8_t, N> span() const { return bytes_; }

 private:
  std::array<std::uint8_t, N> bytes_{};
};

}  // namespace bondd::mlvpn

// A fuzz input read as small numbers and pieces, so that most inputs mean something.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace bondd::test {

class FuzzReader {
 public:
  FuzzReader(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}

  [[nodiscard]] bool done() const { return rest_.empty(); }

  // 0 once the input is used up.
  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const std::uint8_t value = rest_[0];
    rest_ = rest_.subspan(1);
    return value;
  }
  bool flag() { return (byte() & 1) != 0; }
  template <typename T>
  T number() {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) value = value << 8 | byte();
    return static_cast<T>(value);
  }
  // `size` bytes of the input, or what is left of it.
  std::vector<std::uint8_t> bytes(std::size_t size) {
    const auto taken = rest_.first(std::min(size, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return {taken.begin(), taken.end()};
  }
  // The same, filled up with `fill`.
  std::vector<std::uint8_t> exactly(std::size_t size, std::uint8_t fill = 0) {
    auto out = bytes(size);
    out.resize(size, fill);
    return out;
  }

 private:
  std::span<const std::uint8_t> rest_;
};

}  // namespace bondd::test

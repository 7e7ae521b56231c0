#include "bondd/control/telling.h"

#include <algorithm>
#include <array>

namespace bondd::control {
namespace {

// No probe begins so; then the text's length, big-endian.
constexpr std::array<std::uint8_t, 4> kMagic = {'b', 'n', 't', 1};
constexpr std::size_t kFront = kMagic.size() + 2;

}  // namespace

std::vector<std::uint8_t> render_telling(std::string_view text) {
  text = text.substr(0, kMostTelling);
  std::vector<std::uint8_t> out(kMagic.begin(), kMagic.end());
  out.push_back(static_cast<std::uint8_t>(text.size() >> 8U));
  out.push_back(static_cast<std::uint8_t>(text.size()));
  out.insert(out.end(), text.begin(), text.end());
  return out;
}

std::optional<std::string> parse_telling(std::span<const std::uint8_t> payload) {
  if (payload.size() < kFront || !std::equal(kMagic.begin(), kMagic.end(), payload.begin()))
    return std::nullopt;
  const std::size_t size = std::size_t{payload[4]} << 8U | payload[5];
  if (size > kMostTelling || size > payload.size() - kFront) return std::nullopt;
  return std::string(payload.begin() + kFront, payload.begin() + static_cast<std::ptrdiff_t>(kFront + size));
}

}  // namespace bondd::control

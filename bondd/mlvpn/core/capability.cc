#include "bondd/mlvpn/core/capability.h"

#include <cstring>

#include "bondd/mlvpn/core/bytes.h"

namespace bondd::mlvpn {
namespace {
constexpr std::uint8_t kMagic[4] = {'b', 'n', 'd', 1};
}

std::optional<Announcement> parse_announcement(std::span<const std::uint8_t> body) {
  if (body.size() < kAnnouncementSize || std::memcmp(body.data(), kMagic, sizeof kMagic) != 0)
    return std::nullopt;
  return Announcement{load_be<std::uint32_t>(body.data() + 4), load_be<std::uint64_t>(body.data() + 8),
                      load_be<std::uint64_t>(body.data() + 16)};
}

void render_announcement(const Announcement& announcement, std::uint8_t out[kAnnouncementSize]) {
  std::memcpy(out, kMagic, sizeof kMagic);
  store_be(out + 4, announcement.capabilities);
  store_be(out + 8, announcement.session);
  store_be(out + 16, announcement.challenge);
}

}  // namespace bondd::mlvpn

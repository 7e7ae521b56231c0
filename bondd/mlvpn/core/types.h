// Small value types that the whole engine shares.
#pragma once

#include <compare>
#include <cstdint>

#include "bondd/base/ip.h"
#include "bondd/base/units.h"

namespace bondd::mlvpn {

// Which link; also names the UDP socket that io opened for that link (then
// called the *path*). Given out by Engine::add_link, not used again after
// remove_link within one engine until all 256 were used.
using LinkId = std::uint8_t;
inline constexpr std::size_t kMaxLinks = 32;  // at one time

// The far end of a UDP path.
struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;  // host order
  // Our own address that it sent to, where the socket has none of its own: answers leave from
  // there. Unspecified: the kernel's choice.
  IpAddress local{};

  auto operator<=>(const Endpoint&) const = default;
};

enum class Role : std::uint8_t { kClient, kServer };
enum class DeviceKind : std::uint8_t { kTun, kTap };

}  // namespace bondd::mlvpn

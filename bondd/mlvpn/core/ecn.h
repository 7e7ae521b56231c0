// Explicit Congestion Notification of the packets inside (RFC 3168).
#pragma once

#include <cstdint>
#include <span>

#include "bondd/mlvpn/core/types.h"

namespace bondd::mlvpn {

// Marks `packet`, as the device gave it, as one that met congestion (CE), so that its sender slows down
// without a packet lost; an IPv4 header's checksum stays right. Also true when it bears the mark already.
// False, and nothing changed, when its sender does not understand the mark, or there is no whole IP header.
bool mark_congestion(std::span<std::uint8_t> packet, DeviceKind device);

}  // namespace bondd::mlvpn

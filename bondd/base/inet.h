// What several programs of the IP family need: the kernel's form of an address, the headers' checksum.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <span>

#include "bondd/base/ip.h"

namespace bondd {

// `address` must be an IPv4 one; `port` in host order.
sockaddr_in to_sockaddr(const IpAddress& address, std::uint16_t port = 0);

// 127.0.0.0/8 or ::1: reached from this machine only.
bool is_loopback(const IpAddress& address);

// RFC 1071, over an even number of bytes; in host order.
std::uint16_t internet_checksum(std::span<const std::uint8_t> bytes);

}  // namespace bondd

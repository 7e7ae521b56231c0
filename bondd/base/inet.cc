#include "bondd/base/inet.h"

#include <cstring>

namespace bondd {

sockaddr_in to_sockaddr(const IpAddress& address, std::uint16_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  std::memcpy(&out.sin_addr, address.data(), sizeof out.sin_addr);
  return out;
}

bool is_loopback(const IpAddress& address) {
  static const IpAddress kIpv6 = parse_ip("::1").value();
  return address.is_v4() ? address.data()[0] == 127 : address == kIpv6;
}

std::uint16_t internet_checksum(std::span<const std::uint8_t> bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2)
    sum += static_cast<std::uint32_t>(bytes[i] << 8U | bytes[i + 1]);
  while (sum >> 16U != 0) sum = (sum & 0xffffU) + (sum >> 16U);
  return static_cast<std::uint16_t>(~sum);
}

}  // namespace bondd

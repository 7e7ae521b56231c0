#include "bondd/mlvpn/io/endpoint.h"

#include <arpa/inet.h>

#include <array>
#include <cstring>

namespace bondd::mlvpn {

SocketAddress::SocketAddress(const Endpoint& endpoint) {
  if (endpoint.address.is_v4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(endpoint.port);
    std::memcpy(&v4.sin_addr, endpoint.address.data(), sizeof(v4.sin_addr));
    std::memcpy(&storage_, &v4, sizeof(v4));
    return;
  }
  storage_.sin6_family = AF_INET6;
  storage_.sin6_port = htons(endpoint.port);
  std::memcpy(&storage_.sin6_addr, endpoint.address.data(), sizeof(storage_.sin6_addr));
}

Endpoint SocketAddress::endpoint() const {
  if (storage_.sin6_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &storage_, sizeof(v4));
    return {IpAddress::v4(ntohl(v4.sin_addr.s_addr)), ntohs(v4.sin_port)};
  }
  if (storage_.sin6_family != AF_INET6) return {};
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), &storage_.sin6_addr, bytes.size());
  return {IpAddress::v6(bytes), ntohs(storage_.sin6_port)};
}

}  // namespace bondd::mlvpn

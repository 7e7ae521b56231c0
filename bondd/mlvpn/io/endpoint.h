// Between Endpoint and the kernel's sockaddr.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "bondd/mlvpn/core/types.h"

namespace bondd::mlvpn {

// Room for the address of one UDP message; cheap to make for every message.
class SocketAddress {
 public:
  SocketAddress() = default;
  explicit SocketAddress(const Endpoint& endpoint);

  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage_); }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  [[nodiscard]] socklen_t size() const {
    return storage_.sin6_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  }
  static constexpr socklen_t capacity() { return sizeof(sockaddr_in6); }
  // What the kernel wrote; 0.0.0.0 port 0 for another family.
  [[nodiscard]] Endpoint endpoint() const;

 private:
  sockaddr_in6 storage_{};
};

}  // namespace bondd::mlvpn

// The kernel's multicast groups, as a doorbell.
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "netlink/rtnl.h"

namespace bondd::netlink {
namespace {

constexpr std::array kGroups{RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
                             RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE,   RTNLGRP_NEXTHOP};

struct Close {
  void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
};
using SocketPtr = std::unique_ptr<mnl_socket, Close>;

class KernelMonitor final : public Monitor {
 public:
  explicit KernelMonitor(SocketPtr socket) : socket_(std::move(socket)) {}

  [[nodiscard]] int fd() const override { return mnl_socket_get_fd(socket_.get()); }

  bool drain() override {
    bool changed = false;
    std::array<char, 256> buffer;  // the content does not matter, so it may be cut
    for (;;) {
      const ssize_t size = ::recv(fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      const bool lost_some = size < 0 && errno == ENOBUFS;  // the queue was full
      if (size >= 0 || lost_some) {
        changed = true;
      } else if (errno != EINTR) {
        return changed;
      }
    }
  }

 private:
  SocketPtr socket_;
};

}  // namespace

Result<std::unique_ptr<Monitor>> make_monitor() {
  SocketPtr socket(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket) return errno_failure("netlink socket");
  if (mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) return errno_failure("netlink bind");
  for (int group : kGroups) {
    const bool joined =
        mnl_socket_setsockopt(socket.get(), NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) >= 0;
    // A kernel without IPv6 or policy routing has no such group, and nothing to tell.
    if (!joined && errno != EINVAL) return errno_failure("netlink group");
  }
  return std::make_unique<KernelMonitor>(std::move(socket));
}

}  // namespace bondd::netlink

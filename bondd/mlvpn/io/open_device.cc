#include "bondd/mlvpn/io/open_device.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

#include "bondd/mlvpn/io/endpoint.h"

namespace bondd::mlvpn {
namespace {

void set_buffer(int fd, int force, int polite, int size) {
  if (setsockopt(fd, SOL_SOCKET, force, &size, sizeof(size)) == 0) return;
  (void)setsockopt(fd, SOL_SOCKET, polite, &size, sizeof(size));  // the kernel caps it, never fails
}

template <typename Value>
Result<> set_option(int fd, int level, int option, const Value& value, const char* what) {
  if (setsockopt(fd, level, option, &value, sizeof(value)) == 0) return {};
  return errno_failure(what);
}

}  // namespace

Result<UniqueFd> open_tun(const std::string& name, bool tap) {
  if (name.empty() || name.size() >= IFNAMSIZ) {
    return failure("interface name \"" + name + "\" must have 1 to 15 characters");
  }
  UniqueFd fd(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd) return errno_failure("/dev/net/tun");
  unsigned features = 0;
  if (ioctl(fd.get(), TUNGETFEATURES, &features) != 0) features = 0;
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), name.size());
  request.ifr_flags = static_cast<short>((tap ? IFF_TAP : IFF_TUN) | IFF_NO_PI);
  if ((features & IFF_VNET_HDR) != 0)
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_VNET_HDR);
  if (ioctl(fd.get(), TUNSETIFF, &request) != 0) return errno_failure("create " + name);
  return fd;
}

Result<UniqueFd> open_udp(const UdpOptions& options) {
  const int af = options.family == Family::kIpv4 ? AF_INET : AF_INET6;
  UniqueFd fd(socket(af, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP));
  if (!fd) return errno_failure("UDP socket");
  if (af == AF_INET6) {
    if (auto done = set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY"); !done) {
      return tl::make_unexpected(done.error());
    }
  }
  if (options.mark != 0) {
    if (auto done = set_option(fd.get(), SOL_SOCKET, SO_MARK, options.mark, "SO_MARK"); !done) {
      return tl::make_unexpected(done.error());
    }
  }
  if (!options.device.empty() && setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, options.device.data(),
                                            static_cast<socklen_t>(options.device.size())) != 0) {
    return errno_failure("bind to device " + options.device);
  }
  set_buffer(fd.get(), SO_RCVBUFFORCE, SO_RCVBUF, options.receive_buffer);
  set_buffer(fd.get(), SO_SNDBUFFORCE, SO_SNDBUF, options.send_buffer);
  const IpAddress any = options.family == Family::kIpv4 ? IpAddress() : IpAddress::v6({});
  // Anybody can forge a router's word about the path's MTU. Without DF a router that needs
  // smaller packets makes fragments, and needs no word. Only IPv6 has no such routers; there
  // the kernel believes no word below 1280.
  if (af == AF_INET) {
    const int mtu_discovery = IP_PMTUDISC_OMIT;
    if (auto done = set_option(fd.get(), IPPROTO_IP, IP_MTU_DISCOVER, mtu_discovery, "IP_MTU_DISCOVER");
        !done) {
      return tl::make_unexpected(done.error());
    }
  }
  // A socket of all addresses answers from the one that was asked.
  if (!options.address || options.address->is_unspecified()) {
    const int level = af == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
    const int option = af == AF_INET ? IP_PKTINFO : IPV6_RECVPKTINFO;
    if (auto done = set_option(fd.get(), level, option, 1, "IP_PKTINFO"); !done) {
      return tl::make_unexpected(done.error());
    }
  }
  const Endpoint local{options.address.value_or(any), options.port};
  if (local.address.family() != options.family) return failure("address and family of a UDP socket differ");
  // An address that comes later (DHCP, PPP) is waited for: its packets fail until then, no other link's do.
  if (options.may_come_later) {
    [[maybe_unused]] const auto waits =
        af == AF_INET ? set_option(fd.get(), IPPROTO_IP, IP_FREEBIND, 1, "IP_FREEBIND")
                      : set_option(fd.get(), IPPROTO_IPV6, IPV6_FREEBIND, 1, "IPV6_FREEBIND");
  }
  const SocketAddress address(local);
  if (bind(fd.get(), address.get(), address.size()) != 0) {
    return errno_failure("bind UDP " + to_string(local.address) + " port " + std::to_string(local.port));
  }
  return fd;
}

}  // namespace bondd::mlvpn

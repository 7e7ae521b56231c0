#include "netlink/tuntap.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include <cstring>

namespace bondd::netlink {
namespace {

// Gets a descriptor that is attached to the device `link`; `flags` on top of its kind.
Result<UniqueFd> attach(const Link& link, int flags) {
  UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!fd && (errno == ENOENT || errno == ENODEV || errno == ENXIO)) {
    return failure("/dev/net/tun is missing: this kernel has no tun driver (modprobe tun)", errno);
  }
  if (!fd) return errno_failure("/dev/net/tun");
  ifreq request{};
  std::strncpy(request.ifr_name, link.name.c_str(), IFNAMSIZ - 1);
  const int kind = link.kind == LinkKind::kTap ? IFF_TAP : IFF_TUN;
  request.ifr_flags = static_cast<short>(kind | IFF_NO_PI | flags);
  if (::ioctl(fd.get(), TUNSETIFF, &request) < 0) return errno_failure("TUNSETIFF");
  return fd;
}

Result<> set_owner(const UniqueFd& fd, std::uint32_t uid) {
  if (::ioctl(fd.get(), TUNSETOWNER, static_cast<unsigned long>(uid)) < 0)
    return errno_failure("TUNSETOWNER");
  return {};
}

}  // namespace

Result<UniqueFd> create_tuntap(const Link& link) {
  auto fd = attach(link, IFF_TUN_EXCL);
  if (!fd || !link.owner_uid) return fd;
  if (auto owned = set_owner(*fd, *link.owner_uid); !owned) return tl::make_unexpected(owned.error());
  return fd;
}

Result<> make_persistent(const UniqueFd& tuntap) {
  if (::ioctl(tuntap.get(), TUNSETPERSIST, 1UL) < 0) return errno_failure("TUNSETPERSIST");
  return {};
}

Result<> change_owner(const Link& link) {
  const auto fd = attach(link, 0);
  if (!fd) return tl::make_unexpected(fd.error());
  return set_owner(*fd, link.owner_uid.value_or(0));
}

}  // namespace bondd::netlink

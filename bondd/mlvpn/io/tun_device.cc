#include "bondd/mlvpn/io/tun_device.h"

#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace bondd::mlvpn {
namespace {

// From linux/if_tun.h of 6.2; Debian 12's headers do not have them yet.
constexpr unsigned kTunUso4 = 0x20;
constexpr unsigned kTunUso6 = 0x40;

bool set_offload(int fd, unsigned flags) {
  return ioctl(fd, TUNSETOFFLOAD, flags) == 0;
}

// The kernel takes the whole set or nothing, so from the most to the least.
TunOffloads probe_offloads(int fd) {
  const unsigned tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  if (set_offload(fd, tso | kTunUso4 | kTunUso6)) return {true, true, true, true};
  if (set_offload(fd, tso)) return {true, true, true, false};
  if (set_offload(fd, TUN_F_CSUM | TUN_F_TSO4)) return {true, true, false, false};
  (void)set_offload(fd, 0);
  return {.vnet = true};
}

TunDevice::Status status_of(int error) {
  switch (error) {
    case EAGAIN:
    case EINTR:
      return TunDevice::Status::kEmpty;
    case EBADFD:
      return TunDevice::Status::kGone;
    default:
      return TunDevice::Status::kDropped;
  }
}

}  // namespace

std::string to_string(const TunOffloads& offloads) {
  std::string text;
  const std::array<std::pair<bool, const char*>, 4> names{
      {{offloads.vnet, "vnet"}, {offloads.tso4, "tso4"}, {offloads.tso6, "tso6"}, {offloads.uso, "uso"}}};
  for (const auto& [on, name] : names) {
    if (!on) continue;
    if (!text.empty()) text += ' ';
    text += name;
  }
  return text.empty() ? "none" : text;
}

Result<TunDevice> TunDevice::adopt(UniqueFd fd, bool wanted) {
  ifreq request{};
  if (ioctl(fd.get(), TUNGETIFF, &request) != 0) return errno_failure("not a tun or tap device");
  TunDevice device;
  device.name_ = request.ifr_name;
  device.kind_ = (request.ifr_flags & IFF_TAP) != 0 ? DeviceKind::kTap : DeviceKind::kTun;
  if ((request.ifr_flags & IFF_VNET_HDR) != 0) {
    if (wanted) {
      device.offloads_ = probe_offloads(fd.get());
    } else {
      (void)set_offload(fd.get(), 0);
      device.offloads_.vnet = true;
    }
  }
  device.fd_ = std::move(fd);
  return device;
}

TunDevice::Status TunDevice::read(std::span<std::uint8_t> buffer, VnetHeader& header,
                                  std::span<std::uint8_t>& packet) {
  std::array<iovec, 2> slices{{{&header, sizeof(header)}, {buffer.data(), buffer.size()}}};
  std::size_t size = 0;
  const Status status = read_scattered(header, slices, size);
  packet = buffer.first(size);
  return status;
}

TunDevice::Status TunDevice::read_scattered(VnetHeader& header, std::span<iovec> slices, std::size_t& size) {
  size = 0;
  if (!offloads_.vnet) {
    header = {};
    slices = slices.subspan(1);
  }
  const ssize_t got = ::readv(fd_.get(), slices.data(), static_cast<int>(slices.size()));
  if (got < 0) return status_of(errno);
  const std::size_t prefix = offloads_.vnet ? sizeof(header) : 0;
  if (static_cast<std::size_t>(got) <= prefix) return Status::kDropped;
  size = static_cast<std::size_t>(got) - prefix;
  return Status::kOk;
}

TunDevice::Status TunDevice::write(std::span<const iovec> slices) {
  if (!offloads_.vnet) slices = slices.subspan(1);
  if (::writev(fd_.get(), slices.data(), static_cast<int>(slices.size())) >= 0) return Status::kOk;
  // Nothing else was queued behind it, so dropping keeps the order; a tun's own
  // queue is full only when the stack behind it is out of memory.
  return errno == EBADFD ? Status::kGone : Status::kDropped;
}

}  // namespace bondd::mlvpn

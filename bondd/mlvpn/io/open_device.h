// The privileged part of the engine's input and output: making the tun and the
// UDP sockets. The supervisor (or a test driver) calls these and passes the
// descriptors to the engine process, which has no rights of its own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "bondd/base/error.h"
#include "bondd/base/ip.h"
#include "bondd/base/unique_fd.h"

namespace bondd::mlvpn {

// Opens (or creates) the tun or tap device `name` with IFF_NO_PI and, where the
// kernel has it, IFF_VNET_HDR; non-blocking. The device lives until the last
// descriptor is closed, so a supervisor that keeps one survives an engine's
// crash with its addresses and routes. EPERM without CAP_NET_ADMIN, EBUSY when
// another process holds the device. Equivalent to: ip tuntap add NAME mode tun.
Result<UniqueFd> open_tun(const std::string& name, bool tap);

// How one link's UDP socket is made.
struct UdpOptions {
  Family family = Family::kIpv4;
  std::optional<IpAddress> address;  // bind to it; unset: any
  std::uint16_t port = 0;            // 0: chosen by the kernel
  std::string device;                // SO_BINDTODEVICE; empty: any
  std::uint32_t mark = 0;            // SO_MARK, for policy routing; 0: none
  int receive_buffer = 8 << 20;      // bytes; a small one drops whole bursts
  int send_buffer = 1 << 20;
  bool may_come_later = false;  // bind to `address` though the machine may not have it yet
};

// A bound, non-blocking UDP socket. Buffers beyond net.core.rmem_max need
// CAP_NET_ADMIN and fall back to that limit without an error; a mark or device
// that is refused is an error. IPv6 sockets take IPv6 only.
Result<UniqueFd> open_udp(const UdpOptions& options);

}  // namespace bondd::mlvpn

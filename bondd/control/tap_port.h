// Frames of one EtherType on one tap, beside whatever the bond does with it: what
// the liveness probes go through.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "bondd/base/error.h"
#include "bondd/base/unique_fd.h"

namespace bondd::control {

// Whether the kernel's bond sends by this tap; what arrives by it is taken either way. As the link attribute
// IFLA_CARRIER does, but without a netlink socket: /sys/class/net/TAP/carrier.
Result<> set_carrier(const std::string& tap, bool carrier);
// Whether the device is a port of `bond` now.
bool is_port_of(const std::string& device, const std::string& bond);

class TapPort {
 public:
  // A packet socket bound to the device itself, so that frames of a slave that its bond ignores
  // arrive as well. ENODEV when there is no such device; EPERM without CAP_NET_RAW.
  static Result<TapPort> open(const std::string& device, std::uint16_t ether_type);

  [[nodiscard]] int fd() const { return fd_.get(); }
  // The device's index at open(): another one means that the device was made anew.
  [[nodiscard]] int index() const { return index_; }
  // To everybody at the other end. A full or missing device loses it silently: probes are repeated.
  void send(std::span<const std::uint8_t> payload);
  // The next frame's bytes after the Ethernet header, into `buffer`; empty when there is none.
  // Frames that this machine sent are left out.
  std::span<const std::uint8_t> receive(std::span<std::uint8_t> buffer);

 private:
  TapPort(UniqueFd fd, int index, std::uint16_t ether_type)
      : fd_(std::move(fd)), index_(index), ether_type_(ether_type) {}
  UniqueFd fd_;
  int index_;
  std::uint16_t ether_type_;
};

}  // namespace bondd::control

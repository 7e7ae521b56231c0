// The tun (or tap) device: reads of super-packets, writes of slices.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <string>

#include "bondd/base/error.h"
#include "bondd/base/unique_fd.h"
#include "bondd/mlvpn/core/types.h"
#include "bondd/mlvpn/io/coalesce.h"
#include "bondd/mlvpn/io/vnet_header.h"

namespace bondd::mlvpn {

// What the kernel agreed to, each found out by asking for it.
struct TunOffloads {
  bool vnet = false;  // packets carry a VnetHeader
  bool tso4 = false;
  bool tso6 = false;
  bool uso = false;  // from Linux 6.2 on

  [[nodiscard]] CoalesceOptions coalesce() const { return {tso4, tso6, uso}; }
};
std::string to_string(const TunOffloads& offloads);  // "vnet tso4 tso6 uso", "none"

class TunDevice {
 public:
  enum class Status : std::uint8_t {
    kOk,
    kEmpty,    // nothing to read now
    kDropped,  // the packet was refused (queue full, device down, malformed)
    kGone,     // the device was deleted: nothing will ever come again
  };

  // Largest packet that a read hands over, without the virtio header.
  static constexpr std::size_t kMaxRead = 65535 + 64;

  // Takes over a descriptor of open_tun() (or one made without IFF_VNET_HDR) and
  // turns on what offloads there are. `wanted` false leaves all off, for
  // comparison. Fails when `fd` is no tun. No privileges needed.
  static Result<TunDevice> adopt(UniqueFd fd, bool wanted = true);

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] DeviceKind kind() const { return kind_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const TunOffloads& offloads() const { return offloads_; }

  // One packet; on kOk `packet` is the part of `buffer` that it fills and `header`
  // says how to cut it. `buffer` has kMaxRead bytes or more.
  Status read(std::span<std::uint8_t> buffer, VnetHeader& header, std::span<std::uint8_t>& packet);
  // As read(), but into several places; `size` is the packet's without the header.
  Status read_scattered(VnetHeader& header, std::span<iovec> slices_with_header, std::size_t& size);

  // Writes one packet of Coalescer::slices(): the first slice is its VnetHeader.
  Status write(std::span<const iovec> slices);

 private:
  TunDevice() = default;

  UniqueFd fd_;
  DeviceKind kind_ = DeviceKind::kTun;
  std::string name_;
  TunOffloads offloads_;
};

}  // namespace bondd::mlvpn

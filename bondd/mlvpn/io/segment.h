// Cutting a super-packet read from the tun into packets for the wire, as a NIC
// with TSO would:
//
//   vnet | IP TCP | payload ............................ |   one read, up to 64 KiB
//     -> | IP TCP | gso_size |  | IP TCP | gso_size |  | IP TCP | rest |
//
// IP id + i, sequence + i * gso_size, FIN and PSH on the last only, CWR on the
// first only, IP and L4 checksums made anew. A packet without GSO gets its
// checksum completed when the kernel left that to us.
//
// The header comes from our own kernel, but every field is checked: a wrong one
// costs a packet, never memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "bondd/mlvpn/core/types.h"
#include "bondd/mlvpn/io/vnet_header.h"

namespace bondd::mlvpn {

enum class SegmentError : std::uint8_t {
  kNone,
  kMalformed,   // headers and lengths contradict each other
  kUnknownGso,  // a kind of offload that was never asked for
  kTooLarge,    // a segment would not fit `max_segment`
};

// How one packet from the tun is cut. Keeps a copy of its headers and borrows
// its payload.
class SegmentPlan {
 public:
  static constexpr std::size_t kMaxHeader = 256;  // Ethernet, IP with extensions, L4

  // Checks `header` and `packet`; may complete the checksum of a single packet in
  // place. `max_segment` is the largest packet, in bytes with all its headers, that
  // a link carries. On an error count() is 0.
  static SegmentPlan make(DeviceKind kind, const VnetHeader& header, std::span<std::uint8_t> packet,
                          std::size_t max_segment);
  // The same for a super-packet (header.gso_type is not kGsoNone) of `size` bytes
  // whose payload may lie elsewhere: `head` is its beginning, all of its headers or
  // more. Only write_headers() may be used then.
  static SegmentPlan make_scattered(DeviceKind kind, const VnetHeader& header,
                                    std::span<const std::uint8_t> head, std::size_t size,
                                    std::size_t max_segment);

  [[nodiscard]] SegmentError error() const { return error_; }
  [[nodiscard]] std::size_t count() const { return count_; }
  // Of a super-packet: where payload begins in each segment, and its bytes in all
  // segments but the last; together at most max_segment, whatever the header says. 0 and the whole for a
  // packet that is not cut.
  [[nodiscard]] std::size_t header_size() const { return header_size_; }
  [[nodiscard]] std::size_t gso_size() const { return gso_size_; }
  // Bytes of segment `index` with its headers; at most max_segment.
  [[nodiscard]] std::size_t size(std::size_t index) const { return header_size_ + payload_size(index); }
  // Writes segment `index` (below count()) to `out`, which has room for size(index).
  void write(std::size_t index, std::uint8_t* out) const;
  // Completes segment `index` at `out`, where its payload stands already.
  void write_headers(std::size_t index, std::uint8_t* out) const;

 private:
  SegmentError plan_single(const VnetHeader& header, std::span<std::uint8_t> packet, std::size_t max_segment);
  SegmentError plan_gso(DeviceKind kind, const VnetHeader& header, std::span<const std::uint8_t> head,
                        std::size_t max_segment);
  [[nodiscard]] std::size_t payload_size(std::size_t index) const;
  void finish_ip(std::size_t index, std::uint8_t* out, std::size_t size) const;
  void finish_tcp(std::size_t index, std::uint8_t* tcp) const;
  void finish_checksum(std::uint8_t* l4, std::size_t size) const;

  const std::uint8_t* payload_ = nullptr;
  std::size_t total_ = 0;  // bytes of the packet
  std::size_t count_ = 0;
  std::size_t header_size_ = 0;  // Ethernet, IP and L4; 0 for a packet that is not cut
  std::size_t gso_size_ = 0;
  std::size_t l3_ = 0;
  std::size_t l4_ = 0;
  std::uint64_t pseudo_sum_ = 0;   // of the addresses and the protocol, without a length
  std::uint16_t checksum_at_ = 0;  // from the L4 header
  bool ipv6_ = false;
  bool tcp_ = false;
  SegmentError error_ = SegmentError::kNone;
  std::array<std::uint8_t, kMaxHeader> headers_;
};

}  // namespace bondd::mlvpn

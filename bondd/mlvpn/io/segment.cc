#include "bondd/mlvpn/io/segment.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "bondd/mlvpn/io/checksum.h"
#include "bondd/mlvpn/io/ip_view.h"

namespace bondd::mlvpn {
namespace {

constexpr std::uint16_t kTcpChecksumAt = 16;
constexpr std::uint16_t kUdpChecksumAt = 6;

void store_sum(std::uint8_t* to, std::uint16_t value) {
  std::memcpy(to, &value, sizeof(value));
}

std::uint16_t load_sum(const std::uint8_t* from) {
  std::uint16_t value = 0;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

// A finished checksum. UDP says "none" with 0, so it sends 0 as its other form.
std::uint16_t finished(std::uint64_t sum, bool udp) {
  const auto value = static_cast<std::uint16_t>(~checksum_fold(sum));
  return udp && value == 0 ? 0xffff : value;
}

}  // namespace

SegmentPlan SegmentPlan::make(DeviceKind kind, const VnetHeader& header, std::span<std::uint8_t> packet,
                              std::size_t max_segment) {
  if (header.gso_type != kGsoNone) {
    SegmentPlan plan = make_scattered(kind, header, packet, packet.size(), max_segment);
    plan.payload_ = packet.data() + plan.header_size_;
    return plan;
  }
  SegmentPlan plan;
  plan.total_ = packet.size();
  plan.payload_ = packet.data();
  plan.error_ = plan.plan_single(header, packet, max_segment);
  if (plan.error_ != SegmentError::kNone) plan.count_ = 0;
  return plan;
}

SegmentPlan SegmentPlan::make_scattered(DeviceKind kind, const VnetHeader& header,
                                        std::span<const std::uint8_t> head, std::size_t size,
                                        std::size_t max_segment) {
  SegmentPlan plan;
  plan.total_ = size;
  plan.error_ = plan.plan_gso(kind, header, head, max_segment);
  if (plan.error_ != SegmentError::kNone) plan.count_ = 0;
  return plan;
}

SegmentError SegmentPlan::plan_single(const VnetHeader& header, std::span<std::uint8_t> packet,
                                      std::size_t max_segment) {
  if (packet.empty()) return SegmentError::kMalformed;
  if (packet.size() > max_segment) return SegmentError::kTooLarge;
  count_ = 1;
  gso_size_ = packet.size();
  if ((header.flags & kVnetNeedsCsum) == 0) return SegmentError::kNone;
  const std::size_t at = std::size_t{header.csum_start} + header.csum_offset;
  if (header.csum_start >= packet.size() || at + 2 > packet.size()) return SegmentError::kMalformed;
  // The field holds the pseudo-header's sum, so it takes part in the sum.
  const bool udp = header.csum_offset == kUdpChecksumAt;
  store_sum(packet.data() + at, finished(checksum_add(packet.subspan(header.csum_start)), udp));
  return SegmentError::kNone;
}

SegmentError SegmentPlan::plan_gso(DeviceKind kind, const VnetHeader& header,
                                   std::span<const std::uint8_t> head, std::size_t max_segment) {
  const auto type = static_cast<std::uint8_t>(header.gso_type & ~kGsoEcn);
  if (type != kGsoTcpV4 && type != kGsoTcpV6 && type != kGsoUdpL4) return SegmentError::kUnknownGso;
  const auto l3 = find_l3(kind, head);
  if (!l3 || (header.flags & kVnetNeedsCsum) == 0 || header.gso_size == 0) return SegmentError::kMalformed;
  l3_ = l3->offset;
  ipv6_ = l3->ipv6;
  tcp_ = type != kGsoUdpL4;
  if (tcp_ && ipv6_ != (type == kGsoTcpV6)) return SegmentError::kMalformed;

  l4_ = header.csum_start;
  const std::size_t ip_min = ipv6_ ? 40 : 20;
  const std::size_t l4_min = tcp_ ? 20 : 8;
  if (l4_ < l3_ + ip_min || head.size() < l4_ + l4_min) return SegmentError::kMalformed;
  if (!ipv6_ && l3_ + std::size_t{head[l3_]} % 16 * 4 != l4_) return SegmentError::kMalformed;
  const std::size_t l4_size = tcp_ ? tcp_header_size(head.data() + l4_) : 8;
  header_size_ = l4_ + l4_size;
  if (l4_size < l4_min || header_size_ > std::min(head.size(), kMaxHeader) || header_size_ >= total_) {
    return SegmentError::kMalformed;
  }
  checksum_at_ = tcp_ ? kTcpChecksumAt : kUdpChecksumAt;
  if (header.csum_offset != checksum_at_) return SegmentError::kMalformed;

  const std::size_t payload = total_ - header_size_;
  gso_size_ = std::min<std::size_t>(header.gso_size, payload);
  if (header_size_ + gso_size_ > max_segment) return SegmentError::kTooLarge;
  count_ = (payload + gso_size_ - 1) / gso_size_;
  std::memcpy(headers_.data(), head.data(), header_size_);
  // Take the whole packet's length out of the pseudo-header's sum again (adding
  // the complement subtracts); each segment puts its own length in.
  const auto length = static_cast<std::uint16_t>(~htons(static_cast<std::uint16_t>(total_ - l4_)));
  pseudo_sum_ = std::uint64_t{load_sum(headers_.data() + l4_ + checksum_at_)} + length;
  return SegmentError::kNone;
}

std::size_t SegmentPlan::payload_size(std::size_t index) const {
  return std::min(gso_size_, total_ - header_size_ - index * gso_size_);
}

void SegmentPlan::write(std::size_t index, std::uint8_t* out) const {
  std::memcpy(out + header_size_, payload_ + index * gso_size_, payload_size(index));
  write_headers(index, out);
}

void SegmentPlan::write_headers(std::size_t index, std::uint8_t* out) const {
  if (header_size_ == 0) return;
  std::memcpy(out, headers_.data(), header_size_);
  const std::size_t size = header_size_ + payload_size(index);
  finish_ip(index, out, size);
  if (tcp_) {
    finish_tcp(index, out + l4_);
  } else {
    store_be16(out + l4_ + 4, size - l4_);
  }
  finish_checksum(out + l4_, size - l4_);
}

void SegmentPlan::finish_ip(std::size_t index, std::uint8_t* out, std::size_t size) const {
  std::uint8_t* ip = out + l3_;
  if (ipv6_) {
    store_be16(ip + 4, size - l3_ - 40);
    return;
  }
  store_be16(ip + 2, size - l3_);
  store_be16(ip + 4, load_be16(ip + 4) + index);
  store_sum(ip + 10, 0);
  store_sum(ip + 10, finished(checksum_add({ip, l4_ - l3_}), false));
}

void SegmentPlan::finish_tcp(std::size_t index, std::uint8_t* tcp) const {
  store_be32(tcp + 4, load_be32(tcp + 4) + index * gso_size_);
  if (index != 0) tcp[13] &= static_cast<std::uint8_t>(~kTcpCwr);
  if (index + 1 != count_) tcp[13] &= static_cast<std::uint8_t>(~(kTcpFin | kTcpPsh));
}

void SegmentPlan::finish_checksum(std::uint8_t* l4, std::size_t size) const {
  store_sum(l4 + checksum_at_, 0);
  const std::uint64_t pseudo = pseudo_sum_ + htons(static_cast<std::uint16_t>(size));
  store_sum(l4 + checksum_at_, finished(checksum_add({l4, size}, pseudo), !tcp_));
}

}  // namespace bondd::mlvpn

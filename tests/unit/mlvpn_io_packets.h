// Builds IP packets for the tests of segmentation and coalescing, with a
// checksum of its own, so that it shares no code with what it tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "bondd/mlvpn/core/types.h"
#include "bondd/mlvpn/io/vnet_header.h"

namespace bondd::mlvpn::test {

using Bytes = std::vector<std::uint8_t>;

inline void put16(Bytes& bytes, std::size_t at, std::size_t value) {
  bytes[at] = static_cast<std::uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<std::uint8_t>(value);
}
inline std::size_t get16(std::span<const std::uint8_t> bytes, std::size_t at) {
  return static_cast<std::size_t>(bytes[at] << 8 | bytes[at + 1]);
}
inline std::uint32_t get32(std::span<const std::uint8_t> bytes, std::size_t at) {
  return static_cast<std::uint32_t>(get16(bytes, at) << 16 | get16(bytes, at + 2));
}

// Byte by byte, big-endian: RFC 1071 as it reads.
inline std::uint32_t slow_sum(std::span<const std::uint8_t> bytes, std::uint32_t sum = 0) {
  for (std::size_t i = 0; i < bytes.size(); ++i) sum += i % 2 == 0 ? bytes[i] << 8 : bytes[i];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

struct PacketSpec {
  DeviceKind kind = DeviceKind::kTun;
  bool ipv6 = false;
  bool udp = false;
  std::uint16_t source_port = 1000;
  std::uint16_t id = 7;
  std::uint8_t tos = 0;
  std::uint8_t ttl = 64;
  bool dont_fragment = true;
  std::uint32_t sequence = 1'000'000;
  std::uint32_t ack = 77;
  std::uint8_t flags = 0x10;
  std::uint16_t window = 500;
  std::size_t options = 12;       // bytes of TCP options, a multiple of 4
  std::uint8_t option_value = 1;  // what they are filled with
  Bytes payload;

  [[nodiscard]] std::size_t l3() const { return kind == DeviceKind::kTap ? 14 : 0; }
  [[nodiscard]] std::size_t l4() const { return l3() + (ipv6 ? 40 : 20); }
  [[nodiscard]] std::size_t data() const { return l4() + (udp ? 8 : 20 + options); }
  [[nodiscard]] std::size_t checksum_at() const { return l4() + (udp ? 6 : 16); }
};

inline std::uint32_t slow_pseudo_sum(const PacketSpec& spec, std::span<const std::uint8_t> packet) {
  const auto addresses = spec.ipv6 ? packet.subspan(spec.l3() + 8, 32) : packet.subspan(spec.l3() + 12, 8);
  return slow_sum(addresses, static_cast<std::uint32_t>(packet.size() - spec.l4() + (spec.udp ? 17 : 6)));
}

// True when every checksum of the packet is right.
inline bool slow_valid(const PacketSpec& spec, std::span<const std::uint8_t> packet) {
  if (!spec.ipv6 && slow_sum(packet.subspan(spec.l3(), 20)) != 0xffff) return false;
  return slow_sum(packet.subspan(spec.l4()), slow_pseudo_sum(spec, packet)) == 0xffff;
}

// A whole packet. `partial` leaves the pseudo-header's sum in the L4 checksum's
// place, as the kernel does with NEEDS_CSUM.
inline Bytes build(const PacketSpec& spec, bool partial = false) {
  Bytes packet(spec.data() + spec.payload.size());
  const std::size_t l3 = spec.l3();
  const std::size_t l4 = spec.l4();
  if (spec.kind == DeviceKind::kTap) put16(packet, 12, spec.ipv6 ? 0x86dd : 0x0800);
  const std::uint8_t protocol = spec.udp ? 17 : 6;
  if (spec.ipv6) {
    packet[l3] = static_cast<std::uint8_t>(0x60 | spec.tos >> 4);
    packet[l3 + 1] = static_cast<std::uint8_t>(spec.tos << 4);
    put16(packet, l3 + 4, packet.size() - l4);
    packet[l3 + 6] = protocol;
    packet[l3 + 7] = spec.ttl;
    packet[l3 + 23] = 1;
    packet[l3 + 39] = 2;
  } else {
    packet[l3] = 0x45;
    packet[l3 + 1] = spec.tos;
    put16(packet, l3 + 2, packet.size() - l3);
    put16(packet, l3 + 4, spec.id);
    packet[l3 + 6] = spec.dont_fragment ? 0x40 : 0;
    packet[l3 + 8] = spec.ttl;
    packet[l3 + 9] = protocol;
    put16(packet, l3 + 14, 0x0a01);
    put16(packet, l3 + 18, 0x0a02);
    put16(packet, l3 + 10, 0xffff & ~slow_sum(std::span{packet}.subspan(l3, 20)));
  }
  put16(packet, l4, spec.source_port);
  put16(packet, l4 + 2, 80);
  if (spec.udp) {
    put16(packet, l4 + 4, packet.size() - l4);
  } else {
    put16(packet, l4 + 4, spec.sequence >> 16);
    put16(packet, l4 + 6, spec.sequence & 0xffff);
    put16(packet, l4 + 8, spec.ack >> 16);
    put16(packet, l4 + 10, spec.ack & 0xffff);
    packet[l4 + 12] = static_cast<std::uint8_t>((20 + spec.options) / 4 << 4);
    packet[l4 + 13] = spec.flags;
    put16(packet, l4 + 14, spec.window);
    std::memset(packet.data() + l4 + 20, spec.option_value, spec.options);
  }
  if (!spec.payload.empty())
    std::memcpy(packet.data() + spec.data(), spec.payload.data(), spec.payload.size());
  const std::uint32_t pseudo = slow_pseudo_sum(spec, packet);
  if (partial) {
    put16(packet, spec.checksum_at(), pseudo);
  } else {
    std::size_t sum = 0xffff & ~slow_sum(std::span<const std::uint8_t>{packet}.subspan(l4), pseudo);
    if (spec.udp && sum == 0) sum = 0xffff;
    put16(packet, spec.checksum_at(), sum);
  }
  return packet;
}

inline VnetHeader gso_header(const PacketSpec& spec, std::size_t gso_size) {
  VnetHeader header;
  header.flags = kVnetNeedsCsum;
  header.gso_type = spec.udp ? kGsoUdpL4 : spec.ipv6 ? kGsoTcpV6 : kGsoTcpV4;
  header.gso_size = static_cast<std::uint16_t>(gso_size);
  header.csum_start = static_cast<std::uint16_t>(spec.l4());
  header.csum_offset = static_cast<std::uint16_t>(spec.checksum_at() - spec.l4());
  header.hdr_len = static_cast<std::uint16_t>(spec.data());
  return header;
}

inline Bytes random_bytes(std::mt19937& random, std::size_t size) {
  Bytes bytes(size);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

}  // namespace bondd::mlvpn::test

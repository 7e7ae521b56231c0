#include "tests/sim/packet.h"

#include <algorithm>
#include <cstring>

namespace bondd::sim {
namespace {

constexpr std::uint16_t kServerPort = 5201;

void put16(std::uint8_t* p, std::uint32_t v) {
  p[0] = static_cast<std::uint8_t>(v >> 8);
  p[1] = static_cast<std::uint8_t>(v);
}
void put32(std::uint8_t* p, std::uint64_t v) {
  put16(p, static_cast<std::uint32_t>(v >> 16) & 0xffff);
  put16(p + 2, static_cast<std::uint32_t>(v) & 0xffff);
}
std::uint16_t get16(const std::uint8_t* p) {
  return static_cast<std::uint16_t>(p[0] << 8 | p[1]);
}
std::uint32_t get32(const std::uint8_t* p) {
  return static_cast<std::uint32_t>(get16(p)) << 16 | get16(p + 2);
}

std::uint64_t unwrap(std::uint32_t value, std::uint64_t near) {
  return near + static_cast<std::uint64_t>(static_cast<std::int64_t>(
                    static_cast<std::int32_t>(value - static_cast<std::uint32_t>(near))));
}

void put_ip(Packet& packet, const Address& address) {
  std::uint8_t* p = packet.data();
  p[0] = 0x45;
  put16(p + 2, static_cast<std::uint32_t>(packet.size()));
  p[6] = 0x40;  // don't fragment
  p[8] = 64;
  p[9] = static_cast<std::uint8_t>(address.protocol);
  put32(p + 12, address.to_office ? 0x0a020001 : 0x0a010001);
  put32(p + 16, address.to_office ? 0x0a010001 : 0x0a020001);
}

void put_ports(Packet& packet, const Address& address) {
  std::uint8_t* p = packet.data() + 20;
  put16(p, address.to_office ? kServerPort : address.flow);
  put16(p + 2, address.to_office ? address.flow : kServerPort);
}

}  // namespace

Packet make_tcp(const Address& address, const TcpSegment& segment) {
  const std::size_t sacks = std::min<std::size_t>(segment.sacks.size(), 3);
  const std::size_t header = 32 + (sacks != 0 ? 4 + 8 * sacks : 0);
  Packet packet(20 + header + segment.payload);
  put_ip(packet, address);
  put_ports(packet, address);
  std::uint8_t* p = packet.data() + 20;
  put32(p + 4, segment.seq);
  put32(p + 8, segment.ack);
  p[12] = static_cast<std::uint8_t>(header / 4 << 4);
  p[13] = segment.syn ? 0x12 : 0x10;
  put16(p + 14, 0xffff);
  p[20] = p[21] = 1;
  p[22] = 8;
  p[23] = 10;
  put32(p + 24, segment.ts_value);
  put32(p + 28, segment.ts_echo);
  if (sacks != 0) {
    p[32] = p[33] = 1;
    p[34] = 5;
    p[35] = static_cast<std::uint8_t>(2 + 8 * sacks);
    for (std::size_t i = 0; i < sacks; ++i) {
      put32(p + 36 + 8 * i, segment.sacks[i].begin);
      put32(p + 40 + 8 * i, segment.sacks[i].end);
    }
  }
  return packet;
}

Packet make_datagram(const Address& address, std::span<const std::uint8_t> body, std::size_t payload) {
  Packet packet(kUdpHeaders + std::max(payload, body.size()));
  put_ip(packet, address);
  put_ports(packet, address);
  put16(packet.data() + 24, static_cast<std::uint32_t>(packet.size() - 20));
  if (!body.empty()) std::memcpy(packet.data() + kUdpHeaders, body.data(), body.size());
  return packet;
}

std::optional<Address> parse_address(const Packet& packet) {
  if (packet.size() < kUdpHeaders || packet[0] != 0x45) return std::nullopt;
  Address address;
  address.to_office = get32(packet.data() + 16) == 0x0a010001;
  address.protocol = static_cast<Protocol>(packet[9]);
  address.flow = get16(packet.data() + (address.to_office ? 22 : 20));
  return address;
}

TcpSegment parse_tcp(const Packet& packet, std::uint64_t near) {
  const std::uint8_t* p = packet.data() + 20;
  const std::size_t header = static_cast<std::size_t>(p[12] >> 4) * 4;
  TcpSegment segment;
  segment.seq = unwrap(get32(p + 4), near);
  segment.ack = unwrap(get32(p + 8), near);
  segment.payload = static_cast<std::uint32_t>(packet.size() - 20 - header);
  segment.syn = (p[13] & 2) != 0;
  segment.ts_value = get32(p + 24);
  segment.ts_echo = get32(p + 28);
  for (std::size_t at = 36; header > 36 && at + 8 <= header; at += 8) {
    segment.sacks.push_back({unwrap(get32(p + at), near), unwrap(get32(p + at + 4), near)});
  }
  return segment;
}

std::span<const std::uint8_t> datagram_body(const Packet& packet) {
  return std::span(packet).subspan(kUdpHeaders);
}

}  // namespace bondd::sim

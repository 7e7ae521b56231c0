// Packets of the simulated hosts: real IPv4 with real TCP, UDP and ICMP headers, so
// that an engine between them sees what it would see from a kernel. Checksums are 0.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "bondd/base/units.h"

namespace bondd::sim {

using Packet = std::vector<std::uint8_t>;

// Where packets go: a line, a bond, or a host.
class PacketSink {
 public:
  PacketSink() = default;
  PacketSink(const PacketSink&) = delete;
  PacketSink& operator=(const PacketSink&) = delete;
  virtual ~PacketSink() = default;
  virtual void receive(TimePoint now, Packet packet) = 0;
};

enum class Protocol : std::uint8_t { kIcmp = 1, kTcp = 6, kUdp = 17 };

// Who talks to whom. The office is 10.1.0.1, the Internet's server 10.2.0.1.
struct Address {
  bool to_office = false;
  Protocol protocol = Protocol::kTcp;
  std::uint16_t flow = 0;  // the client's port; the server's is 5201
};

// Half-open range of bytes that a receiver holds.
struct SackBlock {
  std::uint64_t begin = 0, end = 0;
};

struct TcpSegment {
  std::uint64_t seq = 0, ack = 0;
  std::uint32_t payload = 0;
  bool syn = false;
  std::uint32_t ts_value = 0, ts_echo = 0;  // ms
  std::vector<SackBlock> sacks;             // at most three
};

// Packets of `payload` bytes behind the headers. `body` of a datagram is copied to its front.
Packet make_tcp(const Address& address, const TcpSegment& segment);
Packet make_datagram(const Address& address, std::span<const std::uint8_t> body, std::size_t payload);

// Of packets made by the above; nullopt for anything else.
std::optional<Address> parse_address(const Packet& packet);
// `near` is any sequence number within 2 GB of the true one: the wire has only 32 bits.
TcpSegment parse_tcp(const Packet& packet, std::uint64_t near);
std::span<const std::uint8_t> datagram_body(const Packet& packet);

constexpr std::size_t kTcpHeaders = 20 + 32;  // IPv4, TCP with timestamps
constexpr std::size_t kUdpHeaders = 20 + 8;

}  // namespace bondd::sim

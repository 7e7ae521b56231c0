// IP and MAC addresses as plain values of either family.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "bondd/base/error.h"

namespace bondd {

enum class Family : std::uint8_t { kIpv4, kIpv6 };

// An IPv4 or IPv6 address in network byte order. IPv4 uses the first 4 bytes, the
// rest is 0, so that == and <=> work on the whole.
class IpAddress {
 public:
  IpAddress() = default;  // 0.0.0.0
  static IpAddress v4(std::uint32_t host_order);
  static IpAddress v4(std::array<std::uint8_t, 4> bytes);
  static IpAddress v6(std::array<std::uint8_t, 16> bytes);

  [[nodiscard]] Family family() const { return family_; }
  [[nodiscard]] bool is_v4() const { return family_ == Family::kIpv4; }
  [[nodiscard]] int af() const;  // AF_INET or AF_INET6
  [[nodiscard]] int bits() const { return is_v4() ? 32 : 128; }
  [[nodiscard]] std::size_t size() const { return is_v4() ? 4 : 16; }
  [[nodiscard]] const std::uint8_t* data() const { return bytes_.data(); }
  [[nodiscard]] std::uint32_t v4_number() const;  // in host order; of an IPv4 address
  [[nodiscard]] bool is_unspecified() const { return bytes_ == std::array<std::uint8_t, 16>{}; }

  auto operator<=>(const IpAddress&) const = default;

 private:
  Family family_ = Family::kIpv4;
  std::array<std::uint8_t, 16> bytes_{};
};

// inet_pton(3) texts only: no host names, no ports, no zones.
Result<IpAddress> parse_ip(std::string_view text);
std::string to_string(const IpAddress& address);

// An address and a prefix length. As a network its host bits are 0; as an
// interface's address ("172.16.16.2/30") they are kept.
struct IpPrefix {
  IpAddress address;
  int length = 0;  // 0 to 32 or 128

  [[nodiscard]] IpPrefix network() const;                     // host bits cleared
  [[nodiscard]] bool contains(const IpAddress& other) const;  // same family and network
  [[nodiscard]] bool contains(const IpPrefix& other) const;   // the whole of it
  [[nodiscard]] bool is_default() const { return length == 0; }

  auto operator<=>(const IpPrefix&) const = default;
};

// Whether they have an address in common.
bool overlap(const IpPrefix& a, const IpPrefix& b);

// "192.168.1.0/24"; without a length the whole address (/32, /128).
Result<IpPrefix> parse_prefix(std::string_view text);
std::string to_string(const IpPrefix& prefix);

struct MacAddress {
  std::array<std::uint8_t, 6> bytes{};
  auto operator<=>(const MacAddress&) const = default;
};

// A locally administered unicast address that is the same for the same seed
// text, so that it survives restarts and differs between machines and roles.
MacAddress mac_from_seed(std::string_view seed);
std::string to_string(const MacAddress& mac);

}  // namespace bondd

#include "bondd/base/ip.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace bondd {

IpAddress IpAddress::v4(std::uint32_t host_order) {
  return v4(std::array<std::uint8_t, 4>{
      static_cast<std::uint8_t>(host_order >> 24), static_cast<std::uint8_t>(host_order >> 16),
      static_cast<std::uint8_t>(host_order >> 8), static_cast<std::uint8_t>(host_order)});
}

std::uint32_t IpAddress::v4_number() const {
  std::uint32_t number = 0;
  for (std::size_t i = 0; i < 4; ++i) number = number << 8U | bytes_[i];
  return number;
}

IpAddress IpAddress::v4(std::array<std::uint8_t, 4> bytes) {
  IpAddress out;
  std::copy(bytes.begin(), bytes.end(), out.bytes_.begin());
  return out;
}

IpAddress IpAddress::v6(std::array<std::uint8_t, 16> bytes) {
  IpAddress out;
  out.family_ = Family::kIpv6;
  out.bytes_ = bytes;
  return out;
}

int IpAddress::af() const {
  return is_v4() ? AF_INET : AF_INET6;
}

Result<IpAddress> parse_ip(std::string_view text) {
  const std::string copy(text);
  std::array<std::uint8_t, 4> four{};
  if (inet_pton(AF_INET, copy.c_str(), four.data()) == 1) return IpAddress::v4(four);
  std::array<std::uint8_t, 16> sixteen{};
  if (inet_pton(AF_INET6, copy.c_str(), sixteen.data()) == 1) return IpAddress::v6(sixteen);
  return failure(fmt::format("\"{}\" is not an IP address", text));
}

std::string to_string(const IpAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(address.af(), address.data(), text.data(), text.size());
  return text.data();
}

IpPrefix IpPrefix::network() const {
  std::array<std::uint8_t, 16> bytes{};
  std::copy_n(address.data(), bytes.size(), bytes.begin());
  for (int i = 0; i < 16; ++i) {
    const int keep = std::clamp(length - i * 8, 0, 8);
    bytes[static_cast<std::size_t>(i)] &= static_cast<std::uint8_t>(0xff00U >> static_cast<unsigned>(keep));
  }
  const IpAddress cleared =
      address.is_v4() ? IpAddress::v4({bytes[0], bytes[1], bytes[2], bytes[3]}) : IpAddress::v6(bytes);
  return IpPrefix{cleared, length};
}

bool IpPrefix::contains(const IpAddress& other) const {
  return other.family() == address.family() && IpPrefix{other, length}.network() == network();
}

bool IpPrefix::contains(const IpPrefix& other) const {
  return length <= other.length && contains(other.address);
}

bool overlap(const IpPrefix& a, const IpPrefix& b) {
  return a.contains(b) || b.contains(a);
}

Result<IpPrefix> parse_prefix(std::string_view text) {
  const std::size_t slash = text.find('/');
  const Result<IpAddress> address = parse_ip(text.substr(0, slash));
  if (!address) return failure(fmt::format("\"{}\" is not an address with a prefix length", text));
  if (slash == std::string_view::npos) return IpPrefix{*address, address->bits()};
  const std::string_view digits = text.substr(slash + 1);
  int length = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
  if (error != std::errc{} || end != digits.data() + digits.size() || length < 0 ||
      length > address->bits()) {
    return failure(fmt::format("\"{}\": the prefix length is a number from 0 to {}", text, address->bits()));
  }
  return IpPrefix{*address, length};
}

std::string to_string(const IpPrefix& prefix) {
  return fmt::format("{}/{}", to_string(prefix.address), prefix.length);
}

MacAddress mac_from_seed(std::string_view seed) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a, 64 bits
  for (const char c : seed) {
    hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3ULL;
  }
  MacAddress mac;
  for (std::size_t i = 0; i < mac.bytes.size(); ++i)
    mac.bytes[i] = static_cast<std::uint8_t>(hash >> (8 * i));
  mac.bytes[0] = static_cast<std::uint8_t>((mac.bytes[0] & 0xfcU) | 0x02U);
  return mac;
}

std::string to_string(const MacAddress& mac) {
  const auto& b = mac.bytes;
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", b[0], b[1], b[2], b[3], b[4], b[5]);
}

}  // namespace bondd

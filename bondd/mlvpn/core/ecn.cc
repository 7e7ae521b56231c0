#include "bondd/mlvpn/core/ecn.h"

#include "bondd/mlvpn/core/bytes.h"
#include "bondd/mlvpn/core/inner_ip.h"

namespace bondd::mlvpn {
namespace {

constexpr std::uint16_t kCe4 = 0x0003, kCe6 = 0x0030;  // in the header's first 16 bits
constexpr std::size_t kChecksum4 = 10;

// RFC 1624, equation 3: the checksum after one 16-bit word of the header became another.
std::uint16_t updated(std::uint16_t checksum, std::uint16_t from, std::uint16_t to) {
  std::uint32_t sum =
      std::uint32_t{static_cast<std::uint16_t>(~checksum)} + static_cast<std::uint16_t>(~from) + to;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

}  // namespace

bool mark_congestion(std::span<std::uint8_t> packet, DeviceKind device) {
  const std::span<std::uint8_t> ip = inner_ip(packet, device);
  if (ip.empty()) return false;
  const bool four = ip[0] >> 4 == 4;
  const std::uint16_t ce = four ? kCe4 : kCe6;
  const auto before = load_be<std::uint16_t>(ip.data());
  if ((before & ce) == 0) return false;
  const auto after = static_cast<std::uint16_t>(before | ce);
  if (four) {
    std::uint8_t* const checksum = ip.data() + kChecksum4;
    store_be(checksum, updated(load_be<std::uint16_t>(checksum), before, after));
  }
  store_be(ip.data(), after);
  return true;
}

}  // namespace bondd::mlvpn

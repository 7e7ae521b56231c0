#include "bondd/control/tap_port.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <system_error>

namespace bondd::control {
namespace {

sockaddr_ll to_sockaddr(int index, std::uint16_t ether_type) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ether_type);
  address.sll_ifindex = index;
  return address;
}

}  // namespace

Result<TapPort> TapPort::open(const std::string& device, std::uint16_t ether_type) {
  const auto index = static_cast<int>(if_nametoindex(device.c_str()));
  if (index == 0) return errno_failure(fmt::format("cannot probe {}", device));
  UniqueFd fd(socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_failure("cannot open a packet socket");
  const sockaddr_ll address = to_sockaddr(index, ether_type);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return errno_failure(fmt::format("cannot probe {}", device));
  }
  // Past what the tap holds back: probes measure the line.
  const int bypass = 1;
  (void)setsockopt(fd.get(), SOL_PACKET, PACKET_QDISC_BYPASS, &bypass, sizeof bypass);
  return TapPort(std::move(fd), index, ether_type);
}

Result<> set_carrier(const std::string& tap, bool carrier) {
  const std::string path = fmt::format("/sys/class/net/{}/carrier", tap);
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  const char value = carrier ? '1' : '0';
  if (!fd || write(fd.get(), &value, 1) != 1) return errno_failure(fmt::format("cannot write {}", path));
  return {};
}

bool is_port_of(const std::string& device, const std::string& bond) {
  std::error_code none;
  return std::filesystem::read_symlink(fmt::format("/sys/class/net/{}/master", device), none).filename() ==
         bond;
}

void TapPort::send(std::span<const std::uint8_t> payload) {
  sockaddr_ll to = to_sockaddr(index_, ether_type_);
  to.sll_halen = 6;
  std::memset(to.sll_addr, 0xff, to.sll_halen);
  [[maybe_unused]] const ssize_t sent =
      sendto(fd_.get(), payload.data(), payload.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
}

std::span<const std::uint8_t> TapPort::receive(std::span<std::uint8_t> buffer) {
  for (;;) {
    sockaddr_ll from{};
    socklen_t length = sizeof from;
    const ssize_t got =
        recvfrom(fd_.get(), buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
    if (got < 0 && errno == ENETDOWN) continue;  // the socket's pending error, cleared by reading it
    if (got <= 0) return {};
    if (from.sll_pkttype != PACKET_OUTGOING) return buffer.first(static_cast<std::size_t>(got));
  }
}

}  // namespace bondd::control

#include "bondd/probes/icmp_socket.h"

#include <linux/icmp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <span>

#include "bondd/base/inet.h"

namespace bondd::probes {

Result<IcmpSocket> IcmpSocket::open(std::uint16_t id) {
  UniqueFd fd(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP));
  if (!fd) return errno_failure("cannot open a socket for ICMP");
  // All but these stay in the kernel.
  icmp_filter filter{~(1U << ICMP_ECHOREPLY | 1U << ICMP_DEST_UNREACH | 1U << ICMP_TIME_EXCEEDED)};
  if (setsockopt(fd.get(), SOL_RAW, ICMP_FILTER, &filter, sizeof filter) != 0)
    return errno_failure("cannot filter ICMP");
  UniqueFd udp(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!udp) return errno_failure("cannot open a UDP socket");
  return IcmpSocket(std::move(fd), std::move(udp), id);
}

void IcmpSocket::send(const WayProbe::Request& request) {
  const bool udp = request.udp_port != 0;
  const int fd = udp ? udp_.get() : fd_.get();
  const int limit = request.hop_limit;
  if (setsockopt(fd, SOL_SOCKET, SO_MARK, &request.mark, sizeof request.mark) != 0) return;
  if (setsockopt(fd, IPPROTO_IP, IP_TTL, &limit, sizeof limit) != 0) return;
  const sockaddr_in to = to_sockaddr(request.to, request.udp_port);
  const auto echo = render_echo(id_, request.sequence);
  const std::span<const std::uint8_t> bytes = udp ? std::span<const std::uint8_t>() : std::span(echo);
  [[maybe_unused]] const ssize_t sent =
      sendto(fd, bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
}

std::optional<IcmpAnswer> IcmpSocket::receive() {
  std::array<std::uint8_t, 2048> buffer{};
  for (;;) {
    const ssize_t got = recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (got < 0) return std::nullopt;
    const auto answer = parse_icmp(std::span(buffer).first(static_cast<std::size_t>(got)));
    if (answer && (answer->udp_port != 0 || answer->id == id_)) return answer;
  }
}

}  // namespace bondd::probes

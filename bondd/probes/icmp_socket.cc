#include "bondd/probes/icmp_socket.h"

#include <linux/icmp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

namespace bondd::probes {

Result<IcmpSocket> IcmpSocket::open(std::uint16_t id) {
  UniqueFd fd(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP));
  if (!fd) return errno_failure("cannot open a socket for ICMP");
  // All but these stay in the kernel.
  icmp_filter filter{~(1U << ICMP_ECHOREPLY | 1U << ICMP_DEST_UNREACH | 1U << ICMP_TIME_EXCEEDED)};
  if (setsockopt(fd.get(), SOL_RAW, ICMP_FILTER, &filter, sizeof filter) != 0)
    return errno_failure("cannot filter ICMP");
  return IcmpSocket(std::move(fd), id);
}

void IcmpSocket::send(const WayProbe::Request& request) {
  const int limit = request.hop_limit;
  if (setsockopt(fd_.get(), SOL_SOCKET, SO_MARK, &request.mark, sizeof request.mark) != 0) return;
  if (setsockopt(fd_.get(), IPPROTO_IP, IP_TTL, &limit, sizeof limit) != 0) return;
  sockaddr_in to{};
  to.sin_family = AF_INET;
  std::memcpy(&to.sin_addr, request.to.data(), sizeof to.sin_addr);
  const auto bytes = render_echo(id_, request.sequence);
  [[maybe_unused]] const ssize_t sent =
      sendto(fd_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
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

#include "bondd/control/peer_ping.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "bondd/base/inet.h"

namespace bondd::control {

Result<std::unique_ptr<PeerPing>> PeerPing::create(EventLoop& loop, const std::string& device,
                                                   const IpAddress& peer, std::function<void()> on_answer) {
  if (!peer.is_v4()) return failure("the bond's peer has no IPv4 address", EAFNOSUPPORT);
  UniqueFd fd(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP));
  if (!fd) return errno_failure("cannot open a socket to ping the peer");
  if (setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, device.c_str(),
                 static_cast<socklen_t>(device.size())) != 0) {
    return errno_failure(fmt::format("cannot ping through {}", device));
  }
  std::unique_ptr<PeerPing> ping(new PeerPing(std::move(fd), peer, std::move(on_answer)));
  ping->watch_ = loop.watch(ping->fd_.get(), EPOLLIN, [raw = ping.get()](std::uint32_t) { raw->receive(); });
  return ping;
}

PeerPing::PeerPing(UniqueFd fd, const IpAddress& peer, std::function<void()> on_answer)
    : fd_(std::move(fd)),
      peer_(peer),
      on_answer_(std::move(on_answer)),
      id_(static_cast<std::uint16_t>(getpid())) {}

void PeerPing::send() {
  icmphdr request{};
  request.type = ICMP_ECHO;
  request.un.echo.id = htons(id_);
  request.un.echo.sequence = htons(++sequence_);
  request.checksum =
      htons(internet_checksum({reinterpret_cast<const std::uint8_t*>(&request), sizeof request}));
  const sockaddr_in to = to_sockaddr(peer_);
  // What cannot be sent now gets no answer, and another comes soon.
  [[maybe_unused]] const ssize_t sent =
      sendto(fd_.get(), &request, sizeof request, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
}

void PeerPing::receive() {
  std::array<std::uint8_t, 2048> buffer{};
  sockaddr_in from{};
  socklen_t length = sizeof from;
  const sockaddr_in peer = to_sockaddr(peer_);
  bool answered = false;
  for (;;) {
    const ssize_t got =
        recvfrom(fd_.get(), buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
    if (got < 0) break;
    iphdr ip{};
    icmphdr reply{};
    if (static_cast<std::size_t>(got) < sizeof ip + sizeof reply) continue;
    std::memcpy(&ip, buffer.data(), sizeof ip);
    const std::size_t offset = std::size_t{ip.ihl} * 4U;
    if (offset + sizeof reply > static_cast<std::size_t>(got)) continue;
    std::memcpy(&reply, buffer.data() + offset, sizeof reply);
    answered = answered || (reply.type == ICMP_ECHOREPLY && reply.un.echo.id == htons(id_) &&
                            from.sin_addr.s_addr == peer.sin_addr.s_addr);
  }
  if (answered) on_answer_();
}

}  // namespace bondd::control

#include "bondd/control/peer_ping.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "bondd/base/inet.h"
#include "bondd/probes/icmp.h"

namespace bondd::control {

Result<std::unique_ptr<PeerPing>> PeerPing::create(EventLoop& loop, const std::string& device,
                                                   const IpAddress& peer, OnAnswer on_answer) {
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

PeerPing::PeerPing(UniqueFd fd, const IpAddress& peer, OnAnswer on_answer)
    : fd_(std::move(fd)),
      peer_(peer),
      on_answer_(std::move(on_answer)),
      id_(static_cast<std::uint16_t>(getpid())) {}

std::uint16_t PeerPing::send() {
  const std::vector<std::uint8_t> request = probes::render_echo(id_, ++sequence_);
  const sockaddr_in to = to_sockaddr(peer_);
  // What cannot be sent now gets no answer, and another comes soon.
  [[maybe_unused]] const ssize_t sent =
      sendto(fd_.get(), request.data(), request.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  return sequence_;
}

void PeerPing::receive() {
  std::array<std::uint8_t, 2048> buffer{};
  for (;;) {
    const ssize_t got = recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (got < 0) return;
    const auto answer = probes::parse_icmp({buffer.data(), static_cast<std::size_t>(got)});
    const bool ours = answer && answer->kind == probes::IcmpAnswer::Kind::kEchoReply && answer->id == id_ &&
                      answer->from == peer_;
    if (ours) on_answer_(answer->sequence);
  }
}

}  // namespace bondd::control

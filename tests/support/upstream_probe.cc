// Asks an original MLVPN server whether it ignores what is bondd's own: signs on as a
// client, sends packets of bondd's types and DATA with spare bits of the header set, and
// then pings the server's tun by the same link.
//
//   upstream_probe SERVER PORT OUR-INNER-ADDRESS THEIR-INNER-ADDRESS
//
// Exit status 0 when every ping was answered.
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "tests/support/mlvpn_peer.h"

namespace {

using namespace bondd::mlvpn::test;

constexpr int kPings = 50;
constexpr std::uint8_t kSpareBits = 0xf8;  // of the header's byte 3

std::uint16_t checksum(const Bytes& bytes, std::size_t from, std::size_t to) {
  std::uint32_t sum = 0;
  for (std::size_t i = from; i + 1 < to; i += 2)
    sum += static_cast<std::uint32_t>(bytes[i] << 8 | bytes[i + 1]);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

void put16(Bytes& bytes, std::size_t at, std::uint16_t value) {
  bytes[at] = static_cast<std::uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<std::uint8_t>(value);
}

Bytes echo_request(const char* from, const char* to, std::uint16_t number) {
  Bytes p(20 + 8 + 56);
  p[0] = 0x45;
  put16(p, 2, static_cast<std::uint16_t>(p.size()));
  p[8] = 64;
  p[9] = IPPROTO_ICMP;
  inet_pton(AF_INET, from, &p[12]);
  inet_pton(AF_INET, to, &p[16]);
  put16(p, 10, checksum(p, 0, 20));
  p[20] = 8;
  put16(p, 26, number);
  put16(p, 22, checksum(p, 20, p.size()));
  return p;
}

struct Link {
  int fd = -1;
  PeerFlowState state{.flow = 0x5eed0001, .seq = static_cast<std::uint64_t>(std::time(nullptr)) << 24};
  std::uint64_t data_seq = 0;

  void send(Bytes datagram) const { (void)!write(fd, datagram.data(), datagram.size()); }
  std::optional<PeerPacket> receive(int wait_ms) const {
    pollfd wanted{fd, POLLIN, 0};
    if (poll(&wanted, 1, wait_ms) <= 0) return std::nullopt;
    Bytes datagram(2048);
    const ssize_t size = read(fd, datagram.data(), datagram.size());
    if (size <= 0) return std::nullopt;
    datagram.resize(static_cast<std::size_t>(size));
    return decode(datagram);
  }
};

bool sign_on(Link& link) {
  for (int i = 0; i < 10; ++i) {
    link.send(link.state.make(kAuth, text("AU")));
    for (auto p = link.receive(500); p; p = link.receive(100)) {
      if (p->type == kAuthOk) return true;
    }
  }
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  Link link;
  link.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in server{};
  server.sin_family = AF_INET;
  server.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[2])));
  inet_pton(AF_INET, argv[1], &server.sin_addr);
  if (connect(link.fd, reinterpret_cast<const sockaddr*>(&server), sizeof server) != 0 || !sign_on(link)) {
    std::puts("the server does not answer");
    return 1;
  }
  int answered = 0, others = 0;
  for (int i = 0; i < kPings; ++i) {
    for (int type = 5; type <= 63; ++type) link.send(link.state.make(type, Bytes(type % 2 == 0 ? 0 : 40)));
    Bytes ping = link.state.make(kData, echo_request(argv[3], argv[4], static_cast<std::uint16_t>(i)),
                                 link.data_seq++);
    ping[3] |= kSpareBits;
    link.send(std::move(ping));
    bool back = false;
    for (auto p = link.receive(1000); p && !back; p = link.receive(1000)) {
      back = p->type == kData && p->text.size() > 27 && p->text[20] == 0 && p->text[27] == i;
      others += static_cast<int>(p->type != kData && p->type != kKeepalive);
      if (back) break;
    }
    answered += static_cast<int>(back);
  }
  std::printf("%d of %d pings answered, %d packets of other kinds\n", answered, kPings, others);
  return answered == kPings && others == 0 ? 0 : 1;
}

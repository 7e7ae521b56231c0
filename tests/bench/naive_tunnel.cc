// The tunnel that bondd is measured against: one packet per system call, one
// event loop turn per packet, libsodium's combined secretbox. It speaks the
// MLVPN data format (28-byte header, MAC first), but has no handshake, no
// scheduler and no reordering, so it is a little faster than a real program
// built this way.
//
//   naive_tunnel TUN MTU LOCAL_IP LOCAL_PORT PEER_IP PEER_PORT
//
// Runs until SIGTERM. Needs CAP_NET_ADMIN to create TUN; the caller gives it
// its address.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sodium.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr std::size_t kHeaderSize = 28;
constexpr std::size_t kMacSize = crypto_secretbox_MACBYTES;
constexpr std::size_t kBufferSize = 2048;

struct Tunnel {
  int tun = -1;
  int udp = -1;
  sockaddr_in peer{};
  std::array<unsigned char, crypto_secretbox_KEYBYTES> key{};
  std::uint64_t sequence = 0;
};

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

int open_tun(const char* name, int mtu) {
  const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) die("/dev/net/tun");
  ifreq request{};
  std::snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (ioctl(fd, TUNSETIFF, &request) != 0) die("TUNSETIFF");
  const int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  request.ifr_mtu = mtu;
  if (any < 0 || ioctl(any, SIOCSIFMTU, &request) != 0) die("SIOCSIFMTU");
  close(any);
  return fd;
}

sockaddr_in address_of(const char* ip, const char* port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
  if (inet_pton(AF_INET, ip, &address.sin_addr) != 1) die(ip);
  return address;
}

int open_udp(const sockaddr_in& local) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int size = 8 << 20;  // as large as bondd's, so that neither loses bursts
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
  if (bind(fd, reinterpret_cast<const sockaddr*>(&local), sizeof(local)) != 0) die("bind");
  return fd;
}

void nonce_of(std::uint64_t sequence, unsigned char* nonce) {
  std::memset(nonce, 0, crypto_secretbox_NONCEBYTES);
  std::memcpy(nonce, &sequence, sizeof(sequence));
}

void tun_to_udp(Tunnel& tunnel) {
  std::array<unsigned char, kBufferSize> plain;
  std::array<unsigned char, kBufferSize> wire{};
  const ssize_t size = read(tunnel.tun, plain.data(), plain.size() - kHeaderSize - kMacSize);
  if (size <= 0) return;
  const std::uint64_t sequence = tunnel.sequence++;
  std::array<unsigned char, crypto_secretbox_NONCEBYTES> nonce;
  nonce_of(sequence, nonce.data());
  std::memcpy(wire.data() + 12, &sequence, sizeof(sequence));
  crypto_secretbox_easy(wire.data() + kHeaderSize, plain.data(), static_cast<std::size_t>(size), nonce.data(),
                        tunnel.key.data());
  sendto(tunnel.udp, wire.data(), kHeaderSize + kMacSize + static_cast<std::size_t>(size), 0,
         reinterpret_cast<const sockaddr*>(&tunnel.peer), sizeof(tunnel.peer));
}

void udp_to_tun(Tunnel& tunnel) {
  std::array<unsigned char, kBufferSize> wire;
  std::array<unsigned char, kBufferSize> plain;
  sockaddr_in from{};
  socklen_t from_size = sizeof(from);
  const ssize_t size =
      recvfrom(tunnel.udp, wire.data(), wire.size(), 0, reinterpret_cast<sockaddr*>(&from), &from_size);
  if (size <= static_cast<ssize_t>(kHeaderSize + kMacSize)) return;
  std::uint64_t sequence = 0;
  std::memcpy(&sequence, wire.data() + 12, sizeof(sequence));
  std::array<unsigned char, crypto_secretbox_NONCEBYTES> nonce;
  nonce_of(sequence, nonce.data());
  const std::size_t body = static_cast<std::size_t>(size) - kHeaderSize;
  if (crypto_secretbox_open_easy(plain.data(), wire.data() + kHeaderSize, body, nonce.data(),
                                 tunnel.key.data()) != 0) {
    return;
  }
  if (write(tunnel.tun, plain.data(), body - kMacSize) < 0 && errno != EAGAIN) die("write to the tun");
}

volatile std::sig_atomic_t stop = 0;

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr, "usage: naive_tunnel TUN MTU LOCAL_IP LOCAL_PORT PEER_IP PEER_PORT\n");
    return 2;
  }
  if (sodium_init() < 0) return 1;
  std::signal(SIGTERM, [](int) { stop = 1; });
  Tunnel tunnel;
  tunnel.tun = open_tun(argv[1], std::atoi(argv[2]));
  tunnel.udp = open_udp(address_of(argv[3], argv[4]));
  tunnel.peer = address_of(argv[5], argv[6]);
  tunnel.key.fill(0x42);
  std::printf("ready\n");
  std::fflush(stdout);
  std::array<pollfd, 2> watched{{{tunnel.tun, POLLIN, 0}, {tunnel.udp, POLLIN, 0}}};
  while (stop == 0) {
    if (poll(watched.data(), watched.size(), -1) < 0) continue;
    if ((watched[0].revents & POLLIN) != 0) tun_to_udp(tunnel);
    if ((watched[1].revents & POLLIN) != 0) udp_to_tun(tunnel);
  }
  return 0;
}

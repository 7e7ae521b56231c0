// A source and a sink of small UDP packets, for packets per second.
//
//   udp_blast sink PORT                        counts; prints "RECEIVED" after SIGTERM
//   udp_blast send IP PORT SIZE RATE SECONDS   sends SIZE bytes, RATE packets a
//                                              second (0: as fast as it can);
//                                              prints "SENT"
//
// One packet per sendto, as an application would: no GSO on the source's side.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;

volatile std::sig_atomic_t stop = 0;

int sink(int port) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int size = 8 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
  const timeval wait{0, 100'000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
  sockaddr_in local{};
  local.sin_family = AF_INET;
  local.sin_port = htons(static_cast<std::uint16_t>(port));
  if (bind(fd, reinterpret_cast<const sockaddr*>(&local), sizeof(local)) != 0) {
    std::perror("bind");
    return 1;
  }
  std::printf("ready\n");
  std::fflush(stdout);
  constexpr unsigned kBatch = 64;
  static std::array<std::array<char, 2048>, kBatch> data;
  std::array<iovec, kBatch> vectors;
  std::array<mmsghdr, kBatch> messages{};
  for (unsigned i = 0; i < kBatch; ++i) {
    vectors[i] = {data[i].data(), data[i].size()};
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  std::uint64_t received = 0;
  while (stop == 0) {
    const int count = recvmmsg(fd, messages.data(), kBatch, MSG_WAITFORONE, nullptr);
    if (count > 0) received += static_cast<std::uint64_t>(count);
  }
  std::printf("%llu\n", static_cast<unsigned long long>(received));
  return 0;
}

int send(const char* ip, int port, std::size_t size, double rate, double seconds) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(static_cast<std::uint16_t>(port));
  inet_pton(AF_INET, ip, &peer.sin_addr);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&peer), sizeof(peer)) != 0) return 1;
  std::array<char, 2048> data{};
  const auto start = Clock::now();
  std::uint64_t sent = 0;
  for (;;) {
    const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
    if (elapsed >= seconds || stop != 0) break;
    if (rate > 0 && static_cast<double>(sent) > elapsed * rate) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
      continue;
    }
    for (int i = 0; i < 16; ++i) {
      if (::send(fd, data.data(), size, 0) > 0) ++sent;
    }
  }
  std::printf("%llu\n", static_cast<unsigned long long>(sent));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGTERM, [](int) { stop = 1; });
  if (argc == 3 && std::strcmp(argv[1], "sink") == 0) return sink(std::atoi(argv[2]));
  if (argc == 7 && std::strcmp(argv[1], "send") == 0) {
    return send(argv[2], std::atoi(argv[3]), static_cast<std::size_t>(std::atoi(argv[4])), std::atof(argv[5]),
                std::atof(argv[6]));
  }
  std::fprintf(stderr, "usage: udp_blast sink PORT | udp_blast send IP PORT SIZE RATE SECONDS\n");
  return 2;
}

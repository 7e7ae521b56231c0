// UDP sockets over loopback: batches, offloads and their fall-back.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <numeric>

#include "bondd/mlvpn/io/open_device.h"
#include "bondd/mlvpn/io/udp_socket.h"

namespace bondd::mlvpn {
namespace {

Endpoint local_endpoint(int fd) {
  SocketAddress address;
  socklen_t size = SocketAddress::capacity();
  EXPECT_EQ(getsockname(fd, address.get(), &size), 0);
  return address.endpoint();
}

struct Pair {
  UdpSocket a, b;
  Endpoint a_at, b_at;
};

Pair make_pair(const char* ip, bool offloads_a = true, bool offloads_b = true) {
  const IpAddress address = *parse_ip(ip);
  UdpOptions options{.family = address.family(), .address = address};
  auto a = open_udp(options);
  auto b = open_udp(options);
  EXPECT_TRUE(a && b);
  const Endpoint a_at = local_endpoint(a->get());
  const Endpoint b_at = local_endpoint(b->get());
  return {UdpSocket(std::move(*a), offloads_a), UdpSocket(std::move(*b), offloads_b), a_at, b_at};
}

// Datagrams of `size` bytes; the first four count up from `first`.
struct Batch {
  std::vector<std::vector<std::uint8_t>> bytes;
  std::vector<PacketRef> packets;

  Batch(std::size_t count, std::size_t size, std::uint32_t first, std::size_t last_size = 0) {
    for (std::size_t i = 0; i < count; ++i) {
      bytes.emplace_back(i + 1 == count && last_size != 0 ? last_size : size, 7);
      const std::uint32_t number = first + static_cast<std::uint32_t>(i);
      std::memcpy(bytes.back().data(), &number, sizeof(number));
    }
    for (auto& one : bytes) packets.push_back({one.data(), static_cast<std::uint32_t>(one.size())});
  }
};

// Receives until nothing is left; the numbers in their order.
std::vector<std::uint32_t> drain(UdpSocket& socket, const Endpoint& expected_from,
                                 std::size_t* bytes = nullptr) {
  std::vector<std::uint32_t> numbers;
  ReceiveArena arena;
  for (bool more = true;;) {
    arena.reset();
    const auto runs = socket.receive(arena, more);
    if (runs.empty()) return numbers;
    for (const ReceivedRun& run : runs) {
      EXPECT_EQ(run.from, expected_from);
      if (bytes != nullptr) *bytes += run.bytes.size();
      for (std::size_t at = 0; at < run.bytes.size(); at += run.segment) {
        std::uint32_t number = 0;
        std::memcpy(&number, run.bytes.data() + at, sizeof(number));
        numbers.push_back(number);
      }
    }
  }
}

std::vector<std::uint32_t> count_up(std::size_t count) {
  std::vector<std::uint32_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

TEST(UdpSocket, CarriesBatchesInOrderWithAndWithoutOffloads) {
  for (const char* ip : {"127.0.0.1", "::1"}) {
    for (const bool sender : {true, false}) {
      for (const bool receiver : {true, false}) {
        Pair pair = make_pair(ip, sender, receiver);
        Batch first(44, 1472, 0);
        Batch second(20, 1000, 44, 300);
        Batch third(1, 99, 64);
        EXPECT_EQ(pair.a.send(pair.b_at, first.packets), UdpSocket::SendStatus::kOk);
        EXPECT_EQ(pair.a.send(pair.b_at, second.packets), UdpSocket::SendStatus::kOk);
        EXPECT_EQ(pair.a.send(pair.b_at, third.packets), UdpSocket::SendStatus::kOk);
        EXPECT_EQ(pair.a.flush(), UdpSocket::SendStatus::kOk);
        EXPECT_EQ(pair.a.sent().size(), 65U);
        pair.a.clear_sent();
        EXPECT_FALSE(pair.a.has_backlog());
        std::size_t bytes = 0;
        EXPECT_EQ(drain(pair.b, pair.a_at, &bytes), count_up(65)) << ip << sender << receiver;
        EXPECT_EQ(bytes, 44U * 1472 + 19U * 1000 + 300 + 99);
      }
    }
  }
}

// A host with many addresses: an answer from another one is a stranger's, and no NAT lets it in.
TEST(UdpSocket, ASocketOfAllAddressesAnswersFromTheOneThatWasAsked) {
  for (const char* ip : {"127.0.0.7", "::1"}) {
    for (const bool offloads : {true, false}) {
      const IpAddress asked = *parse_ip(ip);
      auto server_fd = open_udp({.family = asked.family()});
      auto client_fd =
          open_udp({.family = asked.family(), .address = *parse_ip(asked.is_v4() ? "127.0.0.1" : "::1")});
      ASSERT_TRUE(server_fd && client_fd);
      const Endpoint server_at{asked, local_endpoint(server_fd->get()).port};
      UdpSocket server(std::move(*server_fd), offloads), client(std::move(*client_fd), offloads);
      Batch question(1, 100, 0);
      (void)client.send(server_at, question.packets);
      ASSERT_EQ(client.flush(), UdpSocket::SendStatus::kOk);
      ReceiveArena arena;
      bool more = false;
      const auto runs = server.receive(arena, more);
      ASSERT_EQ(runs.size(), 1U);
      EXPECT_EQ(runs[0].from.local, asked);
      const Endpoint client_at = runs[0].from;
      Batch many(40, 1400, 0), one(1, 99, 40);
      (void)server.send(client_at, many.packets);
      (void)server.send(client_at, one.packets);
      ASSERT_EQ(server.flush(), UdpSocket::SendStatus::kOk);
      EXPECT_EQ(drain(client, server_at), count_up(41)) << ip << offloads;
    }
  }
}

// A forged word of a router must not make the kernel cut datagrams into fragments.
TEST(UdpSocket, HearsNoWordAboutThePathsMtu) {
  const auto socket = open_udp({});
  ASSERT_TRUE(socket);
  int value = 0;
  socklen_t size = sizeof(value);
  ASSERT_EQ(getsockopt(socket->get(), IPPROTO_IP, IP_MTU_DISCOVER, &value, &size), 0);
  EXPECT_EQ(value, IP_PMTUDISC_OMIT);
}

TEST(UdpSocket, SegmentsInTheKernelWhereItCan) {
  Pair pair = make_pair("127.0.0.1");
  ASSERT_TRUE(pair.a.gso());
  ASSERT_TRUE(pair.b.gro());
  Batch batch(40, 1400, 0);
  (void)pair.a.send(pair.b_at, batch.packets);
  ASSERT_EQ(pair.a.flush(), UdpSocket::SendStatus::kOk);
  EXPECT_EQ(pair.a.counters().send_messages, 1U);
  EXPECT_EQ(drain(pair.b, pair.a_at), count_up(40));
  EXPECT_EQ(pair.b.counters().receive_messages, 1U);
}

// The kernel refuses GSO whose segments are longer than the path's MTU, for the
// whole message; single datagrams it fragments.
TEST(UdpSocket, FallsBackToSinglesWhenSegmentsExceedTheMtu) {
  Pair pair = make_pair("127.0.0.1");
  const int mtu_discovery = IP_PMTUDISC_DONT;
  (void)setsockopt(pair.a.fd(), IPPROTO_IP, IP_MTU_DISCOVER, &mtu_discovery, sizeof(mtu_discovery));
  Batch batch(2, 66'000 / 2, 0);  // 66,000 bytes: over the message's limit, as EMSGSIZE
  (void)pair.a.send(pair.b_at, batch.packets);
  EXPECT_EQ(pair.a.flush(), UdpSocket::SendStatus::kOk);
  EXPECT_EQ(drain(pair.b, pair.a_at), count_up(2));
  EXPECT_TRUE(pair.a.gso());
  Batch small(4, 500, 0);
  (void)pair.a.send(pair.b_at, small.packets);
  EXPECT_EQ(pair.a.flush(), UdpSocket::SendStatus::kOk);
  EXPECT_EQ(drain(pair.b, pair.a_at), count_up(4));
}

TEST(UdpSocket, SaysWhyASendFailedAndGoesOn) {
  Pair pair = make_pair("127.0.0.1");
  Batch lost(3, 500, 90);
  Batch kept(3, 500, 0);
  (void)pair.a.send({*parse_ip("255.255.255.255"), 9}, lost.packets);  // EACCES without SO_BROADCAST
  (void)pair.a.send(pair.b_at, kept.packets);
  EXPECT_EQ(pair.a.flush(), UdpSocket::SendStatus::kFailed);
  EXPECT_NE(pair.a.last_error(), 0);
  EXPECT_EQ(pair.a.sent().size(), 6U);
  EXPECT_EQ(drain(pair.b, pair.a_at), count_up(3));
}

TEST(OpenUdp, SaysWhatItCannotBind) {
  const auto socket = open_udp({.address = *parse_ip("192.0.2.77"), .port = 5080});
  ASSERT_FALSE(socket);
  EXPECT_NE(socket.error().message.find("bind UDP 192.0.2.77 port 5080"), std::string::npos)
      << socket.error().message;
}

// A WAN whose `bind` address has not come yet must not keep the engine, and the other WANs, from starting.
TEST(OpenUdp, BindsToAnAddressThatMayComeLater) {
  UdpOptions options;
  options.address = parse_ip("192.0.2.77").value();
  options.may_come_later = true;
  EXPECT_TRUE(open_udp(options).has_value());
}

}  // namespace
}  // namespace bondd::mlvpn

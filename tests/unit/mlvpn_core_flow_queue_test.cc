// What the queue before the lines does with packets whose senders understand a mark, and with hosts of many
// flows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <vector>

#include "bondd/mlvpn/core/ecn.h"
#include "bondd/mlvpn/core/flow_queue.h"

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;
constexpr TimePoint kStart{1h};
constexpr std::uint8_t kNotEct = 0, kEct1 = 1, kEct0 = 2, kCe = 3;
constexpr std::size_t kEthernet = 14;

// RFC 1071: 0 over a header whose checksum is right.
std::uint16_t checksum_of(std::span<const std::uint8_t> header) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i + 1 < header.size(); i += 2) sum += header[i] << 8 | header[i + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

// UDP of `host` in 10.0.0.0/24 from `port` to the Internet.
std::vector<std::uint8_t> ip4(std::uint8_t ecn, std::uint8_t host = 1, std::uint16_t port = 1000,
                              std::size_t size = 1000) {
  std::vector<std::uint8_t> p(size);
  p[0] = 0x45;
  p[1] = static_cast<std::uint8_t>(0xb8 | ecn);
  p[2] = static_cast<std::uint8_t>(size >> 8);
  p[3] = static_cast<std::uint8_t>(size);
  p[8] = 64;
  p[9] = 17;
  const std::uint8_t addresses[] = {10, 0, 0, host, 192, 0, 2, 1};
  std::copy(std::begin(addresses), std::end(addresses), p.begin() + 12);
  p[20] = static_cast<std::uint8_t>(port >> 8);
  p[21] = static_cast<std::uint8_t>(port);
  const std::uint16_t sum = checksum_of({p.data(), 20});
  p[10] = static_cast<std::uint8_t>(sum >> 8);
  p[11] = static_cast<std::uint8_t>(sum);
  return p;
}

std::vector<std::uint8_t> ip6(std::uint8_t ecn) {
  std::vector<std::uint8_t> p(60);
  p[0] = 0x6b;
  p[1] = static_cast<std::uint8_t>(0x85 | ecn << 4);
  p[6] = 17;
  return p;
}

std::vector<std::uint8_t> framed(const std::vector<std::uint8_t>& packet, std::uint16_t type) {
  std::vector<std::uint8_t> p(kEthernet);
  p[12] = static_cast<std::uint8_t>(type >> 8);
  p[13] = static_cast<std::uint8_t>(type);
  p.insert(p.end(), packet.begin(), packet.end());
  return p;
}

TEST(Ecn, MarksWhoUnderstandsItAndKeepsTheChecksumRight) {
  for (const std::uint8_t ecn : {kEct0, kEct1, kCe}) {
    auto packet = ip4(ecn);
    EXPECT_TRUE(mark_congestion(packet, DeviceKind::kTun));
    EXPECT_EQ(packet[1], 0xb8 | kCe) << "the service class stays";
    EXPECT_EQ(checksum_of({packet.data(), 20}), 0);
    auto six = ip6(ecn);
    EXPECT_TRUE(mark_congestion(six, DeviceKind::kTun));
    EXPECT_EQ(six[0], 0x6b);
    EXPECT_EQ(six[1], 0x85 | kCe << 4);
    auto frame = framed(ip4(ecn), 0x0800);
    EXPECT_TRUE(mark_congestion(frame, DeviceKind::kTap));
    EXPECT_EQ(frame[kEthernet + 1], 0xb8 | kCe);
  }
}

TEST(Ecn, ChangesNothingElse) {
  const std::vector<std::vector<std::uint8_t>> packets = {ip4(kNotEct),
                                                          ip6(kNotEct),
                                                          {},
                                                          {0x45, 0x02},
                                                          std::vector<std::uint8_t>(19, 0x4f),
                                                          std::vector<std::uint8_t>(39, 0x6f)};
  for (auto packet : packets) {
    const auto before = packet;
    EXPECT_FALSE(mark_congestion(packet, DeviceKind::kTun));
    EXPECT_EQ(packet, before);
  }
  for (const std::uint16_t type :
       std::initializer_list<std::uint16_t>{0x0806, 0x8100}) {  // ARP, a VLAN's tag
    auto frame = framed(ip4(kEct0), type);
    const auto before = frame;
    EXPECT_FALSE(mark_congestion(frame, DeviceKind::kTap));
    EXPECT_EQ(frame, before);
  }
}

// The checksum comes out right whatever it was: all 65536, so the two forms of zero, too.
TEST(Ecn, ChecksumOfAnyHeaderStaysRight) {
  for (std::uint32_t id = 0; id <= 0xffff; ++id) {
    auto packet = ip4(kEct0, 1, 1000, 24);
    packet[4] = static_cast<std::uint8_t>(id >> 8);
    packet[5] = static_cast<std::uint8_t>(id);
    packet[10] = packet[11] = 0;
    const std::uint16_t sum = checksum_of({packet.data(), 20});
    packet[10] = static_cast<std::uint8_t>(sum >> 8);
    packet[11] = static_cast<std::uint8_t>(sum);
    ASSERT_TRUE(mark_congestion(packet, DeviceKind::kTun));
    ASSERT_EQ(checksum_of({packet.data(), 20}), 0) << id;
  }
}

struct Queue {
  BufferPool pool{1024};
  FlowQueue queue;
  std::vector<std::uint8_t> dropped;  // the TOS of each

  void put(const std::vector<std::uint8_t>& bytes, FlowBucket flow = 1, Duration at = 0ms) {
    PacketRef packet = *pool.take();
    packet.size = static_cast<std::uint32_t>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), packet.data);
    queue.push(kStart + at, packet, flow, [&](const PacketRef& p) {
      dropped.push_back(p.data[1]);
      pool.give(p);
    });
  }
  std::vector<int> ecn_of_all() {
    std::vector<int> out;
    while (const auto item = queue.pop()) out.push_back(item->packet.data[1] & kCe);
    return out;
  }
};

TEST(FlowQueueEcn, OneIsMarkedInsteadOfDropped) {
  Queue q;
  q.queue.set_limit(6000, 100ms);
  for (int i = 0; i < 7; ++i) q.put(ip4(kEct0));
  EXPECT_THAT(q.dropped, testing::IsEmpty());
  EXPECT_EQ(q.queue.marked(), 1U) << "and its sender has its time to slow down";
  q.put(ip4(kEct0), 1, 101ms);
  EXPECT_EQ(q.queue.marked(), 2U);
  EXPECT_EQ(q.ecn_of_all().front(), kCe) << "the oldest: its sender learns of it soonest";
}

TEST(FlowQueueEcn, WhoDoesNotUnderstandIsDropped) {
  Queue q;
  q.queue.set_limit(5000, 100ms);
  for (int i = 0; i < 6; ++i) q.put(ip4(kNotEct));
  EXPECT_EQ(q.dropped.size(), 1U);
  EXPECT_EQ(q.queue.marked(), 0U);
}

// A sender that does not slow down at marks must not get more than others.
TEST(FlowQueueEcn, WhoIgnoresMarksIsDroppedFarAboveTheLimit) {
  Queue q;
  q.queue.set_limit(5000, 1ms);
  for (int i = 0; i < 40; ++i) q.put(ip4(kEct0), 1, i * 10ms);
  EXPECT_LE(q.queue.bytes(), 7500U);
  EXPECT_FALSE(q.dropped.empty());
}

// Packets of the office's computers, each flow known by its port.
struct Office {
  BufferPool pool{4096};
  FlowQueue queue;
  std::map<int, int> dropped;  // by computer

  explicit Office(OfficeSide side) : queue({DeviceKind::kTun, side, 5}) { queue.set_limit(1 << 22); }
  void put(std::uint8_t host, std::uint16_t port, int packets) {
    for (int i = 0; i < packets; ++i) {
      PacketRef packet = *pool.take();
      const auto bytes = ip4(kNotEct, host, port);
      packet.size = static_cast<std::uint32_t>(bytes.size());
      std::copy(bytes.begin(), bytes.end(), packet.data);
      queue.push(kStart, packet, flow_bucket(bytes, DeviceKind::kTun, 5), [&](const PacketRef& p) {
        ++dropped[p.data[15]];
        pool.give(p);
      });
    }
  }
  std::map<int, int> pop(int packets) {
    std::map<int, int> by_host;
    for (int i = 0; i < packets; ++i) {
      const auto item = queue.pop();
      if (!item) break;
      ++by_host[item->packet.data[15]];
      pool.give(item->packet);
    }
    return by_host;
  }
};

TEST(FlowQueueHosts, OneOfManyFlowsGetsNoMoreThanOneOfASingleFlow) {
  for (const bool known : {true, false}) {
    Office office(known ? OfficeSide::kSource : OfficeSide::kDestination);
    for (std::uint16_t port = 1; port <= 16; ++port) office.put(1, port, 40);
    office.put(2, 99, 200);
    office.pop(40);  // new flows have their first packets before all others
    const auto got = office.pop(200);
    if (known) {
      EXPECT_NEAR(got.at(2), 100, 5);
    } else {
      EXPECT_LT(got.at(2), 20) << "all have the same address there: by flows";
    }
  }
}

TEST(FlowQueueHosts, WhatOneDoesNotUseIsTheOthers) {
  Office office(OfficeSide::kSource);
  for (std::uint16_t port = 1; port <= 4; ++port) office.put(1, port, 100);
  office.put(2, 99, 10);
  EXPECT_EQ(office.pop(410).at(1), 400);
  EXPECT_FALSE(office.queue.pop());
  for (int round = 0; round < 3; ++round) {
    office.put(2, 99, 20);
    office.put(3, 5, 20);
    const auto got = office.pop(20);
    EXPECT_NEAR(got.at(2), 10, 2) << "nobody has a debt or a claim from before";
    office.pop(20);
  }
}

TEST(FlowQueueHosts, DropsOfTheOneForWhichMostWaits) {
  Office office(OfficeSide::kSource);
  for (std::uint16_t port = 1; port <= 20; ++port) office.put(1, port, 10);
  office.put(2, 99, 50);
  office.queue.set_limit(200'000);
  office.put(3, 7, 1);
  EXPECT_THAT(office.dropped, testing::ElementsAre(testing::Pair(1, 51)));
}

}  // namespace
}  // namespace bondd::mlvpn

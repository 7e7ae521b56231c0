#include <gtest/gtest.h>

#include "bondd/mlvpn/io/checksum.h"
#include "bondd/mlvpn/io/segment.h"
#include "mlvpn_io_packets.h"

namespace bondd::mlvpn {
namespace {

using test::Bytes;
using test::PacketSpec;

std::vector<Bytes> cut(const PacketSpec& spec, Bytes packet, const VnetHeader& header,
                       std::size_t max_segment = 1456) {
  const SegmentPlan plan = SegmentPlan::make(spec.kind, header, packet, max_segment);
  EXPECT_EQ(plan.error(), SegmentError::kNone);
  std::vector<Bytes> segments;
  for (std::size_t i = 0; i < plan.count(); ++i) {
    segments.emplace_back(plan.size(i));
    plan.write(i, segments.back().data());
  }
  return segments;
}

SegmentError error_of(Bytes packet, const VnetHeader& header, std::size_t max_segment = 1456) {
  const SegmentPlan plan = SegmentPlan::make(DeviceKind::kTun, header, packet, max_segment);
  if (plan.error() != SegmentError::kNone) {
    EXPECT_EQ(plan.count(), 0U);
  }
  return plan.error();
}

TEST(Checksum, AgreesWithTheSlowOneForEveryLengthAndAlignment) {
  std::mt19937 random(1);
  const Bytes bytes = test::random_bytes(random, 1600);
  for (std::size_t offset : {0U, 1U, 3U}) {
    for (std::size_t size = 0; size + offset <= bytes.size(); ++size) {
      const auto part = std::span{bytes}.subspan(offset, size);
      const std::uint16_t folded = checksum_fold(checksum_add(part));
      std::array<std::uint8_t, 2> stored{};
      std::memcpy(stored.data(), &folded, 2);
      ASSERT_EQ(test::get16(stored, 0), test::slow_sum(part)) << offset << " " << size;
    }
  }
}

TEST(Segment, PassesASinglePacketAsItIs) {
  const PacketSpec spec{.payload = Bytes(100, 9)};
  const Bytes packet = test::build(spec);
  const auto segments = cut(spec, packet, {});
  ASSERT_EQ(segments.size(), 1U);
  EXPECT_EQ(segments[0], packet);
}

TEST(Segment, CompletesTheChecksumOfASinglePacket) {
  for (const bool udp : {false, true}) {
    const PacketSpec spec{.udp = udp, .payload = Bytes(101, 9)};
    VnetHeader header = test::gso_header(spec, 0);
    header.gso_type = kGsoNone;
    const auto segments = cut(spec, test::build(spec, true), header);
    ASSERT_EQ(segments.size(), 1U);
    EXPECT_EQ(segments[0], test::build(spec));
  }
}

TEST(Segment, NumbersIdsAndSequencesAndKeepsFlagsWhereTheyBelong) {
  PacketSpec spec{.id = 0xffff, .sequence = 0xffffff00, .flags = 0x10 | 0x08 | 0x01 | 0x80};
  spec.payload = Bytes(2500, 5);
  VnetHeader header = test::gso_header(spec, 1000);
  header.gso_type |= kGsoEcn;
  const auto segments = cut(spec, test::build(spec, true), header);
  ASSERT_EQ(segments.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(test::get16(segments[i], 4), (0xffff + i) & 0xffff);
    EXPECT_EQ(test::get32(segments[i], 24), static_cast<std::uint32_t>(0xffffff00 + 1000 * i));
  }
  EXPECT_EQ(segments[0][33], 0x10 | 0x80);         // ACK, CWR
  EXPECT_EQ(segments[1][33], 0x10);                // ACK
  EXPECT_EQ(segments[2][33], 0x10 | 0x08 | 0x01);  // ACK, PSH, FIN
  EXPECT_EQ(segments[2].size(), spec.data() + 500);
}

TEST(Segment, RandomSuperPacketsComeApartIntoValidPackets) {
  std::mt19937 random(20);
  for (int round = 0; round < 400; ++round) {
    PacketSpec spec;
    spec.kind = random() % 2 == 0 ? DeviceKind::kTun : DeviceKind::kTap;
    spec.ipv6 = random() % 2 == 0;
    spec.udp = random() % 3 == 0;
    spec.options = random() % 11 * 4;
    const std::size_t gso = 1 + random() % 1300;
    spec.payload = test::random_bytes(random, 1 + random() % std::min<std::size_t>(gso * 50, 60'000));
    const auto segments = cut(spec, test::build(spec, true), test::gso_header(spec, gso), 1456);
    Bytes together;
    for (const Bytes& segment : segments) {
      ASSERT_TRUE(test::slow_valid(spec, segment)) << "round " << round;
      together.insert(together.end(), segment.begin() + static_cast<std::ptrdiff_t>(spec.data()),
                      segment.end());
    }
    ASSERT_EQ(together, spec.payload) << "round " << round;
  }
}

// The next read is laid out by it, over buffers of 2 KiB.
TEST(Segment, NoSegmentIsLongerThanWhatALinkCarriesWhateverTheHeaderSays) {
  const PacketSpec spec{.payload = Bytes(100, 1)};
  Bytes packet = test::build(spec, true);
  const auto plan = SegmentPlan::make(DeviceKind::kTun, test::gso_header(spec, 60'000), packet, 1456);
  EXPECT_EQ(plan.count(), 1U);
  EXPECT_LE(plan.header_size() + plan.gso_size(), 1456U);
}

TEST(Segment, RefusesWhatItWasNotPromised) {
  const PacketSpec spec{.payload = Bytes(3000, 1)};
  const Bytes packet = test::build(spec, true);
  const VnetHeader good = test::gso_header(spec, 1000);
  EXPECT_EQ(error_of(packet, good), SegmentError::kNone);

  VnetHeader header = good;
  header.gso_type = 3;  // UFO
  EXPECT_EQ(error_of(packet, header), SegmentError::kUnknownGso);
  header = good;
  header.gso_type = kGsoTcpV6;
  EXPECT_EQ(error_of(packet, header), SegmentError::kMalformed);
  header = good;
  header.gso_size = 0;
  EXPECT_EQ(error_of(packet, header), SegmentError::kMalformed);
  header = good;
  header.flags = 0;
  EXPECT_EQ(error_of(packet, header), SegmentError::kMalformed);
  header = good;
  header.csum_start = 60000;
  EXPECT_EQ(error_of(packet, header), SegmentError::kMalformed);
  header = good;
  header.csum_offset = 2;
  EXPECT_EQ(error_of(packet, header), SegmentError::kMalformed);
  EXPECT_EQ(error_of(packet, good, 900), SegmentError::kTooLarge);
  EXPECT_EQ(error_of(Bytes(packet.begin(), packet.begin() + 30), good), SegmentError::kMalformed);
  EXPECT_EQ(error_of({}, {}), SegmentError::kMalformed);
  EXPECT_EQ(error_of(Bytes(2000), {}), SegmentError::kTooLarge);
  header = {};
  header.flags = kVnetNeedsCsum;
  header.csum_start = 99;
  header.csum_offset = 1;
  EXPECT_EQ(error_of(Bytes(100), header), SegmentError::kMalformed);
}

}  // namespace
}  // namespace bondd::mlvpn

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "bondd/mlvpn/io/coalesce.h"
#include "bondd/mlvpn/io/segment.h"
#include "mlvpn_io_packets.h"

namespace bondd::mlvpn {
namespace {

using test::Bytes;
using test::PacketSpec;
using ::testing::ElementsAre;

constexpr CoalesceOptions kAll{.tcp4 = true, .tcp6 = true, .udp = true};

// What one writev would hand to the kernel.
struct Written {
  VnetHeader header;
  Bytes packet;
};

std::vector<Written> collect(const Coalescer& coalescer) {
  std::vector<Written> all;
  for (std::size_t i = 0; i < coalescer.writes(); ++i) {
    Written written;
    const auto slices = coalescer.slices(i);
    std::memcpy(&written.header, slices[0].iov_base, sizeof(written.header));
    for (const iovec& slice : slices.subspan(1)) {
      const auto* from = static_cast<const std::uint8_t*>(slice.iov_base);
      written.packet.insert(written.packet.end(), from, from + slice.iov_len);
    }
    all.push_back(std::move(written));
  }
  return all;
}

std::vector<Written> coalesce(std::vector<Bytes>& packets, DeviceKind kind = DeviceKind::kTun,
                              CoalesceOptions options = kAll) {
  Coalescer coalescer(kind, options);
  for (Bytes& packet : packets) EXPECT_TRUE(coalescer.add(packet));
  coalescer.finish();
  return collect(coalescer);
}

// How many packets each write took of `specs`, each following the one before
// in its flow after `change` was made to it.
std::vector<std::size_t> run_lengths(std::vector<PacketSpec> specs) {
  std::vector<Bytes> packets;
  for (const PacketSpec& spec : specs) packets.push_back(test::build(spec));
  Coalescer coalescer(specs[0].kind, kAll);
  for (Bytes& packet : packets) EXPECT_TRUE(coalescer.add(packet));
  coalescer.finish();
  std::vector<std::size_t> lengths;
  for (std::size_t i = 0; i < coalescer.writes(); ++i) lengths.push_back(coalescer.packets(i));
  return lengths;
}

// Three packets of one flow, 100 bytes each.
std::vector<PacketSpec> three(PacketSpec first = {}) {
  first.payload = Bytes(100, 3);
  std::vector<PacketSpec> specs(3, first);
  for (std::uint16_t i = 0; i < 3; ++i) {
    specs[i].sequence += 100U * i;
    specs[i].id = static_cast<std::uint16_t>(specs[i].id + i);
  }
  return specs;
}

TEST(Coalesce, JoinsThreePacketsOfAFlow) {
  EXPECT_THAT(run_lengths(three()), ElementsAre(3));
  EXPECT_THAT(run_lengths(three({.ipv6 = true})), ElementsAre(3));
  EXPECT_THAT(run_lengths(three({.udp = true})), ElementsAre(3));
  EXPECT_THAT(run_lengths(three({.kind = DeviceKind::kTap})), ElementsAre(3));
}

TEST(Coalesce, DoesNotJoinWhatDiffersInAHeader) {
  const std::vector<void (*)(PacketSpec&)> changes{
      [](PacketSpec& spec) { spec.tos = 8; },         [](PacketSpec& spec) { spec.tos = 3; },  // ECN
      [](PacketSpec& spec) { spec.ttl = 63; },        [](PacketSpec& spec) { spec.dont_fragment = false; },
      [](PacketSpec& spec) { spec.ack = 78; },        [](PacketSpec& spec) { spec.window = 501; },
      [](PacketSpec& spec) { spec.options = 8; },     [](PacketSpec& spec) { spec.option_value = 2; },
      [](PacketSpec& spec) { spec.flags = 0x30; },  // URG
      [](PacketSpec& spec) { spec.flags = 0x50; },  // ECE
      [](PacketSpec& spec) { spec.flags = 0x90; },  // CWR
      [](PacketSpec& spec) { spec.flags = 0x12; },  // SYN
      [](PacketSpec& spec) { spec.flags = 0x14; },  // RST
      [](PacketSpec& spec) { spec.sequence += 1; },   [](PacketSpec& spec) { spec.payload.assign(101, 3); },
      [](PacketSpec& spec) { spec.payload.clear(); },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    auto specs = three();
    changes[i](specs[1]);
    EXPECT_THAT(run_lengths(specs), ElementsAre(1, 1, 1)) << "change " << i;
  }
}

TEST(Coalesce, PshFinAndAShortPacketEndARun) {
  auto specs = three();
  specs[1].flags |= 0x08;
  EXPECT_THAT(run_lengths(specs), ElementsAre(2, 1));
  specs = three();
  specs[1].flags |= 0x01;
  EXPECT_THAT(run_lengths(specs), ElementsAre(2, 1));
  specs = three();
  specs[1].payload.resize(99);
  specs[2].sequence -= 1;
  EXPECT_THAT(run_lengths(specs), ElementsAre(2, 1));
}

TEST(Coalesce, WithoutDontFragmentIdsMustCountUp) {
  EXPECT_THAT(run_lengths(three({.dont_fragment = false})), ElementsAre(3));
  auto specs = three({.dont_fragment = false});
  specs[1].id = 99;
  EXPECT_THAT(run_lengths(specs), ElementsAre(1, 1, 1));
}

TEST(Coalesce, NeverLaundersACorruptPacket) {
  for (std::size_t broken = 0; broken < 3; ++broken) {
    std::vector<Bytes> packets;
    for (const PacketSpec& spec : three()) packets.push_back(test::build(spec));
    packets[broken].back() ^= 1;
    const std::vector<Bytes> before = packets;
    const auto written = coalesce(packets);
    bool found = false;
    for (const Written& one : written) {
      if (one.packet != before[broken]) continue;
      found = true;
      EXPECT_EQ(one.header.flags, 0);
    }
    EXPECT_TRUE(found) << broken;
  }
}

TEST(Coalesce, LeavesUdpWithoutChecksumAlone) {
  std::vector<Bytes> packets;
  for (const PacketSpec& spec : three({.udp = true})) {
    packets.push_back(test::build(spec));
    test::put16(packets.back(), spec.checksum_at(), 0);
  }
  EXPECT_EQ(coalesce(packets).size(), 3U);
}

TEST(Coalesce, JoinsOnlyWhatTheKernelTakes) {
  for (const bool udp : {false, true}) {
    std::vector<Bytes> packets;
    for (const PacketSpec& spec : three({.udp = udp})) packets.push_back(test::build(spec));
    EXPECT_EQ(coalesce(packets, DeviceKind::kTun, {false, false, false}).size(), 3U);
  }
}

TEST(Coalesce, StaysWithin64KiB) {
  std::vector<PacketSpec> specs;
  PacketSpec spec;
  spec.payload = Bytes(1348, 1);
  for (int i = 0; i < 60; ++i) {
    specs.push_back(spec);
    spec.sequence += 1348;
  }
  EXPECT_THAT(run_lengths(specs), ElementsAre(48, 12));
}

TEST(Coalesce, SaysWhenABatchIsFull) {
  Coalescer coalescer(DeviceKind::kTun, kAll);
  Bytes packet = test::build({.payload = Bytes(10, 1)});
  for (std::size_t i = 0; i < Coalescer::kMaxPackets; ++i) ASSERT_TRUE(coalescer.add(packet));
  EXPECT_FALSE(coalescer.add(packet));
  coalescer.finish();
  coalescer.clear();
  EXPECT_TRUE(coalescer.empty());
  EXPECT_TRUE(coalescer.add(packet));
}

TEST(Coalesce, UndoesSegmentation) {
  std::mt19937 random(30);
  for (int round = 0; round < 300; ++round) {
    PacketSpec spec;
    spec.kind = random() % 2 == 0 ? DeviceKind::kTun : DeviceKind::kTap;
    spec.ipv6 = random() % 2 == 0;
    spec.udp = random() % 3 == 0;
    spec.dont_fragment = random() % 2 == 0;
    spec.options = random() % 11 * 4;
    if (!spec.udp && random() % 2 == 0) spec.flags = 0x18;
    const std::size_t gso = 1 + random() % 1300;
    spec.payload = test::random_bytes(random, gso + 1 + random() % std::min<std::size_t>(gso * 40, 60'000));
    const Bytes super = test::build(spec, true);
    const VnetHeader header = test::gso_header(spec, gso);
    Bytes packet = super;
    const SegmentPlan plan = SegmentPlan::make(spec.kind, header, packet, 1456);
    std::vector<Bytes> segments;
    for (std::size_t i = 0; i < plan.count(); ++i) {
      segments.emplace_back(plan.size(i));
      plan.write(i, segments.back().data());
    }
    const auto written = coalesce(segments, spec.kind);
    ASSERT_EQ(written.size(), 1U) << "round " << round;
    EXPECT_EQ(written[0].packet, super) << "round " << round;
    EXPECT_EQ(std::memcmp(&written[0].header, &header, sizeof(header)), 0) << "round " << round;
  }
}

// Packets of some flows in any order: every flow's packets must come out in the
// order in which they went in, whole and unchanged once they are cut again.
TEST(Coalesce, KeepsEveryFlowsOrder) {
  std::mt19937 random(40);
  for (int round = 0; round < 200; ++round) {
    std::map<std::uint16_t, std::vector<Bytes>> sent;
    std::map<std::uint16_t, PacketSpec> flows;
    std::vector<Bytes> packets;
    const std::size_t flow_count = 1 + random() % 24;
    for (int i = 0; i < 200; ++i) {
      const auto port = static_cast<std::uint16_t>(random() % flow_count);
      PacketSpec& spec = flows[port];
      spec.source_port = port;
      spec.payload = test::random_bytes(random, random() % 8 == 0 ? random() % 300 : 200);
      spec.flags = random() % 10 == 0 ? 0x18 : 0x10;
      packets.push_back(test::build(spec));
      if (random() % 12 == 0 && !packets.back().empty()) packets.back().back() ^= 4;
      sent[port].push_back(packets.back());
      spec.sequence += static_cast<std::uint32_t>(spec.payload.size());
      ++spec.id;
    }
    std::map<std::uint16_t, std::vector<Bytes>> got;
    for (Written& written : coalesce(packets)) {
      const SegmentPlan plan = SegmentPlan::make(DeviceKind::kTun, written.header, written.packet, 1456);
      ASSERT_EQ(plan.error(), SegmentError::kNone);
      for (std::size_t i = 0; i < plan.count(); ++i) {
        Bytes segment(plan.size(i));
        plan.write(i, segment.data());
        got[static_cast<std::uint16_t>(test::get16(segment, 20))].push_back(segment);
      }
    }
    ASSERT_EQ(got, sent) << "round " << round;
  }
}

}  // namespace
}  // namespace bondd::mlvpn

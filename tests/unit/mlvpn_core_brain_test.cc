// The parts of the brain, one by one.
#include "bondd/mlvpn/core/ack_filter.h"
#include "bondd/mlvpn/core/feedback.h"
#include "bondd/mlvpn/core/flow_queue.h"
#include "bondd/mlvpn/core/sender.h"

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;
constexpr TimePoint kStart{1h};

std::vector<std::uint8_t> udp(std::uint16_t port, std::size_t size = 100) {
  std::vector<std::uint8_t> p(size);
  p[0] = 0x45;
  p[9] = 17;
  p[22] = static_cast<std::uint8_t>(port >> 8);
  p[23] = static_cast<std::uint8_t>(port);
  return p;
}

TEST(ArrivalLog, NamesWhatIsMissing) {
  ArrivalLog log;
  for (const std::uint64_t seq : {100U, 101U, 104U, 105U, 106U, 108U}) log.on_packet(kStart, seq);
  const LinkReport report = log.report(7);
  EXPECT_EQ(report.highest, 108U);
  ASSERT_EQ(report.gaps.size(), 2U);
  EXPECT_EQ(report.gaps[0].received, 1);
  EXPECT_EQ(report.gaps[0].missing, 1);
  EXPECT_EQ(report.gaps[1].received, 3);
  EXPECT_EQ(report.gaps[1].missing, 2);
  EXPECT_EQ(report.span, 9U);
}

TEST(ArrivalLog, ForgetsAHoleThatIsFilled) {
  ArrivalLog log;
  EXPECT_FALSE(log.on_packet(kStart, 1));
  EXPECT_TRUE(log.on_packet(kStart, 3));
  EXPECT_FALSE(log.on_packet(kStart, 2));
  EXPECT_TRUE(log.report(0).gaps.empty());
}

TEST(ArrivalLog, StartsAnewAfterAJump) {
  ArrivalLog log;
  log.on_packet(kStart, 5);
  log.on_packet(kStart, std::uint64_t{1} << 60);
  EXPECT_TRUE(log.report(0).gaps.empty());
  EXPECT_EQ(log.report(0).span, 1U);
}

TEST(ArrivalLog, TimesNoPacketThatRanAhead) {
  ArrivalLog log;
  const auto timed = [&] { return log.report(0).highest - log.report(0).back; };
  for (std::uint64_t seq = 1; seq <= 5; ++seq) log.on_packet(kStart, seq);
  log.on_packet(kStart, 20);  // early
  EXPECT_EQ(timed(), 5U);
  log.on_packet(kStart + 1ms, 6);
  EXPECT_EQ(timed(), 6U);
  EXPECT_EQ(log.report(0).arrived_us, report_clock(kStart + 1ms));
  for (std::uint64_t seq = 8; seq <= 9; ++seq) log.on_packet(kStart, seq);  // 7 is lost
  EXPECT_EQ(timed(), 6U);
  log.on_packet(kStart, 10);
  EXPECT_EQ(timed(), 10U);
}

TEST(Report, ComesBackAsItWent) {
  Report report{250, 123456, {{42, 1ULL << 50, 99, 1000, 30, {{3, 2}, {65535, 1}}}, {43, 7, 1, 2, 1, {}}}};
  const auto bytes = render_report(report);
  const auto back = parse_report(bytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->patience_ms, 250);
  ASSERT_EQ(back->links.size(), 2U);
  EXPECT_EQ(back->links[0].flow_id, 42U);
  EXPECT_EQ(back->links[0].highest, 1ULL << 50);
  EXPECT_EQ(back->links[0].gaps[1].received, 65535);
  EXPECT_EQ(back->links[0].back, 1000U);
  EXPECT_EQ(back->links[1].span, 1U);
}

TEST(Report, RefusesAnyOtherLength) {
  const auto bytes = render_report({1, 2, {{42, 5, 9, 10, 30, {{3, 2}}}}});
  for (std::size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(parse_report(std::span(bytes).first(n))) << n;
  auto longer = bytes;
  longer.push_back(0);
  EXPECT_FALSE(parse_report(longer));
}

// Ten lines that lose 5 % have more gaps than fit a packet; and so have 60 without any.
TEST(Reporter, FitsOnePacketHoweverManyLinksLoseHowMuch) {
  for (const std::uint32_t links : {1U, 10U, 32U, 60U}) {
    Reporter reporter;
    for (std::uint64_t seq = 0; seq < 1000; ++seq) {
      if (seq % 3 == 1) continue;
      for (std::uint32_t link = 0; link < links; ++link) reporter.on_packet(kStart, link, seq, 100, true);
    }
    std::vector<std::size_t> gaps(links, 0);
    for (int i = 0; i < 2; ++i) {
      const auto bytes = reporter.make(kStart, 100ms);
      EXPECT_LE(bytes.size(), kMaxPayload) << links;
      const auto report = parse_report(bytes);
      ASSERT_TRUE(report) << links;
      for (const LinkReport& link : report->links) {
        EXPECT_EQ(link.highest, 999U);
        gaps.at(link.flow_id) = link.gaps.size();
      }
    }
    for (const std::size_t count : gaps) EXPECT_GE(count, links == 1 ? 40U : 5U) << links;
  }
}

TEST(FlowQueue, TakesTurnsAndLetsSparseFlowsPass) {
  BufferPool pool(64);
  FlowQueue queue;
  const auto drop = [&](const PacketRef& p) { pool.give(p); };
  const auto put = [&](std::uint16_t flow, std::uint32_t size) {
    PacketRef packet = *pool.take();
    packet.size = size;
    queue.push(kStart, packet, flow, drop);
  };
  for (int i = 0; i < 10; ++i) put(1, 1400);
  EXPECT_EQ(queue.pop()->bucket, 1);
  EXPECT_EQ(queue.pop()->bucket, 1);
  put(2, 80);
  EXPECT_TRUE(queue.sparse_next());
  const auto item = queue.pop();
  EXPECT_EQ(item->bucket, 2);
  EXPECT_TRUE(item->sparse);
  for (int i = 0; i < 8; ++i) EXPECT_FALSE(queue.pop()->sparse && i < 7);
  EXPECT_FALSE(queue.pop());
}

TEST(FlowQueue, TwoSmallPacketsAtOnceAreNoBulk) {
  BufferPool pool(64);
  FlowQueue queue;
  for (const std::uint32_t size : {1400U, 1400U, 1400U, 110U, 110U}) {
    PacketRef packet = *pool.take();
    packet.size = size;
    queue.push(kStart, packet, size == 110 ? 2 : 1, [&](const PacketRef& p) { pool.give(p); });
  }
  EXPECT_EQ(queue.pop()->bucket, 1);  // its first quantum
  EXPECT_EQ(queue.pop()->bucket, 1);
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(queue.sparse_next());
    const auto item = queue.pop();
    EXPECT_EQ(item->bucket, 2);
    EXPECT_TRUE(item->sparse);
  }
}

TEST(FlowQueue, SmallPacketsPassABulkFlowThatIsNewAgain) {
  BufferPool pool(64);
  FlowQueue queue;
  const auto put = [&](FlowBucket flow, std::uint32_t size) {
    PacketRef packet = *pool.take();
    packet.size = size;
    queue.push(kStart, packet, flow, [&](const PacketRef& p) { pool.give(p); });
  };
  for (int i = 0; i < 3; ++i) put(1, 1400);
  for (int i = 0; i < 2; ++i) put(3, 1400);
  put(2, 110);  // while no link takes bulk
  EXPECT_TRUE(queue.sparse_next());
  EXPECT_EQ(queue.pop()->bucket, 2);
  EXPECT_FALSE(queue.sparse_next());
  EXPECT_EQ(queue.pop()->bucket, 1);  // in the order of their coming
}

TEST(FlowQueue, DropsFromTheLongestQueue) {
  BufferPool pool(64);
  FlowQueue queue;
  queue.set_limit(5000);
  for (int i = 0; i < 10; ++i) {
    PacketRef packet = *pool.take();
    packet.size = 1000;
    queue.push(kStart, packet, i == 0 ? 7 : 1, [&](const PacketRef& p) { pool.give(p); });
  }
  EXPECT_EQ(queue.packets(), 5U);
  EXPECT_EQ(queue.dropped(), 5U);
  bool seven = false;
  while (const auto item = queue.pop()) seven = seven || item->bucket == 7;
  EXPECT_TRUE(seven);
}

// Packets of 1000 bytes, each of a flow, at times of a queue.
struct OldQueue {
  BufferPool pool{1024};
  FlowQueue queue;
  void put(Duration at, FlowBucket flow, int packets = 1) {
    for (int i = 0; i < packets; ++i) {
      PacketRef packet = *pool.take();
      packet.size = 1000;
      queue.push(kStart + at, packet, flow, [&](const PacketRef& p) { pool.give(p); });
    }
  }
};

// The lines fell to a tenth: a second of what they carried is ten of what they carry, and what a sender sends
// again would come behind all that.
TEST(FlowQueue, CutsAFlowWhoseFirstPacketWaitsTooLongButNoOther) {
  OldQueue old;
  old.queue.set_rate(100'000);
  old.put(0ms, 2, 3);
  old.put(0ms, 1, 100);
  old.put(800ms, 1);
  EXPECT_EQ(old.queue.dropped(), 0U);
  old.put(801ms, 1);
  EXPECT_EQ(old.queue.dropped(), 72U) << "0.3 s of 100 kB/s are left of 102 packets";
  EXPECT_EQ(old.pool.free_buffers(), 1024U - 33U);
  old.put(900ms, 1, 5);
  EXPECT_EQ(old.queue.dropped(), 72U) << "what is left is the oldest, and has its time to leave";
}

TEST(FlowQueue, KeepsTenPacketsOfASlowLine) {
  OldQueue old;
  old.queue.set_rate(1000);
  old.put(0ms, 1, 100);
  old.put(801ms, 1);
  EXPECT_EQ(old.queue.packets(), 15U) << "of 1500 bytes they are ten";
}

TEST(FlowQueue, CutsAgainWhenWhatCameAfterTheFirstCutWaitsTooLong) {
  OldQueue old;
  old.queue.set_rate(100'000);
  old.put(0ms, 1, 40);
  old.put(801ms, 1);
  EXPECT_EQ(old.queue.packets(), 30U);
  old.put(900ms, 1, 20);
  old.put(1800ms, 1);
  EXPECT_EQ(old.queue.packets(), 51U) << "what was kept is not gone yet";
  for (int i = 0; i < 30; ++i) (void)old.queue.pop();
  old.put(1801ms, 1, 10);
  EXPECT_EQ(old.queue.packets(), 30U);
}

// Without a rate nothing is known of what the lines carry.
TEST(FlowQueue, IsNotCutBeforeARateIsKnown) {
  OldQueue old;
  old.put(0ms, 1, 100);
  old.put(10s, 1);
  EXPECT_EQ(old.queue.dropped(), 0U);
}

TEST(FlowBucket, KeepsAFlowTogetherAndFragmentsByAddress) {
  EXPECT_EQ(flow_bucket(udp(53), DeviceKind::kTun, 1), flow_bucket(udp(53, 900), DeviceKind::kTun, 1));
  EXPECT_NE(flow_bucket(udp(53), DeviceKind::kTun, 1), flow_bucket(udp(54), DeviceKind::kTun, 1));
  auto fragment = udp(53), other = udp(54);
  fragment[6] = other[6] = 0x20;
  EXPECT_EQ(flow_bucket(fragment, DeviceKind::kTun, 1), flow_bucket(other, DeviceKind::kTun, 1));
  for (std::size_t n = 0; n < 60; ++n) {
    EXPECT_LT(flow_bucket(udp(1, std::max<std::size_t>(n, 24)), DeviceKind::kTap, 1), kFlowBuckets);
  }
}

// A TCP packet without payload: acknowledgement `ack`, with timestamps.
std::vector<std::uint8_t> tcp_ack(std::uint8_t ack, std::uint8_t flags = 0x10, std::size_t payload = 0) {
  std::vector<std::uint8_t> p(52 + payload);
  p[0] = 0x45;
  p[3] = static_cast<std::uint8_t>(p.size());
  p[9] = 6;
  p[31] = ack;
  p[32] = 8 << 4;
  p[33] = flags;
  p[40] = p[41] = 1;
  p[42] = 8;
  p[43] = 10;
  return p;
}

// The same with one selective block.
std::vector<std::uint8_t> tcp_sack(std::uint8_t ack, std::uint8_t begin, std::uint8_t end) {
  auto p = tcp_ack(ack, 0x10, 12);
  p[32] = 11 << 4;
  p[52] = p[53] = 1;
  p[54] = 5;
  p[55] = 10;
  p[59] = begin;
  p[63] = end;
  return p;
}

struct Filter {
  AckFilter filter;
  std::vector<std::vector<std::uint8_t>> kept;  // memory of the packets
  Filter() { filter.set_interval(10ms); }
  AckFilter::Verdict put(TimePoint now, std::vector<std::uint8_t> bytes, bool line_is_full = false) {
    kept.reserve(128);
    kept.push_back(std::move(bytes));
    return filter.handle(now, {kept.back().data(), static_cast<std::uint32_t>(kept.back().size()), 0}, 5,
                         line_is_full);
  }
};

TEST(AckFilter, SendsTheFirstAndThenTheNewestOfEachInterval) {
  Filter f;
  EXPECT_TRUE(f.put(kStart, tcp_ack(1)).first);
  EXPECT_FALSE(f.put(kStart + 1ms, tcp_ack(2)).first);
  EXPECT_TRUE(f.put(kStart + 2ms, tcp_ack(3)).dropped);
  EXPECT_EQ(f.filter.next_timeout(), kStart + 10ms);
  EXPECT_FALSE(f.filter.take_due(kStart + 9ms));
  const auto due = f.filter.take_due(kStart + 10ms);
  ASSERT_TRUE(due);
  EXPECT_EQ(due->packet.data[31], 3);
  EXPECT_EQ(f.filter.thinned(), 1U);
  EXPECT_FALSE(f.filter.next_timeout());
}

TEST(AckFilter, HoldsLongerWhatSaysLittleMore) {
  Filter f;
  for (int i = 1; i <= 20; ++i)
    EXPECT_TRUE(f.put(kStart + i * 10ms, tcp_ack(static_cast<std::uint8_t>(i * 10))).first);
  EXPECT_FALSE(f.put(kStart + 211ms, tcp_ack(201)).first);
  EXPECT_EQ(f.filter.next_timeout(), kStart + 230ms);
  EXPECT_TRUE(f.put(kStart + 215ms, tcp_ack(210)).dropped);  // as much as usual
  EXPECT_TRUE(f.filter.take_due(kStart + 215ms));
  EXPECT_TRUE(f.put(kStart + 245ms, tcp_ack(211)).first);  // after a pause, at once
}

TEST(AckFilter, PassesWhatSaysMoreThanAPlainAcknowledgement) {
  Filter f;
  f.put(kStart, tcp_ack(1));
  f.put(kStart + 1ms, tcp_ack(2));
  const auto fin = f.put(kStart + 2ms, tcp_ack(3, 0x11));
  ASSERT_TRUE(fin.first && fin.second);
  EXPECT_EQ(fin.first->data[31], 2);
  EXPECT_EQ(fin.second->data[31], 3);
  EXPECT_TRUE(f.put(kStart + 3ms, tcp_ack(3, 0x18, 10)).first);
}

TEST(AckFilter, NeverSwallowsADuplicate) {
  Filter f;
  f.put(kStart, tcp_ack(1));
  f.put(kStart + 1ms, tcp_ack(2));
  const auto twice = f.put(kStart + 2ms, tcp_ack(2));
  EXPECT_TRUE(twice.first && twice.second);
  EXPECT_FALSE(twice.dropped);
}

// A flow that repairs a loss acknowledges each packet: 1700 of them stood before an uplink of
// 1 Mbit/s, and the download stood still for a second.
TEST(AckFilter, ThinsSelectiveAcknowledgementsThatWouldQueue) {
  Filter f;
  EXPECT_TRUE(f.put(kStart, tcp_sack(1, 3, 4), true).first);
  EXPECT_FALSE(f.put(kStart + 1ms, tcp_sack(1, 3, 5), true).first);
  EXPECT_TRUE(f.put(kStart + 2ms, tcp_sack(1, 3, 6), true).dropped);
  EXPECT_TRUE(f.put(kStart + 3ms, tcp_ack(6), true).dropped);  // covers the block as well
  EXPECT_EQ(f.filter.take_due(kStart + 50ms)->packet.data[31], 6);
}

TEST(AckFilter, KeepsASelectiveAcknowledgementThatTheNextDoesNotCover) {
  Filter f;
  f.put(kStart, tcp_sack(1, 3, 4), true);
  f.put(kStart + 1ms, tcp_sack(1, 3, 5), true);
  const auto another = f.put(kStart + 2ms, tcp_sack(1, 8, 9), true);
  EXPECT_TRUE(another.first && another.second);
  f.put(kStart + 3ms, tcp_sack(1, 3, 10), true);
  const auto duplicate = f.put(kStart + 4ms, tcp_sack(5, 2, 3), true);  // a block below the number: DSACK
  EXPECT_FALSE(duplicate.dropped);
}

TEST(AckFilter, PassesSelectiveAcknowledgementsAtOnceWhileNothingWaits) {
  Filter f;
  for (std::uint8_t i = 4; i < 10; ++i) EXPECT_TRUE(f.put(kStart, tcp_sack(1, 3, i)).first);
}

TEST(AckFilter, LeavesOtherPacketsAlone) {
  Filter f;
  for (std::size_t n = 0; n < 70; ++n) EXPECT_TRUE(f.put(kStart, std::vector<std::uint8_t>(n, 0x45)).first);
}

// A sender with one link whose packets arrive, or not, as a test says.
struct OneLink {
  BufferPool pool{8192};
  Sender sender{{}, pool};
  ArrivalLog log;
  std::uint64_t seq = 0;
  TimePoint now = kStart;

  OneLink() {
    sender.add_link(0, 7, 0, false);
    sender.set_usable(now, 0, true);
    sender.handle_timeout(now);
  }
  void enqueue(std::uint8_t id) {
    auto packet = *pool.take();
    packet.size = 250;
    std::fill_n(packet.data, packet.size, id);
    packet.data[0] = 0x45;
    packet.data[1] = 0;  // its sender does not understand marks
    sender.enqueue(now, packet);
  }
  // Sends what can be sent; `arrives` decides by number. Returns how many packets of data.
  int send(const std::function<bool(std::uint64_t)>& arrives) {
    int data = 0;
    while (const auto departure = sender.next(now)) {
      if (departure->kind == Departure::Kind::kData) ++data;
      sender.sent(now, ++seq, departure->packet.size + 44);
      if (arrives(seq)) log.on_packet(now + 10ms, seq);
    }
    return data;
  }
  void report() {
    Report report{0, report_clock(now - 10ms), {log.report(7)}};
    sender.handle_report(now, report);
  }
};

TEST(Sender, RepairsMoreHolesThanAReportNames) {
  OneLink link;
  const auto all = [](std::uint64_t) { return true; };
  for (int i = 0; i < 50; ++i) {  // the link is measured
    link.enqueue(1);
    link.send(all);
    link.now += 20ms;
    link.report();
  }
  for (int i = 0; i < 120; ++i) link.enqueue(2);
  int sent = 0;
  for (int i = 0; i < 20; ++i, link.now += 1ms) sent += link.send([](std::uint64_t n) { return n % 2 == 0; });
  ASSERT_EQ(sent, 120);
  int repaired = 0;
  for (int i = 0; i < 20; ++i, link.now += 5ms) {
    link.report();
    repaired += link.send(all);
  }
  EXPECT_GE(repaired, 60);  // and what an unnamed number of others may be
}

// 128 kbit/s upwards below a quick download: the reports alone would fill the line, and
// without data of our own the peer sends none of its own that would tell us otherwise.
TEST(Sender, ReportsLeaveASlowLineHalfOfItsTimeForData) {
  OneLink link;
  link.sender.update_link(0, 16e3, false);
  int sent = 0;
  for (int i = 0; i < 1000; ++i, link.now += 1ms) {
    if (i % 5 == 0) link.enqueue(1);
    if (i % 5 == 0) link.sender.sent_control(link.now, 0, ++link.seq, 100);
    sent += link.send([](std::uint64_t) { return true; });
    link.report();
  }
  EXPECT_GE(sent, 20);
}

// Behind a hole that is repaired a whole window goes on at once, and the flow answers with
// twice as much: dropping of it before the lines are known stops its slow start.
TEST(Sender, TakesLongBurstsWhileALineThatJittersIsNotKnown) {
  const auto drops = [](Duration jitter) {
    OneLink link;
    for (int i = 0; i < 300; ++i, link.now += 20ms) {
      link.enqueue(1);
      while (const auto departure = link.sender.next(link.now)) {
        link.sender.sent(link.now, ++link.seq, departure->packet.size + 44);
        link.log.on_packet(link.now + 10ms + (i % 2) * jitter, link.seq);
      }
      link.now += jitter;
      link.report();
    }
    for (int i = 0; i < 3600; ++i) link.enqueue(1);  // 900 kB, 0.7 s of the line as guessed
    return link.sender.queue_drops();
  };
  EXPECT_EQ(drops(20ms), 0U);
  EXPECT_GT(drops(0ms), 0U);
}

// Two cellular lines that pause at once: the first one had been dead for ten seconds, and all
// that a new flow sent went there.
TEST(Sender, OfSilentLinksTakesTheOneThatAnsweredLast) {
  BufferPool pool{64};
  Sender sender{{}, pool};
  sender.add_link(0, 7, 0, false);
  sender.add_link(1, 8, 0, false);
  std::uint64_t seq = 0;
  TimePoint now = kStart;
  for (const LinkId id : {LinkId{0}, LinkId{1}}) sender.set_usable(now, id, true);
  ArrivalLog log;
  const auto turn = [&](bool answers) {
    std::optional<LinkId> data;
    auto packet = *pool.take();
    packet.size = 250;
    std::fill_n(packet.data, packet.size, std::uint8_t{1});
    packet.data[0] = 0x45;
    sender.enqueue(now, packet);
    while (const auto departure = sender.next(now)) {
      if (departure->kind == Departure::Kind::kData) data = departure->link;
      sender.sent(now, ++seq, departure->packet.size + 44);
      if (departure->link == 1) log.on_packet(now + 10ms, seq);
    }
    now += 20ms;
    if (answers && log.any()) sender.handle_report(now, {0, report_clock(now - 10ms), {log.report(8)}});
    sender.handle_timeout(now);
    return data;
  };
  for (int i = 0; i < 50; ++i) turn(true);  // link 0 never answers
  std::optional<LinkId> last;
  for (int i = 0; i < 30; ++i) last = turn(false).value_or(last.value_or(9));
  EXPECT_EQ(last, LinkId{1});
}

// Its probe is due and cannot leave: time alone changes nothing until the socket is writable.
TEST(Sender, ASilentLinkWithABlockedSocketDoesNotSpin) {
  OneLink link;
  link.enqueue(1);
  link.send([](std::uint64_t) { return false; });
  for (int i = 0; i < 200; ++i, link.now += 10ms) {
    link.sender.handle_timeout(link.now);
    link.send([](std::uint64_t) { return false; });
  }
  link.sender.set_blocked(0, true);
  link.now += 1s;
  link.sender.handle_timeout(link.now);
  link.send([](std::uint64_t) { return false; });
  const auto next = link.sender.next_timeout(link.now);
  EXPECT_TRUE(!next || *next > link.now);
}

}  // namespace
}  // namespace bondd::mlvpn

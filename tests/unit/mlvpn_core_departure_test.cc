// A departure that was looked at and could not leave (the pool is empty) outlives what it
// was made for: its link, its session, the packet that it copies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bondd/mlvpn/core/sender.h"

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

// A sender with two measured links of 20 and 30 ms.
struct TwoLinks {
  static constexpr std::size_t kBuffers = 256;
  BufferPool pool{kBuffers};
  Sender sender{{}, pool};
  ArrivalLog logs[2];
  std::uint64_t seq = 0;
  TimePoint now{1h};

  TwoLinks() {
    for (LinkId link : {LinkId{0}, LinkId{1}}) {
      sender.add_link(link, 7U + link, 0, false);
      sender.set_usable(now, link, true);
    }
    for (int i = 0; i < 100; ++i) {
      sender.handle_timeout(now);
      drain();
      now += 20ms;
      report();
    }
  }
  void enqueue() {
    auto packet = *pool.take();
    packet.size = 100;
    std::fill_n(packet.data, packet.size, std::uint8_t{0x45});
    sender.enqueue(now, packet);
  }
  void send(const Departure& departure) {
    sender.sent(now, ++seq, departure.packet.size + 44);
    logs[departure.link].on_packet(now + 10ms + 5ms * departure.link, seq);
  }
  int drain() {
    int data = 0;
    while (const auto departure = sender.next(now)) {
      data += departure->kind == Departure::Kind::kData;
      send(*departure);
    }
    return data;
  }
  void report() {
    Report report{0, report_clock(now), {}};
    for (std::uint32_t link : {0U, 1U}) {
      if (logs[link].any()) report.links.push_back(logs[link].report(7 + link));
    }
    sender.handle_report(now, report);
  }
  // All that is under way arrives and is reported.
  void settle() {
    for (int i = 0; i < 10; ++i) {
      drain();
      now += 20ms;
      report();
    }
  }
};

TEST(Departure, LeavesByAnotherLinkWhenItsOwnEnds) {
  for (const bool removed : {false, true}) {
    TwoLinks bond;
    bond.enqueue();
    const auto first = bond.sender.next(bond.now);
    ASSERT_TRUE(first);
    if (removed) {
      bond.sender.remove_link(bond.now, first->link);
    } else {
      bond.sender.set_usable(bond.now, first->link, false);
    }
    const auto again = bond.sender.next(bond.now);
    ASSERT_TRUE(again);
    EXPECT_NE(again->link, first->link);
    EXPECT_EQ(again->packet.index, first->packet.index);
    EXPECT_EQ(again->data_seq, first->data_seq);
    bond.send(*again);
    bond.settle();
    EXPECT_EQ(bond.pool.free_buffers(), TwoLinks::kBuffers);
  }
}

// A packet whose copy has not left yet.
struct CopyWaits : TwoLinks {
  std::optional<Departure> original;
  CopyWaits() {
    enqueue();
    original = sender.next(now);
    send(*original);
  }
};

TEST(Departure, ACopyGoesWithItsLink) {
  for (const bool looked_at : {false, true}) {
    CopyWaits bond;
    if (looked_at) {
      ASSERT_EQ(bond.sender.next(bond.now)->kind, Departure::Kind::kCopy);
    }
    bond.sender.remove_link(bond.now, 1 - bond.original->link);
    EXPECT_FALSE(bond.sender.next(bond.now));
  }
}

TEST(Departure, ACopyIsNotSentOnceItsOriginalArrived) {
  for (const bool looked_at : {false, true}) {
    CopyWaits bond;
    if (looked_at) {
      ASSERT_EQ(bond.sender.next(bond.now)->kind, Departure::Kind::kCopy);
    }
    bond.now += 20ms;
    bond.report();  // its buffer is another packet's from here on
    EXPECT_EQ(bond.pool.free_buffers(), TwoLinks::kBuffers);
    EXPECT_FALSE(bond.sender.next(bond.now));
  }
}

TEST(Departure, AnEndedSessionTakesItAlong) {
  TwoLinks bond;
  bond.enqueue();
  ASSERT_TRUE(bond.sender.next(bond.now));
  bond.sender.reset_session(bond.now);
  EXPECT_FALSE(bond.sender.next(bond.now));
  EXPECT_EQ(bond.pool.free_buffers(), TwoLinks::kBuffers);
}

TEST(Departure, AnEndedSessionTakesACopyAlong) {
  CopyWaits bond;
  bond.sender.reset_session(bond.now);
  EXPECT_FALSE(bond.sender.next(bond.now));
  EXPECT_EQ(bond.pool.free_buffers(), TwoLinks::kBuffers);
}

}  // namespace
}  // namespace bondd::mlvpn

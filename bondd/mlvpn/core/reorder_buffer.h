// Puts DATA back in order of data_seq without ever stalling.
//
//   delivered … | next | hole | held | hole | held held |
//
// The hole at `next` is waited for only while it can still be filled:
//  * each link keeps its own packets in order, so when every link that carries
//    traffic has delivered something newer, what is missing is lost (after the
//    link's own measured disorder, nearly always 0);
//  * else when the measured spread of the links has passed since the first
//    newer packet came.
// Then delivery goes on, in order. A packet that comes after all, late, is
// delivered at once: to lose it would be worse. What was delivered is
// remembered, so that nothing comes twice.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "bondd/mlvpn/core/packet.h"
#include "bondd/mlvpn/core/ring.h"
#include "bondd/mlvpn/core/types.h"

namespace bondd::mlvpn {

class ReorderBuffer {
 public:
  struct Counters {
    std::uint64_t late = 0, duplicates = 0, holes_lost = 0, no_buffer = 0;
  };

  // Holds at most `capacity` numbers beyond `next`. Ready packets go to `out`,
  // which the caller drains; what is dropped goes back to `pool`.
  ReorderBuffer(std::size_t capacity, Duration max_wait, BufferPool& pool, Ring<PacketRef>& out);

  // A DATA packet from `link`. Takes it.
  void insert(TimePoint now, LinkId link, std::uint64_t seq, const PacketRef& packet);
  // A DATA packet from `link` that needs no order came: the caller keeps it, the others
  // do not wait for it. False when it came before.
  bool pass(TimePoint now, LinkId link, std::uint64_t seq);
  // After a batch of inserts, or at the deadline: gives up what cannot come.
  void settle(TimePoint now);
  [[nodiscard]] std::optional<TimePoint> deadline() const { return deadline_; }

  // The peer counts from anew: everything held is released in order, and the
  // next packet's number is where to start.
  void reset();
  // The link may carry DATA from now on: what is missing may be on it.
  void expect_link(TimePoint now, LinkId link);
  // The link carries nothing any more: do not wait for it.
  void forget_link(LinkId link);
  // How far apart the links may deliver, from their round trips; the spread
  // that is measured on DATA adds to it.
  void set_spread_hint(Duration hint) { hint_ = hint; }
  // Copies what was borrowed into pool buffers.
  void own_all();

  [[nodiscard]] std::size_t held() const { return held_; }
  [[nodiscard]] const Counters& counters() const { return counters_; }
  [[nodiscard]] Duration patience() const;

 private:
  struct Slot {
    PacketRef packet;
    TimePoint arrived;
    bool present = false;
  };
  struct LinkProgress {
    std::uint64_t newest = 0;  // highest data_seq delivered by the link
    TimePoint last;
    bool active = false;
  };

  Slot& slot(std::uint64_t seq) { return slots_[seq & mask_]; }
  bool was_delivered(std::uint64_t seq) const {
    return (delivered_[(seq & mask_) >> 6] >> (seq & 63) & 1) != 0;
  }
  void mark(std::uint64_t seq, bool delivered);
  void deliver(const PacketRef& packet);
  bool stray(std::uint64_t seq);
  void late(TimePoint now, const LinkProgress& progress, std::uint64_t seq, const PacketRef& packet);
  void release_run();
  void skip_to(std::uint64_t seq);
  void find_first_held();
  void learn_spread(TimePoint now, Duration lateness);
  void learn_disorder(TimePoint now, Duration lateness);
  std::uint64_t oldest_progress(TimePoint now) const;

  BufferPool& pool_;
  Ring<PacketRef>& out_;
  Duration max_wait_;
  std::vector<Slot> slots_;
  std::vector<std::uint64_t> delivered_;  // bit per slot, for the numbers before next_
  std::uint64_t mask_;
  std::vector<std::uint64_t> borrowed_;  // numbers inserted this round, still in a slab

  bool started_ = false;
  unsigned strays_ = 0;      // in a row, see stray()
  std::uint64_t start_ = 0;  // first number after a reset: before it nothing is known
  std::uint64_t next_ = 0;
  std::uint64_t first_held_ = 0;  // valid while held_ > 0
  std::size_t held_ = 0;
  std::optional<TimePoint> deadline_;
  // When every active link had passed next_; empty while some has not.
  std::optional<TimePoint> passed_at_;
  std::uint64_t passed_next_ = 0;

  std::array<LinkProgress, 256> links_{};
  std::array<LinkId, 256> active_ids_{};
  std::size_t active_count_ = 0;

  Duration hint_ = std::chrono::milliseconds(50);
  Duration spread_{}, disorder_{};
  TimePoint spread_at_, disorder_at_;
  Counters counters_;
};

}  // namespace bondd::mlvpn

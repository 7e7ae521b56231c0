// Order of packets from a bondd peer, flow by flow. Such a peer's `data_seq` names the
// flow's bucket and the packet's number within it, so that a hole holds up nobody but
// the flow that it belongs to.
//
//   data_seq:  63..52 bucket | 51 delicate | 50..0 number, growing for the sender's life
//
// A packet of a delicate flow (small packets: games, voice, acknowledgements) is
// delivered as it comes. All others wait behind a hole for at most the patience, which
// the peer works out from its lines: their spread, and the time of a repair. What a hole
// held up goes at once when it is TCP's; datagrams go in portions, since a socket's buffer
// takes 90 of them (rmem_default) and QUIC slows down for each that is dropped there.
// A datagram that a jittering line brought early is kept for a while, see PlayOut.
//
// The number is not authenticated: who holds one line can write any. So no single number
// moves a flow far, none makes a packet with a right one get lost, and all rings together
// are bounded:
// * A number far ahead is delivered at once and moves nothing, until several in a row agree.
// * Whatever was skipped may still come and is delivered then, however far back it lies.
// * Many in a row from far back mean that the flow goes on there.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "bondd/base/units.h"
#include "bondd/mlvpn/core/flow_queue.h"
#include "bondd/mlvpn/core/packet.h"

namespace bondd::mlvpn {

struct FlowSeq {
  FlowBucket bucket = 0;
  bool delicate = false;
  std::uint64_t number = 0;
};

constexpr std::uint64_t pack_flow_seq(const FlowSeq& seq) {
  return std::uint64_t{seq.bucket} << 52 | std::uint64_t{seq.delicate} << 51 |
         (seq.number & ((std::uint64_t{1} << 51) - 1));
}
constexpr FlowSeq unpack_flow_seq(std::uint64_t value) {
  return {static_cast<FlowBucket>(value >> 52), (value >> 51 & 1) != 0,
          value & ((std::uint64_t{1} << 51) - 1)};
}

class FlowOrder {
 public:
  // `deliver` gets packets in order; `drop` what is not wanted (duplicates, far too late
  // or too new). `keep` makes a packet last that must wait (copies a borrowed one) and
  // returns nothing when there is no memory: the packet is then delivered out of order.
  struct Hooks {
    std::function<void(const PacketRef&)> deliver;
    std::function<void(const PacketRef&)> drop;
    std::function<std::optional<PacketRef>(const PacketRef&)> keep;
  };
  struct Counters {
    std::uint64_t late = 0, duplicates = 0, holes_lost = 0;
  };

  // At most `max_held` packets wait at any time.
  FlowOrder(std::size_t max_held, Hooks hooks);

  void set_patience(Duration patience) { patience_ = patience; }
  [[nodiscard]] Duration patience() const { return patience_; }

  // `hold`: how long the packet is to be kept if it is a datagram that came before none of
  // its flow's later ones.
  void insert(TimePoint now, std::uint64_t data_seq, const PacketRef& packet, Duration hold = {});
  // Gives up holes that were waited for long enough; delivers the next portions, and what
  // was kept for long enough.
  void handle_timeout(TimePoint now);
  [[nodiscard]] std::optional<TimePoint> next_timeout() const;
  // A new session of the peer: what waits is delivered, numbers start anywhere.
  void reset();

  [[nodiscard]] std::size_t held() const { return held_; }
  // Room for packets that wait, of all flows together.
  [[nodiscard]] std::size_t places() const { return places_; }
  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  struct Slot {
    PacketRef packet;
    TimePoint arrived{}, not_before{};
    bool full = false;
    bool done = false;  // delivered already, being delicate
  };
  struct Range {  // of numbers: first to end - 1
    std::uint64_t first = 0, end = 0;
  };
  // Numbers that came one above the other, where the flow is not.
  struct Run {
    std::uint64_t last = 0;
    unsigned length = 0;
    // Takes `number`; how many agree by now.
    unsigned add(std::uint64_t number);
  };
  struct Flow {
    std::uint64_t next = 0;             // the number that is waited for
    std::uint64_t top = 0;              // one above the highest number seen
    bool begun = false;                 // `next` is known
    std::vector<Range> given_up;        // below next, may still come; in order
    std::vector<std::uint64_t> strays;  // the last ones delivered from far ahead
    Run ahead, behind;
    TimePoint hole_since{};
    std::vector<Slot> slots;  // of numbers next to top, a power of two, by number
    bool listed = false;      // in waiting_
    bool kept = false;        // next is here, and goes at next_at
    TimePoint next_at{};
  };

  Slot& slot(Flow& flow, std::uint64_t number) { return flow.slots[number & (flow.slots.size() - 1)]; }
  bool make_room(Flow& flow, std::uint64_t number);
  void free_room(Flow& flow);
  static void advance(Flow& flow, bool arrived);
  static void give_up(Flow& flow, std::uint64_t first, std::uint64_t end);
  static void begin(Flow& flow, std::uint64_t number);
  void begin_anew(Flow& flow, std::uint64_t number);
  void await_next(Flow& flow);
  void release(TimePoint now, Flow& flow);
  void flush(Flow& flow);  // all that waits, with its holes
  void skip_hole(TimePoint now, Flow& flow);
  void insert_late(Flow& flow, std::uint64_t number, const PacketRef& packet);
  void insert_stray(Flow& flow, std::uint64_t number, const PacketRef& packet);

  std::size_t max_held_;
  Hooks hooks_;
  Duration patience_{std::chrono::milliseconds(250)};
  std::vector<Flow> flows_;
  std::vector<FlowBucket> waiting_;  // flows that have a hole, or packets to come
  std::size_t held_ = 0, places_ = 0;
  Counters counters_;
};

}  // namespace bondd::mlvpn

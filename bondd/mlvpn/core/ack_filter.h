// Thins the acknowledgements of bulk TCP flows: of those that say ever more, only the
// newest leaves, a few in each round trip.
//
// That saves the line of the way back (an ADSL upload is mostly such packets), and it
// keeps a flow growing: the sender's slow start takes a round trip that wobbles, or a
// close train of acknowledgements, for a full line and stops. Over a bond round trips
// always wobble while the links fill one after the other. HyStart judges a round trip
// only when at least eight acknowledgements came in it, two milliseconds apart at most.
// A round trip in which a packet is repaired is a long one: what advances little then
// waits longer.
//
// A flow that repairs a loss acknowledges every packet. That may be more than a thin way back
// takes, and the flow stands still behind its own acknowledgements: while they have to wait,
// a selective one replaces an older one if it covers all of its blocks.
//
// A flow that acknowledges seldom is never held up. Anything but a plain acknowledgement
// (data, SYN, FIN, ECN echoes, what tells of a duplicate) passes at once, after what was held
// before it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "bondd/base/units.h"
#include "bondd/mlvpn/core/flow_queue.h"
#include "bondd/mlvpn/core/packet.h"

namespace bondd::mlvpn {

class AckFilter {
 public:
  AckFilter();

  // At most one plain acknowledgement of a flow leaves in each `interval`, or in three when
  // it says little more than the one before; zero: all do.
  void set_interval(Duration interval) { interval_ = interval; }

  struct Verdict {
    std::optional<PacketRef> first, second;  // to be sent now, in this order
    std::optional<PacketRef> dropped;        // said less than what is held now
  };
  // Takes a packet of the flow in `bucket` (a tun's: no Ethernet header). `line_is_full`: what
  // is passed on has to wait; then selective acknowledgements are thinned, too.
  Verdict handle(TimePoint now, const PacketRef& packet, FlowBucket bucket, bool line_is_full = false);

  // The next held packet whose time has come, with its bucket.
  struct Due {
    PacketRef packet;
    FlowBucket bucket = 0;
  };
  std::optional<Due> take_due(TimePoint now);
  [[nodiscard]] std::optional<TimePoint> next_timeout() const;
  [[nodiscard]] std::uint64_t thinned() const { return thinned_; }

 private:
  struct Flow {
    std::optional<PacketRef> held;
    TimePoint last{}, due{};
    std::uint32_t number = 0;  // acknowledged by the last one
    double usual = 0;          // bytes by which they advance
  };
  static void note_sent(TimePoint now, Flow& flow, std::uint32_t number);
  [[nodiscard]] TimePoint due(const Flow& flow, std::uint32_t number) const;

  std::vector<Flow> flows_;
  std::vector<FlowBucket> holding_;
  Duration interval_{0};
  std::uint64_t thinned_ = 0;
};

}  // namespace bondd::mlvpn

// The small flows beside a bulk transfer: a ping and a game's stream.
#pragma once

#include <vector>

#include "tests/sim/event_queue.h"
#include "tests/sim/packet.h"

namespace bondd::sim {

// Delays of packets that arrived, in the order of arrival, and how many were sent.
struct Delays {
  std::vector<double> ms;
  std::uint64_t sent = 0;

  // `share` in 0 to 1; 0 when nothing arrived.
  double percentile(double share) const;
  double lost_share() const {
    return sent == 0 ? 0 : 1 - static_cast<double>(ms.size()) / static_cast<double>(sent);
  }
};

// Small packets at a steady pace: one way (a game's stream), or answered by the other
// end (a ping). Measuring begins when told.
class SmallStream final : public Actor {
 public:
  // `out` leads to the other end, `back` from there to here; null for one way.
  SmallStream(EventQueue& events, Address address, Duration interval, std::size_t payload, PacketSink& out,
              PacketSink* back);
  void start(TimePoint now) { on_event(now, 0); }
  void measure_from(TimePoint from) { from_ = from; }
  void receive(TimePoint now, const Packet& packet);
  void on_event(TimePoint now, std::uint64_t token) override;
  const Delays& delays() const { return delays_; }

 private:
  EventQueue& events_;
  Address address_;
  Duration interval_;
  std::size_t payload_;
  PacketSink& out_;
  PacketSink* back_;
  TimePoint from_ = TimePoint::max();
  Delays delays_;
};

}  // namespace bondd::sim

// One direction of a simulated line: netem's queue on the simulated clock.
#pragma once

#include "tests/sim/event_queue.h"
#include "tests/sim/netem.h"
#include "tests/sim/packet.h"

namespace bondd::sim {

class Line final : public PacketSink, public Actor {
 public:
  // `overhead` bytes are added to every packet for the headers that the model leaves
  // out: 14 for IP packets in Ethernet, 42 for UDP payloads.
  Line(EventQueue& events, const LineSpec& spec, std::uint64_t seed, std::size_t overhead, PacketSink& to)
      : events_(events), queue_(spec, seed), overhead_(overhead), to_(to) {}

  void receive(TimePoint now, Packet packet) override {
    const std::size_t frame = packet.size() + overhead_;
    bytes_ += frame;
    queue_.enqueue(now, std::move(packet), frame, [](const Packet& p) { return p; });
    arm();
  }

  void on_event(TimePoint now, std::uint64_t) override {
    posted_ = false;
    while (auto packet = queue_.dequeue(now)) to_.receive(now, std::move(*packet));
    arm();
  }

  NetemQueue<Packet>& queue() { return queue_; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  void arm() {
    const auto next = queue_.next_time();
    if (!next || (posted_ && posted_for_ <= *next)) return;
    posted_ = true;
    posted_for_ = *next;
    events_.post(*next, *this);
  }

  EventQueue& events_;
  NetemQueue<Packet> queue_;
  std::size_t overhead_;
  PacketSink& to_;
  bool posted_ = false;
  TimePoint posted_for_{};
  std::uint64_t bytes_ = 0;
};

}  // namespace bondd::sim

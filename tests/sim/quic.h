// A bulk UDP flow with QUIC's rules (RFC 9002): packet threshold 3, time threshold
// 9/8, probe timeouts, acknowledgement every second packet or 25 ms, at once when
// something is missing. CUBIC with HyStart++'s rule; numbers are never used twice.
#pragma once

#include <deque>
#include <set>

#include "tests/sim/cubic.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/packet.h"

namespace bondd::sim {

class QuicSender final : public Actor {
 public:
  // `payload`: bytes of each UDP datagram; `window`: flow control, in bytes.
  QuicSender(EventQueue& events, Address address, std::size_t payload, std::uint64_t window, PacketSink& out);
  void start(TimePoint now) { transmit(now); }
  void receive(TimePoint now, const Packet& packet);
  void on_event(TimePoint now, std::uint64_t token) override;

  std::uint64_t lost() const { return lost_; }
  double cwnd() const { return cubic_.cwnd; }

 private:
  enum Kind : std::uint64_t { kLoss = 1, kProbe = 2 };
  struct Sent {
    TimePoint time{};
    bool done = false;  // acknowledged or declared lost
  };

  void transmit(TimePoint now);
  void detect_losses(TimePoint now);
  void send(TimePoint now);
  void trim();

  Address address_;
  std::size_t payload_;
  std::uint64_t window_;
  PacketSink& out_;
  Cubic cubic_{Cubic::SlowStart::kByRounds};
  Timer loss_timer_, probe_timer_;
  std::uint64_t first_ = 0;
  std::deque<Sent> sent_;
  double in_flight_ = 0;
  std::uint64_t largest_ = 0;
  bool any_ack_ = false;
  TimePoint recovery_start_{};
  Duration srtt_{0}, rttvar_{0}, latest_{0};
  int probes_ = 0;
  std::uint64_t lost_ = 0;
};

class QuicReceiver final : public Actor {
 public:
  QuicReceiver(EventQueue& events, Address address, PacketSink& out);
  void receive(TimePoint now, const Packet& packet);
  void on_event(TimePoint now, std::uint64_t token) override;
  std::uint64_t delivered() const { return bytes_; }  // bytes of packets that came once

 private:
  void acknowledge(TimePoint now);

  Address address_;
  PacketSink& out_;
  Timer delayed_;
  std::uint64_t largest_ = 0;
  bool any_ = false;
  std::uint64_t floor_ = 0;           // all below count as received
  std::set<std::uint64_t> received_;  // at or above floor_
  int pending_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace bondd::sim

// A bulk TCP flow as Linux sends it: CUBIC with HyStart, SACK, RACK with its
// reordering window, tail loss probes, proportional rate reduction, undo by timestamps
// and DSACK, delayed acknowledgements, no pacing. Segments are all of one size.
#pragma once

#include <deque>
#include <map>

#include "tests/sim/cubic.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/packet.h"

namespace bondd::sim {

struct TcpOptions {
  std::uint32_t mss = 1448;                 // payload bytes of a segment
  std::uint64_t window = 3 << 20;           // bytes; what autotuning ends with
  std::uint64_t total = ~std::uint64_t{0};  // bytes to send
};

class TcpSender final : public Actor {
 public:
  TcpSender(EventQueue& events, Address address, const TcpOptions& options, PacketSink& out);

  void start(TimePoint now);
  void receive(TimePoint now, const Packet& packet);
  void on_event(TimePoint now, std::uint64_t token) override;

  std::uint64_t retransmissions() const { return retransmissions_; }
  std::uint64_t timeouts() const { return timeouts_; }
  double cwnd() const { return cubic_.cwnd; }
  Duration smoothed_rtt() const { return srtt_; }

 private:
  enum class State { kOpen, kRecovery, kLoss };
  enum Kind : std::uint64_t { kRetransmit = 1, kRack = 2, kProbe = 3 };
  struct Segment {
    TimePoint sent{};
    bool sacked = false, lost = false, in_retransmission = false, retransmitted = false;
  };

  std::uint64_t una() const { return first_; }
  std::uint64_t nxt() const { return first_ + segments_.size(); }
  double in_flight() const {
    return static_cast<double>(segments_.size()) - sacked_ - lost_ + retransmitting_;
  }

  void send_segment(TimePoint now, std::uint64_t index, bool again);
  void transmit(TimePoint now);
  void deliver(TimePoint now, Segment& segment, std::uint64_t index);
  void sample_rtt(Duration rtt);
  bool detect_losses(TimePoint now);
  void mark_lost(Segment& segment);
  void enter_recovery();
  void try_undo(std::uint32_t echo, bool advanced);
  void reduce_proportionally(double delivered, bool advanced, bool newly_lost);
  void on_timeout(TimePoint now);
  void on_probe(TimePoint now);
  void arm(TimePoint now);
  Duration rto() const;
  static std::uint32_t stamp(TimePoint now) {
    return static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count());
  }

  EventQueue& events_;
  Address address_;
  TcpOptions options_;
  PacketSink& out_;
  Cubic cubic_;
  Timer retransmit_timer_, rack_timer_, probe_timer_;

  bool established_ = false;
  TimePoint syn_sent_{};
  std::uint64_t first_ = 0;  // index of the first segment that is not acknowledged
  std::deque<Segment> segments_;
  double sacked_ = 0, lost_ = 0, retransmitting_ = 0;
  std::uint64_t highest_sacked_ = 0;
  std::uint64_t lost_hint_ = 0;  // nothing below is waiting to be sent again
  std::uint32_t peer_stamp_ = 0;

  State state_ = State::kOpen;
  std::uint64_t recovery_end_ = 0;
  double prior_cwnd_ = 0, prior_ssthresh_ = 0, prr_delivered_ = 0, prr_out_ = 0, undo_retransmits_ = 0;
  std::uint32_t first_retransmit_stamp_ = 0;
  bool can_undo_ = false;

  TimePoint rack_time_{};
  std::uint64_t rack_index_ = 0;
  Duration rack_rtt_{0};
  int reorder_steps_ = 1;
  bool reordering_seen_ = false;
  TimePoint last_step_{};

  Duration srtt_{0}, rttvar_{0}, min_rtt_{0};
  int backoff_ = 0;
  bool probed_ = false;
  bool limited_by_cwnd_ = true;
  double max_out_ = 0;
  std::uint64_t retransmissions_ = 0, timeouts_ = 0;
};

class TcpReceiver final : public Actor {
 public:
  TcpReceiver(EventQueue& events, Address address, PacketSink& out);

  void receive(TimePoint now, const Packet& packet);
  void on_event(TimePoint now, std::uint64_t token) override;

  std::uint64_t delivered() const { return next_; }  // bytes in order
  std::uint64_t out_of_order() const { return out_of_order_; }
  Duration longest_gap() const { return longest_gap_; }
  void watch_gaps(TimePoint from) {
    watch_from_ = from;
    longest_gap_ = Duration(0);
    last_progress_ = from;
  }

 private:
  void acknowledge(TimePoint now);
  void note_block(std::uint64_t begin, std::uint64_t end);

  Address address_;
  PacketSink& out_;
  Timer delayed_;
  std::uint64_t next_ = 0;
  std::map<std::uint64_t, std::uint64_t> held_;  // begin -> end
  std::deque<std::uint64_t> recent_;             // begins of blocks, newest first
  SackBlock duplicate_{};
  int pending_ = 0, quick_ = 16;
  std::uint32_t echo_ = 0;
  std::uint64_t out_of_order_ = 0;
  TimePoint watch_from_ = TimePoint::max(), last_progress_{};
  Duration longest_gap_{0};
};

}  // namespace bondd::sim

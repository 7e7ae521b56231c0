#include <algorithm>

#include "tests/sim/tcp.h"

namespace bondd::sim {

using namespace std::chrono_literals;

TcpSender::TcpSender(EventQueue& events, Address address, const TcpOptions& options, PacketSink& out)
    : events_(events),
      address_(address),
      options_(options),
      out_(out),
      retransmit_timer_(events, *this, kRetransmit),
      rack_timer_(events, *this, kRack),
      probe_timer_(events, *this, kProbe) {}

void TcpSender::start(TimePoint now) {
  syn_sent_ = now;
  TcpSegment syn;
  syn.syn = true;
  syn.ts_value = stamp(now);
  out_.receive(now, make_tcp(address_, syn));
  retransmit_timer_.set(now + 1s);
}

void TcpSender::send_segment(TimePoint now, std::uint64_t index, bool again) {
  if (!again) {
    segments_.push_back({now});
  } else {
    Segment& segment = segments_[index - first_];
    if (segment.lost && !segment.in_retransmission) ++retransmitting_;
    segment.in_retransmission = segment.retransmitted = true;
    segment.sent = now;
    if (first_retransmit_stamp_ == 0) first_retransmit_stamp_ = stamp(now);
    ++undo_retransmits_;
    ++retransmissions_;
  }
  TcpSegment wire;
  wire.seq = index * options_.mss;
  wire.payload = options_.mss;
  wire.ts_value = stamp(now);
  wire.ts_echo = peer_stamp_;
  out_.receive(now, make_tcp(address_, wire));
}

void TcpSender::transmit(TimePoint now) {
  const std::uint64_t window = options_.window / options_.mss;
  bool blocked = false;
  while (in_flight() + 1 <= std::max(cubic_.cwnd, 1.0)) {
    if (lost_ > retransmitting_) {
      std::uint64_t i = std::max(lost_hint_, first_);
      while (i < nxt() && !(segments_[i - first_].lost && !segments_[i - first_].in_retransmission)) ++i;
      lost_hint_ = i;
      if (i < nxt()) {
        if (state_ == State::kRecovery) ++prr_out_;
        send_segment(now, i, true);
        continue;
      }
    }
    if (segments_.size() >= window || nxt() * options_.mss >= options_.total) {
      blocked = true;
      break;
    }
    if (state_ == State::kRecovery) ++prr_out_;
    send_segment(now, nxt(), false);
  }
  max_out_ = std::max(max_out_, static_cast<double>(segments_.size()));
  limited_by_cwnd_ = !blocked;
  arm(now);
}

void TcpSender::deliver(TimePoint now, Segment& segment, std::uint64_t index) {
  if (segment.lost) --lost_;
  if (segment.lost && segment.in_retransmission) --retransmitting_;
  segment.lost = segment.in_retransmission = false;
  const Duration rtt = now - segment.sent;
  if (segment.retransmitted && rtt < min_rtt_) return;  // answered by the first copy
  if (segment.sent > rack_time_ || (segment.sent == rack_time_ && index > rack_index_)) {
    rack_time_ = segment.sent;
    rack_index_ = index;
    rack_rtt_ = rtt;
  }
}

void TcpSender::sample_rtt(Duration rtt) {
  if (min_rtt_.count() == 0 || rtt < min_rtt_) min_rtt_ = rtt;
  if (srtt_.count() == 0) {
    srtt_ = rtt;
    rttvar_ = rtt / 2;
    return;
  }
  const Duration error = rtt > srtt_ ? rtt - srtt_ : srtt_ - rtt;
  rttvar_ += (error - rttvar_) / 4;
  srtt_ += (rtt - srtt_) / 8;
}

Duration TcpSender::rto() const {
  if (srtt_.count() == 0) return 1s;
  const Duration base = srtt_ + std::max<Duration>(4 * rttvar_, 200ms);
  return std::min<Duration>(base * (1 << std::min(backoff_, 8)), 120s);
}

void TcpSender::mark_lost(Segment& segment) {
  if (segment.in_retransmission) {
    segment.in_retransmission = false;
    --retransmitting_;
  }
  if (!segment.lost) ++lost_;
  segment.lost = true;
}

bool TcpSender::detect_losses(TimePoint now) {
  if (rack_time_ == TimePoint{}) return false;
  Duration window = std::min(min_rtt_ * reorder_steps_ / 4, srtt_);
  if (!reordering_seen_ && (state_ != State::kOpen || sacked_ >= 3)) window = Duration(0);
  bool found = false;
  Duration wait{0};
  const std::uint64_t end = std::max(highest_sacked_ + 1, first_);
  for (std::uint64_t i = first_; i < nxt() && (i < end || state_ != State::kOpen); ++i) {
    Segment& segment = segments_[i - first_];
    if (segment.sacked || (segment.lost && !segment.in_retransmission)) continue;
    const bool earlier = segment.sent < rack_time_ || (segment.sent == rack_time_ && i < rack_index_);
    if (!earlier) continue;
    const Duration left = segment.sent + rack_rtt_ + window - now;
    if (left.count() <= 0) {
      mark_lost(segment);
      lost_hint_ = std::min(lost_hint_, i);
      found = true;
    } else {
      wait = std::max(wait, left);
    }
  }
  if (wait.count() > 0) {
    rack_timer_.set(now + wait);
  } else {
    rack_timer_.stop();
  }
  return found;
}

void TcpSender::enter_recovery() {
  state_ = State::kRecovery;
  recovery_end_ = nxt();
  prior_cwnd_ = cubic_.cwnd;
  prior_ssthresh_ = cubic_.ssthresh;
  cubic_.on_loss();
  prr_delivered_ = prr_out_ = undo_retransmits_ = 0;
  first_retransmit_stamp_ = 0;
  can_undo_ = true;
}

void TcpSender::try_undo(std::uint32_t echo, bool advanced) {
  if (!can_undo_) return;
  const bool delayed = advanced && first_retransmit_stamp_ != 0 && echo < first_retransmit_stamp_;
  const bool all_duplicates = first_retransmit_stamp_ != 0 && undo_retransmits_ <= 0;
  if (!delayed && !all_duplicates) return;
  cubic_.cwnd = std::max(cubic_.cwnd, prior_cwnd_);
  cubic_.ssthresh = std::max(cubic_.ssthresh, prior_ssthresh_);
  can_undo_ = false;
  for (Segment& segment : segments_) {
    if (segment.lost && !segment.in_retransmission) {
      segment.lost = false;
      --lost_;
    }
  }
  state_ = State::kOpen;
}

void TcpSender::reduce_proportionally(double delivered, bool advanced, bool newly_lost) {
  prr_delivered_ += delivered;
  const double delta = cubic_.ssthresh - in_flight();
  double count = 0;
  if (delta < 0) {
    count = std::ceil(prr_delivered_ * cubic_.ssthresh / prior_cwnd_) - prr_out_;
  } else {
    count = std::max(prr_delivered_ - prr_out_, delivered);
    if (advanced && !newly_lost) ++count;
    count = std::min(delta, count);
  }
  count = std::max(count, prr_out_ > 0 ? 0.0 : 1.0);
  cubic_.cwnd = in_flight() + count;
}

void TcpSender::receive(TimePoint now, const Packet& packet) {
  const TcpSegment wire = parse_tcp(packet, first_ * options_.mss);
  peer_stamp_ = wire.ts_value;
  if (wire.syn) {
    if (!established_) {
      established_ = true;
      sample_rtt(now - syn_sent_);
      transmit(now);
    }
    return;
  }
  if (!established_) return;
  const std::uint64_t ack = wire.ack / options_.mss;
  if (ack < first_ || ack > nxt()) return;

  double delivered = 0;
  Duration rtt{0};
  std::size_t sack_from = 0;
  if (!wire.sacks.empty() && wire.sacks[0].end <= wire.ack) {  // DSACK
    sack_from = 1;
    --undo_retransmits_;
    if (now - last_step_ > srtt_) {
      last_step_ = now;
      reorder_steps_ = std::min(reorder_steps_ + 1, 255);
    }
  }
  const bool advanced = ack > first_;
  while (first_ < ack) {
    Segment& segment = segments_.front();
    if (!segment.sacked) {
      if (!segment.retransmitted) {
        rtt = now - segment.sent;
        if (first_ < highest_sacked_) reordering_seen_ = true;
      }
      deliver(now, segment, first_);
      ++delivered;
    } else {
      --sacked_;
    }
    segments_.pop_front();
    ++first_;
  }
  for (std::size_t b = sack_from; b < wire.sacks.size(); ++b) {
    const std::uint64_t begin = std::max(wire.sacks[b].begin / options_.mss, first_);
    const std::uint64_t end = std::min(wire.sacks[b].end / options_.mss, nxt());
    for (std::uint64_t i = begin; i < end; ++i) {
      Segment& segment = segments_[i - first_];
      if (segment.sacked) continue;
      if (i < highest_sacked_ && !segment.retransmitted) reordering_seen_ = true;
      if (!segment.retransmitted && rtt.count() == 0) rtt = now - segment.sent;
      deliver(now, segment, i);
      segment.sacked = true;
      ++sacked_;
      ++delivered;
      highest_sacked_ = std::max(highest_sacked_, i);
    }
  }
  if (rtt.count() > 0) sample_rtt(rtt);
  if (advanced) {
    backoff_ = 0;
    probed_ = false;
  }
  const bool window_used = cubic_.in_slow_start() ? cubic_.cwnd < 2 * max_out_ : limited_by_cwnd_;
  if (state_ != State::kOpen) try_undo(wire.ts_echo, advanced);
  const bool newly_lost = (sacked_ > 0 || state_ != State::kOpen) && detect_losses(now);
  if (state_ != State::kOpen && first_ >= recovery_end_) {
    if (state_ == State::kRecovery) cubic_.cwnd = std::max(cubic_.ssthresh, 2.0);
    state_ = State::kOpen;
    can_undo_ = false;
  }
  if (state_ == State::kOpen && lost_ > 0) enter_recovery();
  if (state_ == State::kRecovery) {
    reduce_proportionally(delivered, advanced, newly_lost);
  } else if (delivered > 0) {
    cubic_.on_ack(now, delivered, rtt, first_, nxt(), window_used);
  }
  if (advanced) max_out_ = 0;
  arm(now);
  transmit(now);
}

void TcpSender::arm(TimePoint now) {
  if (segments_.empty()) {
    retransmit_timer_.stop();
    probe_timer_.stop();
    return;
  }
  retransmit_timer_.set(now + rto());
  if (state_ == State::kOpen && sacked_ == 0 && !probed_) {
    const Duration wait = 2 * srtt_ + (segments_.size() == 1 ? 200ms : 8ms);
    if (wait < rto()) {
      probe_timer_.set(now + wait);
      return;
    }
  }
  probe_timer_.stop();
}

void TcpSender::on_event(TimePoint now, std::uint64_t token) {
  switch (Timer::kind_of(token)) {
    case kRetransmit:
      if (retransmit_timer_.due(now, token)) on_timeout(now);
      return;
    case kRack:
      if (rack_timer_.due(now, token) && detect_losses(now)) {
        if (state_ == State::kOpen) enter_recovery();
        if (state_ == State::kRecovery) reduce_proportionally(0, false, true);
        transmit(now);
      }
      return;
    case kProbe:
      if (probe_timer_.due(now, token)) on_probe(now);
      return;
    default:
      return;
  }
}

void TcpSender::on_probe(TimePoint now) {
  if (segments_.empty() || state_ != State::kOpen) return;
  probed_ = true;
  if (segments_.size() < options_.window / options_.mss && nxt() * options_.mss < options_.total) {
    send_segment(now, nxt(), false);
  } else {
    send_segment(now, nxt() - 1, true);
  }
  retransmit_timer_.set(now + rto());
}

void TcpSender::on_timeout(TimePoint now) {
  if (!established_) {
    start(now);
    return;
  }
  if (segments_.empty()) return;
  ++timeouts_;
  ++backoff_;
  if (state_ != State::kLoss) {
    prior_cwnd_ = cubic_.cwnd;
    prior_ssthresh_ = cubic_.ssthresh;
    cubic_.on_loss();
    can_undo_ = true;
    undo_retransmits_ = 0;
    first_retransmit_stamp_ = 0;
  }
  for (Segment& segment : segments_) {
    if (!segment.sacked) mark_lost(segment);
  }
  cubic_.on_timeout();
  lost_hint_ = first_;
  state_ = State::kLoss;
  recovery_end_ = nxt();
  transmit(now);
}

}  // namespace bondd::sim

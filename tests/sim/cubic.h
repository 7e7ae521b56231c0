// CUBIC and HyStart with the constants and the order of steps of Linux, since the
// bond is judged by what stock TCP makes of it; for QUIC with HyStart++'s rule, as ngtcp2
// has it. In packets and seconds.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "bondd/base/units.h"

namespace bondd::sim {

class Cubic {
 public:
  enum class SlowStart : std::uint8_t {
    kHyStart,   // ends by a train of acknowledgements, or by delay above the least ever
    kByRounds,  // ends by delay above that of the round before
  };
  explicit Cubic(SlowStart kind = SlowStart::kHyStart) : kind_(kind) {}

  double cwnd = 10;
  double ssthresh = 1e9;

  bool in_slow_start() const { return cwnd < ssthresh; }

  // `acked` packets were acknowledged while the window was in use. `rtt` is the sample
  // of this acknowledgement; `una` and `nxt` delimit a round for HyStart.
  void on_ack(TimePoint now, double acked, Duration rtt, std::uint64_t una, std::uint64_t nxt, bool limited) {
    const double sample = seconds(rtt);
    if (rtt.count() > 0) {
      if (delay_min_ == 0 || sample < delay_min_) delay_min_ = sample;
      if (!found_ && in_slow_start()) {
        if (kind_ == SlowStart::kHyStart) look_for_exit(now, sample, una, nxt);
        if (kind_ == SlowStart::kByRounds) compare_rounds(sample, una, nxt);
      }
    }
    if (!limited) return;
    if (in_slow_start()) {
      const double up = std::min(acked, ssthresh - cwnd);
      cwnd += up;
      acked -= up;
      if (acked <= 0) return;
    }
    grow(now, acked);
  }

  // The window is halved, more or less, once per recovery.
  void on_loss() {
    epoch_ = {};
    last_max_ = cwnd < last_max_ ? cwnd * (1 + kBeta) / 2 : cwnd;
    ssthresh = std::max(cwnd * kBeta, 2.0);
  }

  // After a retransmission timeout slow start begins anew.
  void on_timeout() {
    const double threshold = ssthresh;
    *this = Cubic(kind_);
    ssthresh = threshold;
    cwnd = 1;
  }

 private:
  static constexpr double kBeta = 717.0 / 1024.0;
  static constexpr double kC = 0.4;

  static double seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

  void look_for_exit(TimePoint now, double sample, std::uint64_t una, std::uint64_t nxt) {
    if (una > round_end_ || round_end_ == 0) {
      round_start_ = last_ack_ = now;
      round_end_ = nxt;
      round_min_ = 1e9;
      samples_ = 0;
    }
    if (cwnd < 16) return;
    if (now - last_ack_ <= std::chrono::milliseconds(2)) {  // a train of acknowledgements
      last_ack_ = now;
      if (seconds(now - round_start_) > delay_min_ / 2) leave_slow_start();
    }
    round_min_ = std::min(round_min_, sample);
    if (samples_ < 8) {
      ++samples_;
    } else if (round_min_ > delay_min_ + std::clamp(delay_min_ / 8, 0.004, 0.016)) {
      leave_slow_start();
    }
  }

  void compare_rounds(double sample, std::uint64_t una, std::uint64_t nxt) {
    if (una > round_end_ || round_end_ == 0) {
      round_end_ = nxt;
      last_round_min_ = round_min_;
      round_min_ = 1e9;
      samples_ = 0;
    }
    round_min_ = std::min(round_min_, sample);
    if (++samples_ < 8 || cwnd < 16 || last_round_min_ == 0) return;
    if (round_min_ >= last_round_min_ + std::clamp(last_round_min_ / 8, 0.004, 0.016)) leave_slow_start();
  }

  void leave_slow_start() {
    if (found_) return;
    found_ = true;
    ssthresh = cwnd;
  }

  void grow(TimePoint now, double acked) {
    if (epoch_ == TimePoint{}) {
      epoch_ = now;
      ack_count_ = 0;
      reno_ = cwnd;
      if (last_max_ <= cwnd) {
        k_ = 0;
        origin_ = cwnd;
      } else {
        k_ = std::cbrt((last_max_ - cwnd) / kC);
        origin_ = last_max_;
      }
    }
    const double t = seconds(now - epoch_) + delay_min_ - k_;
    const double target = origin_ + kC * t * t * t;
    double count = target > cwnd ? cwnd / (target - cwnd) : 100 * cwnd;
    if (last_max_ == 0 && count > 20) count = 20;  // unknown line: 5 % per round trip
    // As fast as Reno would be at least.
    ack_count_ += acked;
    const double per_packet = cwnd * 8 * (1 + kBeta) / (3 * (1 - kBeta)) / 8;
    while (ack_count_ > per_packet) {
      ack_count_ -= per_packet;
      reno_ += 1;
    }
    if (reno_ > cwnd) count = std::min(count, cwnd / (reno_ - cwnd));
    cwnd += acked / std::max(count, 2.0);
  }

  SlowStart kind_;
  bool found_ = false;
  double delay_min_ = 0, round_min_ = 0, last_round_min_ = 0, last_max_ = 0, k_ = 0, origin_ = 0, reno_ = 0,
         ack_count_ = 0;
  int samples_ = 0;
  std::uint64_t round_end_ = 0;
  TimePoint round_start_{}, last_ack_{}, epoch_{};
};

}  // namespace bondd::sim

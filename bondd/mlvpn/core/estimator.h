// What one link is like, from what the wire gives: round trips from timestamp
// echoes, losses of the receiving direction from gaps in the peer's sequence
// numbers.
#pragma once

#include <cstdint>
#include <optional>

#include "bondd/base/units.h"

namespace bondd::mlvpn {

class Estimator {
 public:
  // A round trip, without the peer's hold time. Smoothed as in RFC 6298.
  void on_rtt(TimePoint now, Duration rtt);
  // An authenticated packet of the peer's flow. `newest`: the highest number so
  // far including this one.
  void on_received(TimePoint now, std::uint64_t newest);
  // A packet that says that it is of the peer's flow, and does not open: while a password changes these are
  // under the next one. It came, so its number is not lost; an attacker on the line can hide losses, or make
  // them.
  void on_unopened() { ++unopened_; }
  // The peer started over: gaps do not count across that.
  void restart();
  // The line answers after a silence: what was lost meanwhile is no loss of the line as it is now. What was
  // measured before stays.
  void resume() { started_ = false; }
  // Once a second: closes the loss window when it holds enough packets.
  void tick(TimePoint now);

  [[nodiscard]] bool has_rtt() const { return has_rtt_; }
  [[nodiscard]] Duration srtt() const { return srtt_; }  // 0 before the first sample
  [[nodiscard]] Duration rttvar() const { return rttvar_; }
  [[nodiscard]] Duration min_rtt() const { return min_rtt_; }
  // Percent of the peer's packets lost on the way to us; empty before enough came.
  [[nodiscard]] std::optional<double> rx_loss() const { return rx_loss_; }
  // Mean time between packets heard, of the busy recent past.
  [[nodiscard]] Duration heard_gap() const { return heard_gap_; }

 private:
  bool has_rtt_ = false;
  Duration srtt_{}, rttvar_{}, min_rtt_{};
  TimePoint min_rtt_at_;

  bool started_ = false;
  std::uint64_t window_start_ = 0;  // newest number when the loss window opened
  std::uint64_t newest_ = 0;
  std::uint64_t received_ = 0, unopened_ = 0;
  TimePoint window_opened_;
  std::optional<double> rx_loss_;

  TimePoint last_heard_;
  Duration heard_gap_ = std::chrono::seconds(1);
};

}  // namespace bondd::mlvpn

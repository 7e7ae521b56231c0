// One line as our side sends to it: measured once, by samples, and read by all.
//
//   report, echo -> RateSample -> Delay, DeliveryRate -> RateControl -> pacing rate, window
//
// Nothing else may keep a round trip, a jitter, a queue or a rate of a line.
#pragma once

#include "bondd/mlvpn/line/rate_control.h"

namespace bondd::mlvpn {

class Line {
 public:
  explicit Line(const Tuning& tuning = kTuning)
      : tuning_(&tuning), delay_(tuning), rate_(tuning), control_(tuning) {}

  // Bytes/s that are never exceeded; 0 for none.
  void set_bound(double bound) { bound_ = bound; }
  // The share that the line loses at random: what it takes is more than what it delivers.
  void set_loss(double share) { loss_ = share; }
  // A first idea of the round trip, before any sample.
  void seed_rtt(double ms) { delay_.seed_rtt(ms); }
  void on_sample(const RateSample& sample);

  // Bytes/s to send at now.
  [[nodiscard]] double pacing_rate() const;
  // Bytes that may be in flight.
  [[nodiscard]] double window() const { return control_.window(delay_, rate_); }
  // Bytes/s that the line is believed to carry.
  [[nodiscard]] double capacity() const { return rate_.bytes_per_s(); }
  // Whether any traffic has shown a rate: before that the capacity is a guess.
  [[nodiscard]] bool rate_seen() const { return rate_.seen(); }
  // Whether the line was kept busy long enough for its rate to be trusted.
  [[nodiscard]] bool proven() const;
  [[nodiscard]] Phase phase() const { return control_.phase(); }
  [[nodiscard]] PhaseReason reason() const { return control_.reason(); }

  [[nodiscard]] bool measured() const { return delay_.samples() > 0; }
  [[nodiscard]] std::uint64_t samples() const { return delay_.samples(); }
  [[nodiscard]] double rtt_ms() const { return delay_.rtt_ms(); }
  [[nodiscard]] double least_rtt_ms() const { return delay_.least_rtt_ms(); }
  [[nodiscard]] double greatest_rtt_ms() const { return delay_.greatest_rtt_ms(); }
  [[nodiscard]] double one_way_ms() const { return delay_.one_way_ms(); }
  [[nodiscard]] double jitter_ms() const { return delay_.jitter_ms(); }
  [[nodiscard]] double calm_jitter_ms() const { return delay_.calm_jitter_ms(); }
  [[nodiscard]] double queue_ms() const { return delay_.queue_ms(); }

 private:
  const Tuning* tuning_;
  double bound_ = 0;
  double loss_ = 0;
  Delay delay_;
  DeliveryRate rate_;
  RateControl control_;
};

}  // namespace bondd::mlvpn

// The delays of one line: the only place where a round trip, a base, jitter and a queue are
// worked out of samples.
//
// Queue is what stands above the base, the least one-way delay of the last seconds. Jitter
// is taken from packets that met no queue of ours: measured under load, a line's own queue
// would look like jitter.
#pragma once

#include <cstdint>

#include "bondd/mlvpn/line/rate_sample.h"
#include "bondd/mlvpn/line/tuning.h"
#include "bondd/mlvpn/line/windowed_best.h"

namespace bondd::mlvpn {

class Delay {
 public:
  explicit Delay(const Tuning& tuning) : tuning_(&tuning) {}

  // A first idea of the round trip, before any sample.
  void seed_rtt(double ms);
  void on_sample(const RateSample& sample);

  [[nodiscard]] std::uint64_t samples() const { return samples_; }
  [[nodiscard]] double rtt_ms() const { return rtt_; }
  [[nodiscard]] double least_rtt_ms() const { return least_rtt_.empty() ? rtt_ : least_rtt_.best(); }
  [[nodiscard]] double greatest_rtt_ms() const { return greatest_rtt_.empty() ? rtt_ : greatest_rtt_.best(); }
  [[nodiscard]] double one_way_ms() const { return one_way_; }
  // The least one-way delay of the last seconds.
  [[nodiscard]] double base_ms() const { return base_.best(); }
  // With what our queue adds.
  [[nodiscard]] double jitter_ms() const { return jitter_; }
  // The line's own, without what our queue adds.
  [[nodiscard]] double calm_jitter_ms() const { return calm_jitter_; }
  [[nodiscard]] double queue_ms() const { return queue_; }
  // What the queue must exceed to be more than the line's noise.
  [[nodiscard]] double noise_ms() const { return tuning_->noise_ms + tuning_->noise_jitters * calm_jitter_; }
  // The line's delay has grown without a queue: begins anew with what came lately.
  void rebase(TimePoint now);
  // Not below 10 ms: the time in which a decision shows.
  [[nodiscard]] Duration round_trip() const;

 private:
  const Tuning* tuning_;
  WindowedBest<false> base_{std::chrono::milliseconds(4000)};
  WindowedBest<false> recent_one_way_{std::chrono::milliseconds(40)};
  WindowedBest<false> least_rtt_{std::chrono::seconds(10)};
  WindowedBest<true> greatest_rtt_{std::chrono::milliseconds(1600)};
  double rtt_ = 100, one_way_ = 0, jitter_ = 0, queue_ = 0;
  double calm_jitter_ = 0, calm_way_ = 0;
  std::uint64_t calm_samples_ = 0;
  std::uint64_t samples_ = 0;
  TimePoint last_sample_{};
};

}  // namespace bondd::mlvpn

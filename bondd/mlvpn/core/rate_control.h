// How fast one line takes packets, learned from reports while it carries traffic.
//
// The line is filled at the rate that it has delivered lately, a little more or less so
// that a queue of a few milliseconds stands in front of it: enough to keep it busy, too
// little to be felt. Random loss plays no part.
//
//   kStartup  doubles each round trip until the line delivers no more
//   kDrain    slower than the line until the queue is gone
//   kCruise   at the line's rate, trimmed by the queue's delay
//   kProbe    a quarter faster for 40 ms or half a round trip; if no queue comes of it, for longer
//
// A line that jitters has no queue of a few milliseconds to be seen: what counts as a
// queue grows with the jitter, and the base of delays is the least of the last seconds.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>

#include "bondd/base/units.h"

namespace bondd::mlvpn {

// The least (or, with Most, the greatest) value of the last `span`, in steps of an eighth.
template <bool Most>
class WindowedBest {
 public:
  explicit WindowedBest(Duration span) : step_(span / kSteps) {}
  void add(TimePoint now, double value) {
    const std::int64_t step = now.time_since_epoch() / step_;
    if (empty_ || step - newest_ >= kSteps) {
      values_.fill(value);
      empty_ = false;
    } else {
      for (std::int64_t s = newest_ + 1; s <= step; ++s) values_[index(s)] = value;
    }
    newest_ = step > newest_ || step + kSteps < newest_ ? step : newest_;
    double& slot = values_[index(newest_)];
    if (better(value, slot)) slot = value;
  }
  void reset(TimePoint now, double value) {
    empty_ = true;
    add(now, value);
  }
  [[nodiscard]] bool empty() const { return empty_; }
  [[nodiscard]] double best() const {
    double result = values_[0];
    for (const double v : values_) {
      if (better(v, result)) result = v;
    }
    return result;
  }

 private:
  static constexpr std::int64_t kSteps = 8;
  static bool better(double a, double b) { return Most ? a > b : a < b; }
  static std::size_t index(std::int64_t step) { return static_cast<std::size_t>(step % kSteps); }
  Duration step_;
  std::array<double, kSteps> values_{};
  std::int64_t newest_ = 0;
  bool empty_ = true;
};

class RateControl {
 public:
  enum class Phase : std::uint8_t { kStartup, kDrain, kCruise, kProbe };

  // What one report says about the newest packet it confirms.
  struct Ack {
    TimePoint now{};
    TimePoint sent{};       // when that packet was sent
    double one_way_ms = 0;  // its time on the way; the zero is arbitrary but the same on all links
    double rtt_ms = 0;
    double delivered = 0;        // bytes confirmed so far on this link, all together
    std::optional<double> rate;  // bytes/s, measured over about one round trip
    bool idle = false;           // the link was not kept busy when that packet was sent
    bool light = false;          // hardly anything was on the way with it
    double in_flight = 1e18;     // bytes on the way when it was sent, itself included; unknown: a lot
  };

  // `bound`: bytes/s that are never exceeded; 0 for none.
  explicit RateControl(double bound = 0);
  void set_bound(double bound) { bound_ = bound; }
  // The share that the line loses at random: what it takes is more than what it delivers.
  void set_loss(double share) { loss_ = share; }
  // A first idea of the round trip, before any report.
  void seed_rtt(double ms);

  void on_ack(const Ack& ack);

  // Bytes/s to send at now.
  [[nodiscard]] double pacing_rate() const;
  // Bytes/s that the line is believed to carry.
  [[nodiscard]] double capacity() const { return rate_; }
  // Whether any traffic has shown a rate: before that the capacity is a guess.
  [[nodiscard]] bool rate_seen() const { return !best_rate_.empty(); }
  // Bytes that may be on the way without a confirmation.
  [[nodiscard]] double window() const;

  [[nodiscard]] bool measured() const { return acks_ > 0; }
  [[nodiscard]] std::uint64_t samples() const { return acks_; }
  [[nodiscard]] Phase phase() const { return phase_; }
  // Whether the line was kept busy long enough for its rate to be trusted.
  [[nodiscard]] bool proven() const {
    return phase_ != Phase::kStartup &&
           busy_clock_ > TimePoint(std::chrono::hours(1)) + std::chrono::seconds(4);
  }
  [[nodiscard]] double rtt_ms() const { return rtt_; }
  [[nodiscard]] double least_rtt_ms() const { return least_rtt_.empty() ? rtt_ : least_rtt_.best(); }
  [[nodiscard]] double greatest_rtt_ms() const { return greatest_rtt_.empty() ? rtt_ : greatest_rtt_.best(); }
  [[nodiscard]] double one_way_ms() const { return one_way_; }
  [[nodiscard]] double jitter_ms() const { return jitter_; }
  // The line's own, without what our queue adds.
  [[nodiscard]] double calm_jitter_ms() const { return calm_jitter_; }
  [[nodiscard]] double queue_ms() const { return queue_; }

 private:
  struct Point {  // for the slope of the delay
    TimePoint now;
    double one_way, delivered;
  };

  void measure_delay(const Ack& ack);
  void measure_rate(const Ack& ack);
  void end_round(const Ack& ack);
  bool collapsed(const Ack& ack);
  [[nodiscard]] bool overfilled(double in_flight) const;
  void enter(TimePoint now, Phase phase);
  void step(const Ack& ack);
  void step_probe(const Ack& ack);
  [[nodiscard]] double target_ms() const;
  [[nodiscard]] Duration round_trip() const;

  double bound_;
  double loss_ = 0;
  Phase phase_ = Phase::kStartup;
  TimePoint phase_start_{};
  Duration drain_for_{};
  double gain_;
  double rate_ = 0;  // bytes/s
  bool probe_failed_ = false;
  double before_probe_ = 0, queue_before_probe_ = 0;

  WindowedBest<true> best_rate_{std::chrono::milliseconds(2400)};
  WindowedBest<true> any_rate_{std::chrono::milliseconds(2400)};  // also while not kept busy
  TimePoint busy_clock_{std::chrono::hours(1)};                   // runs only while the link is kept busy
  TimePoint last_ack_{};
  WindowedBest<false> base_{std::chrono::milliseconds(4000)};
  WindowedBest<false> recent_one_way_{std::chrono::milliseconds(40)};
  WindowedBest<false> least_rtt_{std::chrono::seconds(10)};
  WindowedBest<true> greatest_rtt_{std::chrono::milliseconds(1600)};
  double rtt_ = 100, one_way_ = 0, jitter_ = 0, queue_ = 0;
  // The line's own jitter: what differs between packets that meet no queue of ours.
  double calm_jitter_ = 0, calm_way_ = 0;
  std::uint64_t calm_samples_ = 0;
  std::uint64_t acks_ = 0;

  TimePoint round_start_{};
  double full_rate_ = 0;
  double round_flight_ = 0;  // the most that was on the way in this round
  int flat_rounds_ = 0;
  int round_busy_ = 0, round_idle_ = 0;
  std::deque<Point> points_;
};

}  // namespace bondd::mlvpn

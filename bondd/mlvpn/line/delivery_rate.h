// How much one line delivers, in bytes/s.
//
// The rate is the best of the last seconds in which the line was kept busy: what a line
// delivers while it is not asked for more says nothing. A steep rise of delay (a line that
// became slower) replaces it at once.
#pragma once

#include <deque>
#include <optional>

#include "bondd/mlvpn/line/delay.h"

namespace bondd::mlvpn {

class DeliveryRate {
 public:
  explicit DeliveryRate(const Tuning& tuning) : tuning_(&tuning), rate_(tuning.first_rate) {}

  // After `delay` has had the same sample. `loss`: the share that the line loses.
  void on_sample(const RateSample& sample, const Delay& delay, double loss);
  // The rate of the last tenth of a second, when delays rose so steeply in it that the line
  // must have become slower than we send: waiting for the old maximum to pass would fill its
  // buffer.
  std::optional<double> collapsed(const RateSample& sample, const Delay& delay, bool startup);
  void reset(double rate);
  // The rate of arrivals in the last tenth of a second, or in that of the last few packets when
  // these took longer; empty for echoes, and until so much has arrived since the last outage.
  [[nodiscard]] std::optional<double> recent() const { return recent_; }
  // True when the line, not our sending, set that rate: its packets left the line at another
  // pace than they were sent at, so that the queue before it grew or shrank, by more than noise.
  [[nodiscard]] bool line_limited(double jitter_ms) const;

  // What the line is believed to carry; a guess until seen().
  [[nodiscard]] double bytes_per_s() const { return rate_; }
  [[nodiscard]] bool seen() const { return !best_busy_.empty(); }
  // The best of the last seconds while kept busy, and at all; 0 when there is none.
  [[nodiscard]] double best_busy() const { return best_busy_.empty() ? 0 : best_busy_.best(); }
  [[nodiscard]] double best_any() const { return best_any_.empty() ? 0 : best_any_.best(); }
  // For how long the line was kept busy so far.
  [[nodiscard]] Duration busy_time() const { return busy_clock_ - TimePoint(std::chrono::hours(1)); }

 private:
  struct Arrival {
    TimePoint at;
    double delivered;
    double one_way_ms;
    bool app_limited;
  };
  void note_arrival(const RateSample& sample);
  void measure_recent();

  struct Point {  // for the slope of the delay
    TimePoint now;
    double one_way, delivered;
  };

  const Tuning* tuning_;
  double rate_;
  WindowedBest<true> best_busy_{std::chrono::milliseconds(2400)};
  WindowedBest<true> best_any_{std::chrono::milliseconds(2400)};
  TimePoint busy_clock_{std::chrono::hours(1)};  // runs only while the link is kept busy
  TimePoint last_sample_{};
  std::deque<Point> points_;
  std::deque<Arrival> arrivals_;
  std::optional<double> recent_;
  double recent_slope_ms_ = 0;  // of the delay over the same time
  bool recent_busy_ = false;    // the line was kept busy all that time
};

}  // namespace bondd::mlvpn

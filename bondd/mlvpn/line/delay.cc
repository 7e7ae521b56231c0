#include "bondd/mlvpn/line/delay.h"

#include <algorithm>
#include <cmath>

namespace bondd::mlvpn {

void Delay::seed_rtt(double ms) {
  if (samples_ == 0) rtt_ = ms;
}

Duration Delay::round_trip() const {
  return Duration(static_cast<std::int64_t>(std::max(rtt_, 10.0) * 1e6));
}

void Delay::rebase(TimePoint now) {
  const double grown = recent_one_way_.best() - base_.best();
  const double least = least_rtt_ms() + std::max(grown, 0.0);
  base_.reset(now, recent_one_way_.best());
  least_rtt_.reset(now, least);
  queue_ = 0;
}

void Delay::on_sample(const RateSample& sample) {
  base_.add(sample.now, sample.one_way_ms);
  recent_one_way_.add(sample.now, sample.one_way_ms);
  least_rtt_.add(sample.now, sample.rtt_ms);
  greatest_rtt_.add(sample.now, sample.rtt_ms);
  if (samples_ == 0) {
    rtt_ = sample.rtt_ms;
    one_way_ = sample.one_way_ms;
  }
  jitter_ += (std::abs(sample.one_way_ms - one_way_) - jitter_) / (samples_ < 16 ? 4 : 16);
  if (sample.light) {
    if (calm_samples_ == 0) calm_way_ = sample.one_way_ms;
    const double weight = ++calm_samples_ < 16 ? 4 : 16;
    calm_jitter_ += (std::abs(sample.one_way_ms - calm_way_) - calm_jitter_) / weight;
    calm_way_ += (sample.one_way_ms - calm_way_) / weight;
  }
  // After a pause a sample far off says more than all that were before it.
  const bool afar = std::abs(sample.one_way_ms - one_way_) > 20 + 5 * calm_jitter_;
  const double weight = afar && sample.now - last_sample_ > from_ms(tuning_->pause_ms) ? 0.5 : 0.125;
  one_way_ += (sample.one_way_ms - one_way_) * weight;
  rtt_ += (sample.rtt_ms - rtt_) * weight;
  queue_ = std::max(0.0, recent_one_way_.best() - base_.best());
  ++samples_;
  last_sample_ = sample.now;
}

}  // namespace bondd::mlvpn

#include "bondd/mlvpn/line/delivery_rate.h"

#include <algorithm>
#include <cmath>

namespace bondd::mlvpn {

using namespace std::chrono_literals;

void DeliveryRate::note_arrival(const RateSample& sample) {
  if (!sample.arrived) return;
  if (!arrivals_.empty()) {
    const double gap = to_ms(*sample.arrived - arrivals_.back().at);
    if (gap <= 0) return;
    // An outage: what arrives after it says nothing about the time before. On a line where each
    // few packets take that long (6000 bytes), it is none.
    if (gap > std::max(tuning_->outage_ms, 6e6 / rate_) && arrivals_.size() > 4) {
      arrivals_.clear();
      recent_.reset();
    }
  }
  arrivals_.push_back(
      {*sample.arrived, sample.delivered, sample.one_way_ms, sample.app_limited && !sample.control});
  const auto enough_since = [&](const Arrival& from) {
    return to_ms(*sample.arrived - from.at) >= tuning_->recent_ms &&
           sample.delivered - from.delivered >= tuning_->recent_bytes;
  };
  while (arrivals_.size() > 2 && enough_since(arrivals_[1])) arrivals_.pop_front();
  measure_recent();
}

void DeliveryRate::measure_recent() {
  const Arrival &first = arrivals_.front(), &last = arrivals_.back();
  const double span = to_ms(last.at - first.at);
  if (span < tuning_->recent_ms / 2) return;
  recent_busy_ = std::ranges::none_of(arrivals_, &Arrival::app_limited);
  recent_slope_ms_ = last.one_way_ms - first.one_way_ms;
  recent_ = std::max(1000 * (last.delivered - first.delivered) / span, tuning_->slowest);
  // Little that took long tells of what was asked of the line.
  if (!recent_busy_ && span > 2 * tuning_->recent_ms) recent_.reset();
}

bool DeliveryRate::line_limited(double jitter_ms) const {
  const double noise = tuning_->slope_ms + tuning_->slope_jitters * jitter_ms;
  return std::abs(recent_slope_ms_) > (recent_busy_ ? 1 : tuning_->unasked_slopes) * noise;
}

void DeliveryRate::on_sample(const RateSample& sample, const Delay& delay, double loss) {
  note_arrival(sample);
  if (!sample.app_limited && last_sample_ != TimePoint{})
    busy_clock_ += std::min<Duration>(sample.now - last_sample_, 100ms);
  last_sample_ = sample.now;
  if (!sample.rate) return;
  best_any_.add(busy_clock_, *sample.rate);
  if (sample.app_limited && *sample.rate <= rate_) return;
  // A sample far below, which met no queue and lost nothing, was not limited by the line: one
  // of the two ends had no processor time, and what waited there made the link look busy.
  const bool unhindered =
      sample.one_way_ms < delay.base_ms() + tuning_->no_queue_ms && loss < tuning_->hardly_lossy;
  if (unhindered && *sample.rate < rate_ / tuning_->far_below) return;
  best_busy_.add(busy_clock_, *sample.rate);
  rate_ = std::max(best_busy_.best(), tuning_->slowest);
}

std::optional<double> DeliveryRate::collapsed(const RateSample& sample, const Delay& delay, bool startup) {
  // A link that was not kept busy has delivered what was asked of it, not what it can.
  if (sample.app_limited) points_.clear();
  points_.push_back({sample.now, sample.one_way_ms, sample.delivered});
  while (points_.size() > 2 && points_[1].now <= sample.now - 150ms) points_.pop_front();
  const double span = to_ms(sample.now - points_.front().now);
  if (span < 100 || startup) return std::nullopt;
  const double rise = sample.one_way_ms - points_.front().one_way;
  if (rise <= std::max(50.0, 6 * delay.calm_jitter_ms()) || rise <= 0.35 * span) return std::nullopt;
  const double seconds = std::chrono::duration<double>(sample.now - points_.front().now).count();
  const double rate = std::max((sample.delivered - points_.front().delivered) / seconds, tuning_->slowest);
  points_.clear();
  return rate;
}

void DeliveryRate::reset(double rate) {
  rate_ = rate;
  best_busy_.reset(busy_clock_, rate);
}

}  // namespace bondd::mlvpn

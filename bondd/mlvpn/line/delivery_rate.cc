#include "bondd/mlvpn/line/delivery_rate.h"

#include <algorithm>

namespace bondd::mlvpn {

using namespace std::chrono_literals;

void DeliveryRate::on_sample(const RateSample& sample, const Delay& delay, double loss) {
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

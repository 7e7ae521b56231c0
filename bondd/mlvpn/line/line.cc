#include "bondd/mlvpn/line/line.h"

#include <algorithm>

namespace bondd::mlvpn {

using namespace std::chrono_literals;

void Line::on_sample(const RateSample& sample) {
  delay_.on_sample(sample);
  rate_.on_sample(sample, delay_, loss_);
  const auto slower = rate_.collapsed(sample, delay_, control_.phase() == Phase::kStartup);
  if (slower) rate_.reset(*slower);
  control_.on_sample(sample, delay_, rate_, slower.has_value());
}

double Line::pacing_rate() const {
  const double rate =
      std::max(rate_.bytes_per_s() * control_.gain() / (1 - std::min(loss_, 0.2)), tuning_->slowest);
  return bound_ > 0 ? std::min(rate, bound_) : rate;
}

bool Line::proven() const {
  return control_.phase() != Phase::kStartup && rate_.busy_time() > 4s;
}

}  // namespace bondd::mlvpn

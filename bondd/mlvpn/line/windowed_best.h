// The least (or, with Most, the greatest) value of the last `span`, in steps of an eighth.
#pragma once

#include <array>
#include <cstdint>

#include "bondd/base/units.h"

namespace bondd::mlvpn {

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

}  // namespace bondd::mlvpn

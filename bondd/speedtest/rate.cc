#include "bondd/speedtest/rate.h"

#include <algorithm>

namespace bondd::speedtest {

std::optional<double> rate_mbit(const std::vector<Progress>& samples) {
  if (samples.empty()) return std::nullopt;
  const Progress& last = samples.back();
  const Duration from = std::min<Duration>(kWarmUp, last.time / 2);
  const auto first = std::ranges::find_if(samples, [&](const Progress& one) { return one.time >= from; });
  const Duration window = last.time - first->time;
  if (window < kLeastWindow) return std::nullopt;
  const double bits = 8.0 * static_cast<double>(last.bytes - first->bytes);
  return bits / std::chrono::duration<double>(window).count() / 1e6;
}

std::optional<double> median(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

}  // namespace bondd::speedtest

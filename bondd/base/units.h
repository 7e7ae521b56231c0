// Durations and rates as users write them: "300ms", "2s", "896kbit", "20mbit".
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "bondd/base/error.h"

namespace bondd {

using Duration = std::chrono::nanoseconds;
// CLOCK_MONOTONIC. Code that decides takes `now` as an argument and never reads a clock.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

inline double to_ms(Duration value) {
  return std::chrono::duration<double, std::milli>(value).count();
}
// Cut off below a nanosecond.
inline Duration from_ms(double value) {
  return Duration(static_cast<std::int64_t>(value * 1e6));
}

// A line's rate. 1 kbit = 1000 bits, as in tc(8).
struct Rate {
  std::uint64_t bits_per_second = 0;

  auto operator<=>(const Rate&) const = default;
};

// "300ms", "2s", "1m", "1h"; a whole or decimal number and its unit. Fails on a
// missing or unknown unit, a negative number, and more than 24 h.
Result<Duration> parse_duration(std::string_view text);

// "896kbit", "20mbit", "1.5gbit". Fails on a missing or unknown unit (capital
// letters are accepted), on 0 and on more than 400 Gbit/s.
Result<Rate> parse_rate(std::string_view text);

// The shortest text that parses back to the same value: "300ms", "20mbit".
std::string format_duration(Duration value);
std::string format_rate(Rate value);

}  // namespace bondd

#include "bondd/mlvpn/core/play_out.h"

#include <algorithm>
#include <cmath>

#include "bondd/mlvpn/core/wire.h"

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

constexpr auto kApart = 5ms;  // between samples: packets of one burst are late together
constexpr unsigned kSamples = 16;
constexpr double kSteadyMs = 2;      // timestamps are whole milliseconds
constexpr double kDeviations = 1.5;  // above the mean: 1.2 times a normal distribution's sigma
constexpr double kMostMs = 60;
constexpr double kNewClockMs = 1000;  // the peer began anew

}  // namespace

void PlayOut::on_packet(TimePoint now, std::uint16_t timestamp) {
  if (timestamp == kNoTimestamp) return;
  // Of a steady line every packet but the samples costs nothing: gigabits come by it.
  const bool sample = samples_ == 0 || now - sampled_ >= kApart;
  if (!sample && spread_ms_ < kSteadyMs) return;
  const double now_ms = to_ms(now.time_since_epoch());
  const double whole = std::floor(now_ms);
  const auto usual = std::llround(usual_ms_);
  const auto difference = static_cast<std::int16_t>(static_cast<std::int64_t>(whole) - timestamp - usual);
  way_ms_ = static_cast<double>(usual + difference) + (now_ms - whole);
  if (std::abs(way_ms_ - usual_ms_) > kNewClockMs) samples_ = 0;
  if (samples_ == 0) {
    usual_ms_ = way_ms_;
    spread_ms_ = 0;
  }
  if (samples_ != 0 && !sample) return;
  sampled_ = now;
  samples_ = std::min(samples_ + 1, kSamples);
  spread_ms_ += (std::abs(way_ms_ - usual_ms_) - spread_ms_) / samples_;
  usual_ms_ += (way_ms_ - usual_ms_) / samples_;
}

Duration PlayOut::hold() const {
  if (samples_ < kSamples / 2 || spread_ms_ < kSteadyMs) return {};
  return from_ms(std::clamp(usual_ms_ + kDeviations * spread_ms_ - way_ms_, 0.0, kMostMs));
}

}  // namespace bondd::mlvpn

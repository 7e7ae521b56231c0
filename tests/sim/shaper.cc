#include "tests/sim/shaper.h"

#include <algorithm>

namespace bondd::sim {
namespace {

Duration time_for(std::size_t bytes, Rate rate) {
  return Duration(static_cast<std::int64_t>(bytes * 8'000'000'000ULL / rate.bits_per_second));
}

}  // namespace

void TokenBucket::fill(TimePoint now) {
  if (now <= filled_) return;
  held_ = std::min(size_, held_ + rate_ * static_cast<double>((now - filled_).count()));
  filled_ = now;
}

bool TokenBucket::take(TimePoint now, std::size_t bytes) {
  fill(now);
  if (held_ < static_cast<double>(bytes)) return false;
  held_ -= static_cast<double>(bytes);
  return true;
}

TimePoint TokenBucket::wait(TimePoint now, std::size_t bytes) {
  fill(now);
  TimePoint time = std::max(now, filled_);
  const double missing = static_cast<double>(bytes) - held_;
  if (missing > 0) {
    time += Duration(static_cast<std::int64_t>(missing / rate_));
    held_ += missing;
    filled_ = time;
  }
  held_ -= static_cast<double>(bytes);
  return time;
}

void Shaper::set_spec(const LineSpec& spec) {
  spec_ = spec;
  chances_ = Chances(spec.recording, spec.offset);
  bucket_ = TokenBucket(spec.rate, spec.bucket);
  policer_ = TokenBucket(spec.rate, spec.police);
}

void Shaper::begin(TimePoint now) {
  chances_.begin(now);
  begun_ = now;
}

bool Shaper::admits(TimePoint now, std::size_t bytes) {
  return spec_.police == 0 || policer_.take(now, bytes);
}

bool Shaper::has_room(TimePoint now, std::size_t bytes) const {
  if (!spec_.bottleneck) return true;
  const Bottleneck& neck = *spec_.bottleneck;
  return neck.free <= now + spec_.delay ||
         neck.free - now - spec_.delay + time_for(bytes, neck.rate) <= time_for(neck.limit_bytes, neck.rate);
}

Duration Shaper::extra_delay(TimePoint now) const {
  Duration extra{0};
  for (const DelayStep& step : spec_.steps) {
    if (begun_ && now - *begun_ >= step.at) extra = step.extra;
  }
  return extra;
}

TimePoint Shaper::leaves(TimePoint ready, std::size_t bytes, Random& random) {
  if (spec_.bottleneck) {
    Bottleneck& neck = *spec_.bottleneck;
    neck.free = std::max(neck.free, ready) + time_for(bytes, neck.rate);
    return neck.free;
  }
  if (!spec_.recording && (spec_.rate.bits_per_second == 0 || spec_.police != 0)) return ready;
  TimePoint leaves = ready;
  if (spec_.recording) {
    leaves = std::max(last_, chances_.take(ready, bytes));
  } else if (spec_.bucket != 0) {
    leaves = bucket_.wait(std::max(last_, ready), bytes);
  } else {
    leaves = std::max(last_, ready) + time_for(bytes, spec_.rate);
  }
  last_ = leaves;
  return spec_.slot_most.count() == 0 ? leaves : end_of_slot(leaves, random);
}

TimePoint Shaper::end_of_slot(TimePoint time, Random& random) {
  while (slot_end_ < time) {
    const auto spread = static_cast<double>((spec_.slot_most - spec_.slot_least).count());
    // An unused line's slot begins with its packet.
    if (slot_end_ + spec_.slot_most < time) slot_end_ = time;
    slot_end_ += spec_.slot_least + Duration(static_cast<std::int64_t>(random.uniform() * spread));
  }
  return slot_end_;
}

}  // namespace bondd::sim

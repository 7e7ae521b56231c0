#include "bondd/mlvpn/core/rate_control.h"

#include <algorithm>
#include <cmath>

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

constexpr double kStartupGain = 2.5;
constexpr double kProbeGain = 1.25;
constexpr double kFastProbeGain = 1.6;  // when the probe before had success
constexpr double kDrainGain = 0.7;
constexpr double kLetGoGain = 0.85;
constexpr double kFirstRate = 1.25e6;  // bytes/s, before anything is known
constexpr double kTargetMs = 3.5;      // of queue in front of a steady line
constexpr double kMostTargetMs = 30;   // and of a jittering one
constexpr auto kAsk = 40ms;            // of a quarter more: 10 ms of queue, if the line takes no more
constexpr auto kQueueSeen = 30ms;      // the queue is the least of the last 40 ms
constexpr auto kPause = 90ms;          // between samples, after which the old ones count less
constexpr double kSlowest = 8000;      // bytes/s: a line is never given up to zero
constexpr double kFullQueueMs = 40;    // ends start-up at once when the rate grows no more
constexpr double kNoQueueMs = 2, kHardlyLossy = 0.05, kFarBelow = 16;

}  // namespace

RateControl::RateControl(double bound) : bound_(bound), gain_(kStartupGain), rate_(kFirstRate) {}

void RateControl::seed_rtt(double value) {
  if (acks_ == 0) rtt_ = value;
}

Duration RateControl::round_trip() const {
  return Duration(static_cast<std::int64_t>(std::max(rtt_, 10.0) * 1e6));
}

double RateControl::target_ms() const {
  return std::clamp(1.5 * calm_jitter_, kTargetMs, kMostTargetMs);
}

double RateControl::pacing_rate() const {
  const double rate = std::max(rate_ * gain_ / (1 - std::min(loss_, 0.2)), kSlowest);
  return bound_ > 0 ? std::min(rate, bound_) : rate;
}

double RateControl::window() const {
  const double least = least_rtt_ms();
  if (phase_ == Phase::kStartup) {
    // What came while the link was not kept busy opens the window for the next burst, twice as
    // long: no more, or a queue would make room for a longer one.
    const double kept_busy = best_rate_.empty() ? 0 : 3 * best_rate_.best() * (std::max(rtt_, least) + 15);
    const double at_all = any_rate_.empty() ? 0 : 2 * any_rate_.best() * (least + 3 * calm_jitter_ + 15);
    return 1e-3 * std::max(kept_busy, at_all) + 48e3;
  }
  const double trip = std::min(greatest_rtt_ms(), least + 250);
  return rate_ * 1e-3 * (1.2 * trip + 15) + 6000;
}

void RateControl::enter(TimePoint now, Phase phase) {
  phase_ = phase;
  phase_start_ = now;
  switch (phase) {
    case Phase::kStartup:
      gain_ = kStartupGain;
      break;
    case Phase::kDrain:
      gain_ = kDrainGain;
      drain_for_ = round_trip() * 3 / 2;
      break;
    case Phase::kCruise:
      gain_ = 1;
      break;
    case Phase::kProbe:
      gain_ = kProbeGain;
      before_probe_ = rate_;
      queue_before_probe_ = queue_;
      break;
  }
}

void RateControl::on_ack(const Ack& ack) {
  measure_delay(ack);
  measure_rate(ack);
  ++(ack.idle ? round_idle_ : round_busy_);
  round_flight_ = std::max(round_flight_, ack.in_flight);
  if (collapsed(ack)) {
    const double seconds = std::chrono::duration<double>(ack.now - points_.front().now).count();
    rate_ = std::max((ack.delivered - points_.front().delivered) / seconds, kSlowest);
    best_rate_.reset(busy_clock_, rate_);
    points_.clear();
    enter(ack.now, Phase::kDrain);
  }
  if (ack.sent >= round_start_) end_round(ack);
  step(ack);
  ++acks_;
  last_ack_ = ack.now;
}

void RateControl::measure_delay(const Ack& ack) {
  base_.add(ack.now, ack.one_way_ms);
  recent_one_way_.add(ack.now, ack.one_way_ms);
  least_rtt_.add(ack.now, ack.rtt_ms);
  greatest_rtt_.add(ack.now, ack.rtt_ms);
  if (acks_ == 0) {
    rtt_ = ack.rtt_ms;
    one_way_ = ack.one_way_ms;
  }
  jitter_ += (std::abs(ack.one_way_ms - one_way_) - jitter_) / (acks_ < 16 ? 4 : 16);
  if (ack.light) {
    if (calm_samples_ == 0) calm_way_ = ack.one_way_ms;
    const double weight = ++calm_samples_ < 16 ? 4 : 16;
    calm_jitter_ += (std::abs(ack.one_way_ms - calm_way_) - calm_jitter_) / weight;
    calm_way_ += (ack.one_way_ms - calm_way_) / weight;
  }
  // After a pause a sample far off says more than all that were before it.
  const bool afar = std::abs(ack.one_way_ms - one_way_) > 20 + 5 * calm_jitter_;
  const double weight = afar && ack.now - last_ack_ > kPause ? 0.5 : 0.125;
  one_way_ += (ack.one_way_ms - one_way_) * weight;
  rtt_ += (ack.rtt_ms - rtt_) * weight;
  queue_ = std::max(0.0, recent_one_way_.best() - base_.best());
}

void RateControl::measure_rate(const Ack& ack) {
  if (!ack.idle && last_ack_ != TimePoint{}) busy_clock_ += std::min<Duration>(ack.now - last_ack_, 100ms);
  if (!ack.rate) return;
  any_rate_.add(busy_clock_, *ack.rate);
  if (ack.idle && *ack.rate <= rate_) return;
  // A sample far below, which met no queue and lost nothing, was not limited by the line: one
  // of the two ends had no processor time, and what waited there made the link look busy.
  const bool unhindered = ack.one_way_ms < base_.best() + kNoQueueMs && loss_ < kHardlyLossy;
  if (unhindered && *ack.rate < rate_ / kFarBelow) return;
  best_rate_.add(busy_clock_, *ack.rate);
  rate_ = std::max(best_rate_.best(), kSlowest);
}

// True when delays rose so steeply that the line must have become slower than we send:
// waiting for the old maximum to pass would fill its buffer. A link that was not kept busy
// has delivered what was asked of it, not what it can.
bool RateControl::collapsed(const Ack& ack) {
  if (ack.idle) points_.clear();
  points_.push_back({ack.now, ack.one_way_ms, ack.delivered});
  while (points_.size() > 2 && points_[1].now <= ack.now - 150ms) points_.pop_front();
  const double span = to_ms(ack.now - points_.front().now);
  if (span < 100 || phase_ == Phase::kStartup) return false;
  const double rise = ack.one_way_ms - points_.front().one_way;
  return rise > std::max(50.0, 6 * calm_jitter_) && rise > 0.35 * span;
}

// True when more is on the way than the line holds at the best rate seen. The delay of a
// line that jitters and keeps the order of packets grows with their number, by several
// times the jitter: what looks like a queue is one only if so much was sent.
bool RateControl::overfilled(double in_flight) const {
  return in_flight > 1.3e-3 * rate_ * (least_rtt_ms() + 3 * calm_jitter_ + 15);
}

void RateControl::end_round(const Ack& ack) {
  round_start_ = ack.now;
  if (phase_ == Phase::kStartup) {
    if (rate_ >= full_rate_ * 1.25) {
      full_rate_ = rate_;
      flat_rounds_ = 0;
    } else if (((round_busy_ > 4 * round_idle_ && queue_ > 1) ||  // full, and not only asked for no more
                (overfilled(round_flight_) && queue_ > std::max(8.0, 4 * calm_jitter_))) &&
               ++flat_rounds_ >= 3) {
      enter(ack.now, Phase::kDrain);
    }
  }
  round_busy_ = round_idle_ = 0;
  round_flight_ = 0;
}

// Asks with a little more than the line takes, and waits for the answer: a queue, which is
// let go, or none: then there is more to have, and the probe goes on until a sample of the
// rate, which reaches back a round trip, is all of it.
void RateControl::step_probe(const Ack& ack) {
  const Duration in_phase = ack.now - phase_start_;
  const bool fast = gain_ == kFastProbeGain;
  const Duration ask = std::max<Duration>(round_trip() / 2, std::min<Duration>(round_trip() * 3 / 2, kAsk));
  const Duration answered = fast ? Duration(0) : round_trip() + ask + kQueueSeen;
  const bool grown = queue_ >= queue_before_probe_ + 3 + calm_jitter_;
  if (!fast) gain_ = in_phase < ask || in_phase >= answered ? kProbeGain : 1;
  if (queue_ > queue_before_probe_ + 8 + 2 * calm_jitter_ || (!fast && grown && in_phase >= answered)) {
    enter(ack.now, Phase::kDrain);
    if (!fast && in_phase < answered + 20ms) drain_for_ = ask * 4 / 5;
  } else if (in_phase > answered + round_trip() * (grown ? 6 : 9) / 4) {
    // There was more: on at once. Else the queue, if there is one, is let go.
    enter(ack.now, rate_ > before_probe_ * 1.12 ? Phase::kProbe : Phase::kDrain);
    if (phase_ == Phase::kProbe) gain_ = kFastProbeGain;
  }
  if (phase_ == Phase::kDrain) probe_failed_ = rate_ < before_probe_ * 1.05;
}

void RateControl::step(const Ack& ack) {
  const Duration in_phase = ack.now - phase_start_;
  const double target = target_ms();
  switch (phase_) {
    case Phase::kStartup:
      // The next round would end when this queue is through: it need not get that long.
      // (What a line that is hardly used shows is its jitter.)
      if (!ack.light && queue_ > kFullQueueMs + 8 * calm_jitter_ && rate_ < full_rate_ * 1.25 &&
          overfilled(ack.in_flight))
        enter(ack.now, Phase::kDrain);
      return;
    case Phase::kDrain:
      if (ack.one_way_ms <= base_.best() + 1 || in_phase > drain_for_) enter(ack.now, Phase::kCruise);
      return;
    case Phase::kProbe:
      return step_probe(ack);
    case Phase::kCruise: {
      const double excess = (queue_ - target) / target;
      // Left over from a ramp or a probe; one that stays is not ours.
      const bool long_queue = queue_ > target + 15 + 4 * calm_jitter_ && in_phase < 1s;
      gain_ = long_queue ? kLetGoGain : excess < 0 ? 1 - 0.04 * excess : std::max(1 - 0.04 * excess, 0.95);
      // A line that has just proved faster is asked again soon.
      const bool grew = rate_ > before_probe_ * 1.1;
      const Duration wait = grew ? round_trip() : std::clamp<Duration>(round_trip() * 10, 600ms, 2s);
      const bool roomy = !probe_failed_ && queue_ < 0.3 * target && in_phase > round_trip() * 2;
      if ((in_phase > wait || roomy) && !ack.idle && !long_queue) enter(ack.now, Phase::kProbe);
      return;
    }
  }
}

}  // namespace bondd::mlvpn

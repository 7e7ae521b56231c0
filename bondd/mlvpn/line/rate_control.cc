#include "bondd/mlvpn/line/rate_control.h"

#include <algorithm>
#include <array>
#include <cassert>

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kPhases = 6;
static_assert(static_cast<std::size_t>(Phase::kFollow) + 1 == kPhases);

constexpr bool y = true, n = false;
constexpr std::array<std::array<bool, kPhases>, kPhases> kEdges{{
    // to: startup, drain, cruise, probe, fast probe, follow
    {n, y, n, n, n, y},  // from startup
    {n, y, y, n, n, y},  // from drain; anew when the line became slower
    {n, y, n, y, n, y},  // from cruise
    {n, y, n, n, y, y},  // from probe
    {n, y, n, n, y, y},  // from fast probe; anew when it found more
    {n, n, y, n, n, n},  // from follow
}};

}  // namespace

const char* to_string(Phase phase) {
  switch (phase) {
    case Phase::kStartup:
      return "startup";
    case Phase::kDrain:
      return "drain";
    case Phase::kCruise:
      return "cruise";
    case Phase::kProbe:
      return "probe";
    case Phase::kFastProbe:
      return "fast probe";
    case Phase::kFollow:
      return "follow";
  }
  return "";
}

const char* to_string(PhaseReason reason) {
  switch (reason) {
    case PhaseReason::kNothingKnown:
      return "nothing known";
    case PhaseReason::kFull:
      return "no growth";
    case PhaseReason::kFullQueue:
      return "long queue without growth";
    case PhaseReason::kSlower:
      return "line became slower";
    case PhaseReason::kDrained:
      return "drained";
    case PhaseReason::kTimeToAsk:
      return "time to ask";
    case PhaseReason::kRoomy:
      return "no queue";
    case PhaseReason::kAnsweredByQueue:
      return "answered by a queue";
    case PhaseReason::kFoundMore:
      return "found more";
    case PhaseReason::kFoundNoMore:
      return "found no more";
    case PhaseReason::kSteady:
      return "steady";
  }
  return "";
}

bool may_follow(Phase from, Phase to) {
  return kEdges[static_cast<std::size_t>(from)][static_cast<std::size_t>(to)];
}

double RateControl::target_ms(const Delay& delay) const {
  return std::clamp(1.5 * delay.calm_jitter_ms(), tuning_->target_queue_ms, tuning_->most_target_queue_ms);
}

double RateControl::window(const Delay& delay, const DeliveryRate& rate) const {
  const double least = delay.least_rtt_ms();
  if (phase_ == Phase::kStartup) {
    // What came while the link was not kept busy opens the window for the next burst, twice as
    // long: no more, or a queue would make room for a longer one.
    const double kept_busy = 3 * rate.best_busy() * (std::max(delay.rtt_ms(), least) + 15);
    const double at_all = 2 * rate.best_any() * (least + 3 * delay.calm_jitter_ms() + 15);
    return 1e-3 * std::max(kept_busy, at_all) + 48e3;
  }
  if (phase_ == Phase::kFollow) {
    const double queue = tuning_->follow_target_ms + tuning_->follow_flight_ms + 2 * delay.calm_jitter_ms();
    return rate.bytes_per_s() * 1e-3 * (least + queue) + 6000;
  }
  const double trip = std::min(delay.greatest_rtt_ms(), least + 250);
  return rate.bytes_per_s() * 1e-3 * (1.2 * trip + 15) + 6000;
}

void RateControl::enter(const Facts& facts, Phase phase, PhaseReason reason) {
  assert(may_follow(phase_, phase));
  phase_ = phase;
  reason_ = reason;
  phase_start_ = facts.sample.now;
  switch (phase) {
    case Phase::kStartup:
      gain_ = tuning_->startup_gain;
      break;
    case Phase::kDrain:
      gain_ = tuning_->drain_gain;
      drain_for_ = facts.delay.round_trip() * 3 / 2;
      break;
    case Phase::kCruise:
      gain_ = 1;
      break;
    case Phase::kProbe:
    case Phase::kFastProbe:
      gain_ = phase == Phase::kProbe ? tuning_->probe_gain : tuning_->fast_probe_gain;
      before_probe_ = facts.rate;
      queue_before_probe_ = facts.delay.queue_ms();
      break;
    case Phase::kFollow:
      gain_ = 1;
      break;
  }
}

void RateControl::on_sample(const RateSample& sample, Delay& delay, DeliveryRate& rate, bool slower) {
  Facts facts{sample, delay, rate, rate.bytes_per_s(), sample.now - phase_start_};
  ++(sample.app_limited ? round_idle_ : round_busy_);
  round_flight_ = std::max(round_flight_, sample.in_flight.value_or(1e18));
  if (slower && !sample.arrived) {
    enter(facts, Phase::kDrain, PhaseReason::kSlower);
  } else if (phase_ != Phase::kFollow && (slower || carries_less(facts))) {
    const double before = facts.rate;
    if (!slower) rate.reset(*rate.recent());
    facts.rate = rate.bytes_per_s();
    begin_follow(facts, before);
  }
  if (sample.sent >= round_start_) end_round(facts);
  facts.in_phase = sample.now - phase_start_;
  step(facts);
}

// True when more is in flight than the line holds at the best rate seen. The delay of a
// line that jitters and keeps the order of packets grows with their number, by several
// times the jitter: what looks like a queue is one only if so much was sent.
bool RateControl::overfilled(const Facts& facts, double in_flight) {
  return in_flight >
         1.3e-3 * facts.rate * (facts.delay.least_rtt_ms() + 3 * facts.delay.calm_jitter_ms() + 15);
}

void RateControl::end_round(const Facts& facts) {
  round_start_ = facts.sample.now;
  if (phase_ == Phase::kStartup) {
    const double queue = facts.delay.queue_ms();
    if (facts.rate >= full_rate_ * 1.25) {
      full_rate_ = facts.rate;
      flat_rounds_ = 0;
    } else if (((round_busy_ > 4 * round_idle_ && queue > 1) ||  // full, and not only asked for no more
                (overfilled(facts, round_flight_) &&
                 queue > std::max(8.0, 4 * facts.delay.calm_jitter_ms()))) &&
               ++flat_rounds_ >= 3) {
      enter(facts, Phase::kDrain, PhaseReason::kFull);
    }
  }
  round_busy_ = round_idle_ = 0;
  round_flight_ = 0;
}

void RateControl::step(const Facts& facts) {
  switch (phase_) {
    case Phase::kStartup:
      return step_startup(facts);
    case Phase::kDrain:
      return step_drain(facts);
    case Phase::kCruise:
      return step_cruise(facts);
    case Phase::kProbe:
      return step_probe(facts);
    case Phase::kFastProbe:
      return step_fast_probe(facts);
    case Phase::kFollow:
      return step_follow(facts);
  }
}

// The next round would end when this queue is through: it need not get that long. (What a
// line that is hardly used shows is its jitter.)
void RateControl::step_startup(const Facts& facts) {
  const double full_queue = tuning_->full_queue_ms + 8 * facts.delay.calm_jitter_ms();
  if (!facts.sample.light && facts.delay.queue_ms() > full_queue && facts.rate < full_rate_ * 1.25 &&
      overfilled(facts, facts.sample.in_flight.value_or(1e18)))
    enter(facts, Phase::kDrain, PhaseReason::kFullQueue);
}

void RateControl::step_drain(const Facts& facts) {
  if (facts.sample.one_way_ms <= facts.delay.base_ms() + 1 || facts.in_phase > drain_for_)
    enter(facts, Phase::kCruise, PhaseReason::kDrained);
}

void RateControl::step_cruise(const Facts& facts) {
  const double queue = facts.delay.queue_ms(), target = target_ms(facts.delay);
  const double excess = (queue - target) / target;
  // Left over from a ramp or a probe; one that stays is not ours.
  const bool long_queue = queue > target + 15 + 4 * facts.delay.calm_jitter_ms() && facts.in_phase < 1s;
  gain_ = long_queue   ? tuning_->let_go_gain
          : excess < 0 ? 1 - 0.04 * excess
                       : std::max(1 - 0.04 * excess, 0.95);
  // A line that has just proved faster is asked again soon.
  const bool grew = facts.rate > before_probe_ * 1.1;
  const Duration trip = facts.delay.round_trip();
  const Duration wait = grew ? trip : std::clamp<Duration>(trip * 10, 600ms, 2s);
  const bool roomy = !probe_failed_ && queue < 0.3 * target && facts.in_phase > trip * 2;
  if ((facts.in_phase <= wait && !roomy) || facts.sample.app_limited || long_queue) return;
  enter(facts, Phase::kProbe, roomy ? PhaseReason::kRoomy : PhaseReason::kTimeToAsk);
}

// Asks with a little more than the line takes, and waits for the answer: a queue, which is
// let go, or none: then there is more to have, and the probe goes on until a sample of the
// rate, which reaches back a round trip, is all of it.
void RateControl::step_probe(const Facts& facts) {
  const Duration trip = facts.delay.round_trip();
  const double jitter = facts.delay.calm_jitter_ms(), queue = facts.delay.queue_ms();
  const Duration ask =
      std::max<Duration>(trip / 2, std::min<Duration>(trip * 3 / 2, from_ms(tuning_->ask_ms)));
  const Duration answered = trip + ask + from_ms(tuning_->queue_seen_ms);
  const bool grown = queue >= queue_before_probe_ + 3 + jitter;
  gain_ = facts.in_phase < ask || facts.in_phase >= answered ? tuning_->probe_gain : 1;
  if (queue > queue_before_probe_ + 8 + 2 * jitter || (grown && facts.in_phase >= answered)) {
    end_probe(facts, PhaseReason::kAnsweredByQueue);
    if (facts.in_phase < answered + 20ms) drain_for_ = ask * 4 / 5;
  } else if (facts.in_phase > answered + trip * (grown ? 6 : 9) / 4) {
    end_probe(facts, PhaseReason::kFoundMore);
  }
}

void RateControl::step_fast_probe(const Facts& facts) {
  const double jitter = facts.delay.calm_jitter_ms(), queue = facts.delay.queue_ms();
  const bool grown = queue >= queue_before_probe_ + 3 + jitter;
  if (queue > queue_before_probe_ + 8 + 2 * jitter) {
    end_probe(facts, PhaseReason::kAnsweredByQueue);
  } else if (facts.in_phase > facts.delay.round_trip() * (grown ? 6 : 9) / 4) {
    end_probe(facts, PhaseReason::kFoundMore);
  }
}

// There was more: on at once. Else the queue, if there is one, is let go.
void RateControl::end_probe(const Facts& facts, PhaseReason reason) {
  if (reason == PhaseReason::kFoundMore && facts.rate > before_probe_ * 1.12)
    return enter(facts, Phase::kFastProbe, reason);
  probe_failed_ = facts.rate < before_probe_ * 1.05;
  enter(facts, Phase::kDrain,
        reason == PhaseReason::kFoundMore ? PhaseReason::kFoundNoMore : PhaseReason::kAnsweredByQueue);
}

}  // namespace bondd::mlvpn

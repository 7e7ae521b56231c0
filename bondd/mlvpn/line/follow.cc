// The phase kFollow of rate control: a line whose rate moves.
//
// While a queue stands before the line, what arrives is what it carries now, within a tenth
// of a second; the greatest rate of the past counts only while none stands. So a short queue
// is kept all the time: it tells the rate.
//
// That a delay is above the base is no proof of a queue, and arrivals at the pace of our own
// sending tell nothing of the line. The rate is only lowered when the delay changed while
// those packets were on the way: then they left the line at another pace than they entered it.
#include <algorithm>
#include <cmath>

#include "bondd/mlvpn/line/rate_control.h"

namespace bondd::mlvpn {

// True when a queue stands that is more than noise, and less arrives than the rate says.
bool RateControl::carries_less(const Facts& facts) const {
  const auto recent = facts.model.recent();
  const double jitter = facts.delay.calm_jitter_ms();
  if (!recent || *recent >= tuning_->slower * facts.rate) return false;
  if (!facts.model.line_limited(jitter)) return false;
  const double queue = facts.delay.queue_ms();
  if (phase_ != Phase::kStartup) return queue > target_ms(facts.delay) + facts.delay.noise_ms();
  // Hardly anything is on a line that was never used: a delay is its jitter then, and what arrives what was
  // asked.
  if (facts.sample.light) return false;
  // A growing flow's packets come later the denser they are, on a line that jitters (lesson 18).
  return queue > tuning_->full_queue_ms + 2 * tuning_->noise_jitters * jitter &&
         facts.sample.rtt_ms > 1.3 * (facts.delay.least_rtt_ms() + 3 * jitter + 15);
}

void RateControl::begin_follow(const Facts& facts, double rate_before) {
  enter(facts, Phase::kFollow, PhaseReason::kSlower);
  followed_least_ = followed_most_ = facts.rate;
  followed_since_ = empty_since_ = facts.sample.now;
  base_check_ = {facts.sample.now, facts.sample.now, facts.delay.queue_ms(), 0, 0};
  rate_before_queue_ = rate_before;
}

void RateControl::step_follow(const Facts& facts) {
  const TimePoint now = facts.sample.now;
  const double jitter = facts.delay.calm_jitter_ms();
  const double seen = tuning_->follow_seen_ms + 2 * jitter;
  const auto recent = facts.model.recent();
  if (recent && facts.delay.queue_ms() > seen && (*recent > facts.rate || facts.model.line_limited(jitter)))
    facts.model.reset(*recent);
  check_base(facts);
  const double queue = facts.delay.queue_ms();
  const double target = tuning_->follow_target_ms + std::min(jitter, tuning_->most_target_queue_ms);
  gain_ = std::clamp(1 + (target - queue) / tuning_->follow_time_ms, tuning_->follow_least_gain,
                     tuning_->follow_most_gain);
  // No queue though more was sent for a round trip: there is much more to have.
  if (queue > seen || (facts.sample.app_limited && !facts.sample.control)) empty_since_ = now;
  if (now - empty_since_ > facts.delay.round_trip() + from_ms(tuning_->recent_ms / 2))
    gain_ = tuning_->fast_probe_gain;
  note_spread(facts, facts.model.bytes_per_s());
}

void RateControl::note_spread(const Facts& facts, double rate) {
  followed_least_ = std::min(followed_least_, rate);
  followed_most_ = std::max(followed_most_, rate);
  if (followed_most_ > tuning_->steady_spread * followed_least_) {
    followed_least_ = followed_most_ = rate;
    followed_since_ = facts.sample.now;
  }
  if (facts.sample.now - followed_since_ > from_ms(tuning_->steady_ms))
    enter(facts, Phase::kCruise, PhaseReason::kSteady);
}

// A queue that does not get shorter, though less is sent than arrived, is none: the way has
// become longer (a handover, another satellite). Then the delay of now is the new base, and
// the rate is what it was before.
void RateControl::check_base(const Facts& facts) {
  const TimePoint now = facts.sample.now;
  const double queue = facts.delay.queue_ms();
  BaseCheck& check = base_check_;
  if (gain_ >= 0.95 || queue < tuning_->follow_seen_ms) {
    if (queue < tuning_->follow_seen_ms) rate_before_queue_ = facts.model.bytes_per_s();
    check = {now, now, queue, 0, 0};
    return;
  }
  // What is sent now shows a round trip later.
  if (now - check.since > facts.delay.round_trip()) {
    check.expected_drop_ms += (1 - gain_) * to_ms(now - check.at);
  } else {
    check.queue_ms = queue;
  }
  check.at = now;
  if (check.expected_drop_ms < std::max(10 + 2 * facts.delay.calm_jitter_ms(), 0.3 * check.queue_ms)) return;
  check.flat = std::abs(check.queue_ms - queue) < check.expected_drop_ms / 4 ? check.flat + 1 : 0;
  check.expected_drop_ms = 0;
  check.queue_ms = queue;
  if (check.flat < 2) return;
  check.flat = 0;
  facts.delay.rebase(now);
  facts.model.reset(std::max(rate_before_queue_, facts.model.bytes_per_s()));
}

}  // namespace bondd::mlvpn

// How fast one line is sent to: at the rate that it delivers, a little more or less so that
// a queue of a few milliseconds stands before it: enough to keep it busy, too little to be
// felt.
//
//   kStartup    doubles each round trip until the line delivers no more
//   kDrain      slower than the line until the queue is gone
//   kCruise     at the line's rate, trimmed by the queue's delay
//   kProbe      a quarter faster for 40 ms or half a round trip; if no queue comes of it, for longer
//   kFastProbe  after a probe that found more: faster still, and again while there is more
//   kFollow     a line that moves: a short queue is kept, since it tells what the line carries now
//
//   kStartup -> kDrain -> kCruise -> kProbe -> kDrain
//                            ^         '-> kFastProbe -> kFastProbe, kDrain
//   all -> kFollow ----------'  when less arrives than thought while a queue stands, until the
//                               rate has kept for a while (echoes of an original peer: kDrain)
//
// A line that jitters has no queue of a few milliseconds to be seen: what counts as a
// queue grows with the jitter.
#pragma once

#include <cstdint>

#include "bondd/mlvpn/line/delay.h"
#include "bondd/mlvpn/line/delivery_rate.h"

namespace bondd::mlvpn {

enum class Phase : std::uint8_t { kStartup, kDrain, kCruise, kProbe, kFastProbe, kFollow };
const char* to_string(Phase phase);

// Why a phase began.
enum class PhaseReason : std::uint8_t {
  kNothingKnown,  // a new line
  kFull,          // start-up: three round trips without growth
  kFullQueue,     // start-up: a long queue and no growth
  kSlower,        // delays rose steeply: the line carries less than before
  kDrained,       // the queue is gone, or was let go for long enough
  kTimeToAsk,     // the last probe is long ago
  kRoomy,         // no queue stands at all
  kAnsweredByQueue,
  kFoundMore,
  kFoundNoMore,
  kSteady,  // the line has kept its rate for seconds
};
const char* to_string(PhaseReason reason);

// True when `to` may follow `from`.
bool may_follow(Phase from, Phase to);

class RateControl {
 public:
  explicit RateControl(const Tuning& tuning) : tuning_(&tuning), gain_(tuning.startup_gain) {}

  // After `delay` and `rate` have had the same sample; corrects them when it tells more than
  // they can know. `slower`: delays rose steeply.
  void on_sample(const RateSample& sample, Delay& delay, DeliveryRate& rate, bool slower);

  [[nodiscard]] double gain() const { return gain_; }
  [[nodiscard]] Phase phase() const { return phase_; }
  [[nodiscard]] PhaseReason reason() const { return reason_; }
  // Bytes that may be in flight.
  [[nodiscard]] double window(const Delay& delay, const DeliveryRate& rate) const;

 private:
  struct Facts {  // of one sample, for the phases
    const RateSample& sample;
    Delay& delay;
    DeliveryRate& model;
    double rate;
    Duration in_phase;
  };

  void enter(const Facts& facts, Phase phase, PhaseReason reason);
  void end_round(const Facts& facts);
  void step(const Facts& facts);
  void step_startup(const Facts& facts);
  void step_drain(const Facts& facts);
  void step_cruise(const Facts& facts);
  void step_probe(const Facts& facts);
  void step_fast_probe(const Facts& facts);
  void end_probe(const Facts& facts, PhaseReason reason);
  // follow.cc
  [[nodiscard]] bool carries_less(const Facts& facts) const;
  void begin_follow(const Facts& facts, double rate_before);
  void step_follow(const Facts& facts);
  void note_spread(const Facts& facts, double rate);
  void check_base(const Facts& facts);
  [[nodiscard]] double target_ms(const Delay& delay) const;
  [[nodiscard]] static bool overfilled(const Facts& facts, double in_flight);

  const Tuning* tuning_;
  Phase phase_ = Phase::kStartup;
  PhaseReason reason_ = PhaseReason::kNothingKnown;
  TimePoint phase_start_{};
  Duration drain_for_{};
  double gain_;

  bool probe_failed_ = false;
  double before_probe_ = 0, queue_before_probe_ = 0;

  // In kFollow: the rate's range since followed_since_, and since when no queue was seen.
  double followed_least_ = 0, followed_most_ = 0;
  TimePoint followed_since_{}, empty_since_{};
  // Whether a queue that should get shorter does (check_base).
  struct BaseCheck {
    TimePoint since{}, at{};
    double queue_ms = 0;  // when it began
    double expected_drop_ms = 0;
    int flat = 0;  // times in a row that it did not
  };
  BaseCheck base_check_;
  double rate_before_queue_ = 0;

  TimePoint round_start_{};
  double full_rate_ = 0;
  double round_flight_ = 0;  // the most that was in flight in this round
  int flat_rounds_ = 0;
  int round_busy_ = 0, round_idle_ = 0;
};

}  // namespace bondd::mlvpn

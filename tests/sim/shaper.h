// When a line lets a packet leave: by its rate, its bucket of tokens, its recording, its
// slots. And what a line is like, in netem's words.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "bondd/base/units.h"
#include "tests/sim/random.h"
#include "tests/sim/recording.h"

namespace bondd::sim {

// Probabilities, 0 to 1, as netem's `loss gemodel`.
struct BurstLoss {
  double to_bad = 0, to_good = 0;
  double loss_when_bad = 0, loss_when_good = 0;

  double mean() const {
    const double bad = to_bad / (to_bad + to_good);
    return bad * loss_when_bad + (1 - bad) * loss_when_good;
  }
};

// Behind two lines, and narrower than they are together. One per run: it has a state.
struct Bottleneck {
  Rate rate{};
  std::size_t limit_bytes = 0;  // of its queue
  TimePoint free{};
};

// From `at` on, since the recording began, packets take `extra` longer.
struct DelayStep {
  Duration at{0}, extra{0};
};

// One direction of a line.
struct LineSpec {
  Duration delay{0};
  Duration jitter{0};                 // deviation of a normal distribution
  double loss = 0;                    // probability, 0 to 1
  std::optional<BurstLoss> bursts{};  // takes the place of `loss`
  double duplicate = 0;               // probability, 0 to 1
  double reorder = 0;                 // probability that a packet leaves without delay
  double late_share = 0;              // probability that a packet is `late`
  Duration late{0};
  Rate rate{};                                   // 0: not limited
  std::size_t limit = 1000;                      // packets, those being delayed included
  std::size_t bucket = 0;                        // bytes; not 0: a token bucket
  std::size_t police = 0;                        // bytes of burst; not 0: a policer without a queue
  std::size_t mtu = 0;                           // of IP packets; 0: all pass
  Duration slot_least{0}, slot_most{0};          // length of a slot; 0: no slots
  std::shared_ptr<const Recording> recording{};  // takes the place of the rate
  Duration offset{0};                            // where in the recording to begin
  std::vector<DelayStep> steps{};                // in order
  std::shared_ptr<Bottleneck> bottleneck{};      // takes the place of the rate
};

// Bytes that flow in steadily and are saved up to a limit.
class TokenBucket {
 public:
  TokenBucket() = default;
  TokenBucket(Rate rate, std::size_t size)
      : rate_(static_cast<double>(rate.bits_per_second) / 8e9),
        size_(static_cast<double>(size)),
        held_(size_) {}

  // Takes `bytes` at `now`; false when there are not so many.
  bool take(TimePoint now, std::size_t bytes);
  // Takes `bytes` as soon as they are there: at `now` or later. Times must not go back.
  TimePoint wait(TimePoint now, std::size_t bytes);

 private:
  void fill(TimePoint now);

  double rate_ = 0;  // bytes a ns
  double size_ = 0, held_ = 0;
  TimePoint filled_{};
};

class Shaper {
 public:
  explicit Shaper(const LineSpec& spec) { set_spec(spec); }

  void set_spec(const LineSpec& spec);
  // The recording begins anew.
  void begin(TimePoint now);
  // All that waited is gone.
  void forget() { last_ = {}; }

  // False: the policer drops it.
  bool admits(TimePoint now, std::size_t bytes);
  // False: the bottleneck's queue is full.
  bool has_room(TimePoint now, std::size_t bytes) const;
  Duration extra_delay(TimePoint now) const;
  // When a packet leaves that could leave at `ready`.
  TimePoint leaves(TimePoint ready, std::size_t bytes, Random& random);

 private:
  TimePoint end_of_slot(TimePoint time, Random& random);

  LineSpec spec_;
  Chances chances_;
  TokenBucket bucket_, policer_;
  TimePoint last_{};      // when the packet before leaves, where order is kept
  TimePoint slot_end_{};  // of the current slot
  std::optional<TimePoint> begun_;
};

}  // namespace bondd::sim

#include <algorithm>
#include <array>
#include <cmath>

#include "tests/sim/moving.h"

namespace bondd::sim {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kRecordedMs = 60'000;

// Turns a rate that changes from millisecond to millisecond into chances.
class Recorder {
 public:
  // The next millisecond offers `mbit` on average; `random` spreads it as a radio's scheduler does.
  void next_ms(double mbit, Random& random) {
    ++ms_;
    bytes_ += mbit * 125 * -std::log(1 - random.uniform());
    for (; bytes_ >= Recording::kChanceBytes; bytes_ -= Recording::kChanceBytes) chances_.push_back(ms_);
  }
  std::uint32_t ms() const { return ms_; }
  std::shared_ptr<const Recording> recording() && {
    chances_.push_back(std::max(ms_, 1U));
    return std::make_shared<const Recording>(std::move(chances_));
  }

 private:
  std::uint32_t ms_ = 0;
  double bytes_ = 0;
  std::vector<std::uint32_t> chances_;
};

double between(Random& random, double least, double most) {
  return least + random.uniform() * (most - least);
}

double exponential(Random& random, double mean) {
  return -std::log(1 - random.uniform()) * mean;
}

LineSpec spec(std::string_view words) {
  return parse_line_spec(words).value();
}

LineSpecs both_ways(const std::string& words) {
  return spec(words);
}

// Mobile lines are slower upwards.
LineSpecs lte(std::uint64_t seed, double most_mbit) {
  return {lte_like(seed * 2, most_mbit / 250, most_mbit / 2.5),
          lte_like(seed * 2 + 1, most_mbit / 100, most_mbit)};
}
LineSpecs starlink(std::uint64_t seed) {
  return {starlink_like(seed * 2, 5, 20), starlink_like(seed * 2 + 1, 20, 150)};
}

LinePair two_lte(std::uint64_t seed) {
  return {"lte", lte(seed * 2, 30), lte(seed * 2 + 1, 60)};
}
LinePair lte_and_dsl(std::uint64_t seed) {
  return {"lte_dsl", both_ways("delay 12ms rate 20mbit limit 200"), lte(seed, 30)};
}
LinePair two_starlinks(std::uint64_t seed) {
  return {"starlink", starlink(seed * 2), starlink(seed * 2 + 1)};
}
LinePair starlink_and_lte(std::uint64_t seed) {
  return {"starlink_lte", starlink(seed), lte(seed, 40)};
}
LinePair policed(std::uint64_t) {
  const LineSpecs line = both_ways("delay 20ms rate 8mbit police 1000000");
  return {"policed", line, line};
}
LinePair buckets(std::uint64_t seed) {
  Random random(seed);
  const auto line = [&] {
    const auto bytes = static_cast<int>(between(random, 3'000, 64'000));
    return both_ways("delay 20ms rate 8mbit limit 100 burst " + std::to_string(bytes));
  };
  const LineSpecs a = line();
  return {"bucket", a, line()};
}
LinePair wifi(std::uint64_t) {
  return {"wifi", both_ways("delay 10ms rate 40mbit slot 2ms 8ms"),
          both_ways("delay 15ms rate 30mbit slot 2ms 8ms")};
}
LinePair docsis(std::uint64_t) {
  return {"docsis", both_ways("delay 8ms rate 100mbit slot 2ms 4ms"), both_ways("delay 15ms rate 20mbit")};
}
LinePair gilbert(std::uint64_t) {
  return {"gilbert", both_ways("delay 25ms rate 40mbit loss gemodel 2% 40% 70% 0.1%"),
          both_ways("delay 25ms rate 40mbit loss gemodel 4% 30% 80% 0.5%")};
}
LinePair duplicates(std::uint64_t) {
  return {"duplicates", both_ways("delay 20ms rate 20mbit duplicate 3%"),
          both_ways("delay 30ms rate 10mbit duplicate 10%")};
}
// Each line of 30 Mbit/s leads through the same 20.
LinePair one_bottleneck(std::uint64_t) {
  const auto neck = [] { return std::make_shared<Bottleneck>(Bottleneck{Rate{20'000'000}, 300'000, {}}); };
  LineSpecs a = spec("delay 15ms"), b = spec("delay 20ms");
  a.up.bottleneck = b.up.bottleneck = neck();
  a.down.bottleneck = b.down.bottleneck = neck();
  return {"bottleneck", a, b};
}
LinePair small_packets_only(std::uint64_t) {
  return {"mtu_1400", both_ways("delay 20ms rate 8mbit limit 200"),
          both_ways("delay 20ms rate 8mbit limit 200 mtu 1400")};
}
LinePair late(std::uint64_t) {
  return {"late_5ms", both_ways("delay 20ms rate 20mbit late 5ms 10%"),
          both_ways("delay 25ms rate 20mbit late 5ms 30%")};
}

constexpr double kPolicedBar = 13.3 / (16 * kPayloadShare);  // 13.3 of 16 Mbit/s

// The bars are what the bond has to reach, not what it reaches today.
constexpr std::array kKinds = {
    MovingKind{"lte", "two LTE-like lines, up to 30 and 60 Mbit/s", two_lte, Measure::kLimit, 0.75, 0.85, 0},
    MovingKind{"lte_dsl", "DSL of 20 Mbit/s and an LTE-like line", lte_and_dsl, Measure::kLimit, 0.75, 0.85,
               0},
    MovingKind{"starlink", "two Starlink-like lines", two_starlinks, Measure::kLimit, 0.75, 0.85, 0},
    MovingKind{"starlink_lte", "a Starlink-like and an LTE-like line", starlink_and_lte, Measure::kLimit,
               0.75, 0.85, 0},
    MovingKind{"policed", "2 x 8 Mbit/s, all above is dropped, a second's burst", policed, Measure::kLimit,
               kPolicedBar, kPolicedBar, 1.15},
    MovingKind{"bucket", "2 x 8 Mbit/s by token buckets of 3 to 64 kB", buckets, Measure::kLimit, kPolicedBar,
               kPolicedBar, 1.15},
    MovingKind{"wifi", "40 and 30 Mbit/s in clumps of 2 to 8 ms", wifi, Measure::kLimit, 0.75, 0.85, 0},
    MovingKind{"docsis", "100 Mbit/s in clumps of 2 to 4 ms, and 20", docsis, Measure::kLimit, 0.75, 0.85, 0},
    MovingKind{"gilbert", "2 x 40 Mbit/s that lose in bursts", gilbert, Measure::kLimit, 0.75, 0.85, 0},
    MovingKind{"duplicates", "20 and 10 Mbit/s, 3 and 10 % come twice", duplicates, Measure::kLimit, 0.75,
               0.85, 0},
    MovingKind{"bottleneck", "two lines through the same 20 Mbit/s", one_bottleneck, Measure::kBetterLine,
               1 - 0.04, 1 - 0.04, 0},
    MovingKind{"mtu_1400", "2 x 8 Mbit/s, one drops packets over 1400", small_packets_only,
               Measure::kBetterLine, 0.92, 1.8, 0},
    MovingKind{"late_5ms", "2 x 20 Mbit/s, 10 and 30 % come 5 ms late", late, Measure::kLimit, 0.75, 0.85, 0},
};

}  // namespace

LineSpec lte_like(std::uint64_t seed, double least_mbit, double most_mbit) {
  constexpr double kStep =
      0.25;  // deviation of the rate's logarithm in 100 ms: tenfold within a second happens
  constexpr double kHandoverEveryMs = 6000;
  Random random(seed * 977 + 11);
  Recorder recorder;
  const double low = std::log(least_mbit), high = std::log(most_mbit);
  double rate = between(random, low, high);
  double handover = exponential(random, kHandoverEveryMs);
  while (recorder.ms() < kRecordedMs) {
    rate += kStep * random.normal();
    if (rate > high) rate = 2 * high - rate;
    if (rate < low) rate = 2 * low - rate;
    for (int i = 0; i < 100; ++i) recorder.next_ms(std::exp(rate), random);
    if (recorder.ms() < handover) continue;
    for (double gap = between(random, 50, 500); gap > 0; --gap) recorder.next_ms(0, random);
    handover = recorder.ms() + exponential(random, kHandoverEveryMs);
  }
  LineSpec line;
  line.delay = from_ms(between(random, 20, 40));
  line.limit = 1000;
  line.recording = std::move(recorder).recording();
  return line;
}

LineSpec starlink_like(std::uint64_t seed, double least_mbit, double most_mbit) {
  constexpr std::uint32_t kEveryMs = 15'000;
  Random random(seed * 977 + 13);
  Recorder recorder;
  LineSpec line;
  line.delay = 20ms;
  line.limit = 1000;
  double rate = between(random, least_mbit, most_mbit);
  auto next = static_cast<std::uint32_t>(between(random, 0, kEveryMs));
  line.steps.push_back({0ms, from_ms(between(random, 0, 25))});
  while (recorder.ms() < kRecordedMs) {
    recorder.next_ms(rate * between(random, 0.8, 1.2), random);
    if (recorder.ms() < next) continue;
    rate = between(random, least_mbit, most_mbit);
    line.steps.push_back({std::chrono::milliseconds(recorder.ms()), from_ms(between(random, 0, 25))});
    for (double gap = between(random, 50, 250); gap > 0; --gap) recorder.next_ms(0, random);
    next += kEveryMs;
  }
  line.recording = std::move(recorder).recording();
  return line;
}

std::span<const MovingKind> moving_kinds() {
  return kKinds;
}

}  // namespace bondd::sim

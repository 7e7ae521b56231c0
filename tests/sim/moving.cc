#include "tests/sim/moving.h"

#include <algorithm>
#include <cstdio>

namespace bondd::sim {
namespace {

constexpr double kPingBarMs = 100;      // 95th percentile, above idle
constexpr int kBrokenHalfSeconds = 10;  // a flow that stands still for 5 s is broken

struct SeedRun {
  std::uint64_t seed = 0;
  PairRun run;
  double share = 0;  // of the kind's measure
  double ping_ms = 0;
  double outside = 0;  // bytes of frames for each byte of IP inside
  Standstills still;
};

// A frame of 1514 bytes carries an IP packet of 1428; `redundant` is on top.
double outside_of(const PairRun& run) {
  return 1514.0 / 1428.0 / std::max(1 - run.redundant, 0.01);
}

SeedRun run_seed(const MovingKind& kind, const PairOptions& options, std::uint64_t seed) {
  SeedRun result;
  result.seed = seed;
  const LinePair pair = kind.make(seed);
  result.run = run_pair(pair, options, seed);
  double whole = limit_of(pair, options.download);
  if (kind.measure == Measure::kBetterLine) {
    // Made anew for each: a bottleneck has a state.
    whole = std::max(alone(kind.make(seed).a, options, seed), alone(kind.make(seed).b, options, seed));
  }
  result.share = whole > 0 ? result.run.outcome.mbit / whole : 0;
  const double idle = run_pair(kind.make(seed), options, seed, 0).outcome.ping.percentile(0.5);
  result.ping_ms = result.run.outcome.ping.percentile(0.95) - idle;
  result.outside = outside_of(result.run);
  result.still = standstills(result.run);
  return result;
}

// The value of `runs` that `projection` makes the largest.
template <typename Projection>
auto most(const std::vector<SeedRun>& runs, Projection projection) {
  return std::invoke(projection, *std::ranges::max_element(runs, {}, projection));
}

bool measure_kind(const MovingKind& kind, const PairOptions& options) {
  std::vector<SeedRun> runs;
  for (std::uint64_t seed = options.seed; seed < options.seed + options.seeds; ++seed) {
    runs.push_back(run_seed(kind, options, seed));
  }
  std::ranges::sort(runs, {}, &SeedRun::share);
  const SeedRun& worst = runs.front();
  const SeedRun& middle = runs[runs.size() / 2];
  const int still = most(runs, [](const SeedRun& r) { return r.still.count; });
  const int in_a_row = most(runs, [](const SeedRun& r) { return r.still.most_in_a_row; });
  const double outside = most(runs, &SeedRun::outside), ping = most(runs, &SeedRun::ping_ms);

  std::string missed;
  if (worst.share < kind.bar) missed += " share";
  if (still > 0) missed += " still";
  if (ping > kPingBarMs) missed += " ping";
  if (kind.outside_bar > 0 && outside > kind.outside_bar) missed += " outside";
  std::printf("%-13s %-4s %5.2f %5.2f  %6.2f (seed %2lu)  %6.2f %7.2f %6d %6.1f %7.2f %8.0f  %s%s\n",
              kind.name.data(), options.download ? "down" : "up", kind.bar, kind.aim, worst.share,
              static_cast<unsigned long>(worst.seed), middle.share, middle.run.outcome.mbit, still,
              in_a_row / 2.0, outside, ping, missed.empty() ? "ok" : "MISSED", missed.c_str());
  if (options.series) print_series(worst.run);
  std::fflush(stdout);
  if (!options.brief) return missed.empty();
  if (worst.run.outcome.mbit > 0 && in_a_row < kBrokenHalfSeconds) return true;
  std::printf("%s: a flow gets nothing, or stands still for %.1f s\n", kind.name.data(), in_a_row / 2.0);
  return false;
}

}  // namespace

bool measure_moving(const PairOptions& options) {
  std::puts(
      "One cubic flow, 15 s from its second 2 on, over two lines made from a seed. share: of what both "
      "lines\n"
      "carry (bottleneck and mtu_1400: of one flow over the better line alone), lowest and median of all "
      "seeds;\n"
      "still: half seconds without a byte, most of a seed, and most in a row (s); outside: bytes on the "
      "lines for\n"
      "each byte inside, most; p95-id: the ping beside the flow above idle, 95th percentile, most (bar 100 "
      "ms)");
  std::puts(
      "kind          dir    bar   aim  lowest            median    Mbit/s  still    (s) outside   p95-id");
  bool good = true;
  for (const MovingKind& kind : moving_kinds()) {
    const bool chosen =
        options.names.empty() || std::ranges::find(options.names, kind.name) != options.names.end();
    if (chosen) good = measure_kind(kind, options) && good;
  }
  return good;
}

}  // namespace bondd::sim

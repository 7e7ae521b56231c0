// Lines that move, lie or clump, made from seeds: the same seed is the same line on every
// machine. And the table of what a bond of them has to show.
#pragma once

#include <span>
#include <string_view>

#include "tests/sim/pair_run.h"

namespace bondd::sim {

// What a flow over the bond is measured against.
enum class Measure : std::uint8_t {
  kLimit,       // what both lines can carry
  kBetterLine,  // one flow over the better line alone
};

struct MovingKind {
  std::string_view name;
  std::string_view what;
  LinePair (*make)(std::uint64_t seed);
  Measure measure;
  double bar;  // of it, of the worst seed
  double aim;
  double outside_bar;  // bytes on the lines for each byte of IP inside; 0: no bar
};

std::span<const MovingKind> moving_kinds();

// An LTE-like line: its rate walks at random between `least` and `most`, and stops for a handover
// of 50 to 500 ms every few seconds. Starlink-like: every 15 s another rate and delay, and a gap.
LineSpec lte_like(std::uint64_t seed, double least_mbit, double most_mbit);
LineSpec starlink_like(std::uint64_t seed, double least_mbit, double most_mbit);

// Runs and prints. False when a bar is missed; with `brief` only when a flow stands still for
// 5 s or gets nothing, whatever the bars say.
bool measure_moving(const PairOptions& options);

}  // namespace bondd::sim

// One flow over a bond of two lines, judged by what the lines offered in its very seconds:
// 15 s from second 2 on, after 8 s in which the links come up and a ping runs.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "tests/sim/bond.h"

namespace bondd::sim {

struct LinePair {
  std::string name;
  LineSpecs a, b;
};

struct PairOptions {
  bool download = true;
  std::uint64_t seed = 1, seeds = 1;
  BondOptions bond{};
  bool alone = true;                              // each line alone, too
  bool series = false;                            // half second by half second
  Duration idle = std::chrono::seconds(5);        // before the ping and the flow
  bool brief = false;                             // few seeds; only a broken flow is a failure
  std::vector<Duration> offsets = {Duration(0)};  // added to those of recordings
  std::string directory{};                        // of the recordings
  std::vector<std::string> names{};               // empty: all
};

// Of an IP packet of 1500 bytes on a line: a TCP segment's payload within the bond.
constexpr double kPayloadShare = (1428.0 - 52.0) / 1500.0;

struct HalfSecond {
  std::array<double, 2> offered{}, estimate{}, queue_ms{};  // Mbit/s, Mbit/s, ms

  // Below 1 Mbit/s a flow may stand still.
  bool offers_enough() const { return offered[0] + offered[1] > 1; }
};

struct PairRun {
  Outcome outcome;
  std::vector<HalfSecond> halves;  // since the start of the flow
  double redundant = 0;            // share of the bytes on the lines, in the direction of the flow
};

// `flows`: 0 for the ping on idle lines.
PairRun run_pair(const LinePair& pair, const PairOptions& options, std::uint64_t seed, int flows = 1);
// Mbit/s of one flow over this line without a bond.
double alone(const LineSpecs& line, const PairOptions& options, std::uint64_t seed);
// Mbit/s of payload that the lines can carry in the measured seconds.
double limit_of(const LinePair& pair, bool download);

// Half seconds without a byte, in the measured time, though the lines offer something.
struct Standstills {
  int count = 0, most_in_a_row = 0;
};
Standstills standstills(const PairRun& run);

void print_series(const PairRun& run);

}  // namespace bondd::sim

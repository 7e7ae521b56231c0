// Pairs of recorded lines: one download over a bond of each, judged by what the lines
// offered in the very seconds of the flow.
#pragma once

#include <string>
#include <vector>

#include "tests/sim/bond.h"

namespace bondd::sim {

struct LinePair {
  std::string name;
  LineSpecs a, b;
};

// The lines of DIR/pairs.tsv: name, A down, B down, A up, B up, in the words of
// parse_line_spec. Fails at the first that cannot be read, with its number.
Result<std::vector<LinePair>> load_pairs(const std::string& directory);

struct PairOptions {
  bool download = true;
  std::uint64_t seed = 1, seeds = 1;
  BondOptions bond;
  bool alone = true;                              // each line alone, too
  bool series = false;                            // half second by half second
  std::vector<Duration> offsets = {Duration(0)};  // added to those of the pairs
  std::string directory;                          // of the recordings
  std::vector<std::string> names;                 // empty: all
};

// Runs and prints; false when a bar is missed, or the pairs cannot be read.
bool measure_pairs(const PairOptions& options);

}  // namespace bondd::sim

// Pairs of recorded lines: one download over a bond of each, judged by what the lines
// offered in the very seconds of the flow.
#pragma once

#include <string>
#include <vector>

#include "tests/sim/pair_run.h"

namespace bondd::sim {

// The lines of DIR/pairs.tsv: name, A down, B down, A up, B up, in the words of
// parse_line_spec. Fails at the first that cannot be read, with its number.
Result<std::vector<LinePair>> load_pairs(const std::string& directory);

// Runs and prints; false when a bar is missed, or the pairs cannot be read.
bool measure_pairs(const PairOptions& options);

}  // namespace bondd::sim

#include "tests/sim/recorded.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

namespace bondd::sim {
namespace {

using namespace std::chrono_literals;

// What a bond of two lines has to show; the second figure is the aim.
constexpr double kShareBar = 0.85, kShareAim = 0.92;
constexpr double kBetterLineBar = 0.92;  // of what one flow gets over the better line alone
constexpr double kPingBarMs = 100;       // 95th percentile, above idle
constexpr double kRedundantBar = 0.10;   // of the bytes on the lines

LinePair moved(LinePair pair, Duration by) {
  for (LineSpec* line : {&pair.a.up, &pair.a.down, &pair.b.up, &pair.b.down}) line->offset += by;
  return pair;
}

bool measure_pair(const LinePair& pair, const PairOptions& options, Duration offset) {
  std::vector<PairRun> runs;
  for (std::uint64_t seed = options.seed; seed < options.seed + options.seeds; ++seed) {
    runs.push_back(run_pair(pair, options, seed));
  }
  std::ranges::sort(runs, {}, [](const PairRun& r) { return r.outcome.mbit; });
  const PairRun& middle = runs[runs.size() / 2];
  const double idle = run_pair(pair, options, options.seed, 0).outcome.ping.percentile(0.5);
  const double a = options.alone ? alone(pair.a, options, options.seed) : 0,
               b = options.alone ? alone(pair.b, options, options.seed) : 0;
  const double limit = limit_of(pair, options.download), mbit = middle.outcome.mbit;
  const double ping = middle.outcome.ping.percentile(0.95) - idle;
  int still = 0;
  for (const PairRun& each : runs) still = std::max(still, standstills(each).count);

  std::string missed;
  if (mbit < kShareBar * limit) missed += " share";
  if (mbit < kBetterLineBar * std::max(a, b)) missed += " best";
  if (still > 0) missed += " still";
  if (ping > kPingBarMs) missed += " ping";
  if (middle.redundant > kRedundantBar) missed += " redundant";
  std::printf("%-18s %-4s %4d %7.2f %7.2f %7.2f %7.2f %6.2f %6.2f %6d %7.1f %6.0f %6.0f  %s%s",
              pair.name.c_str(), options.download ? "down" : "up", static_cast<int>(offset / 1s), a, b, mbit,
              limit, mbit / limit, std::max(a, b) > 0 ? mbit / std::max(a, b) : 0, still,
              middle.redundant * 100, idle, ping, missed.empty() ? "ok" : "MISSED", missed.c_str());
  if (runs.size() > 1) {
    std::printf("  |");
    for (const PairRun& each : runs) std::printf(" %.2f", each.outcome.mbit / limit);
  }
  std::puts("");
  if (options.series) print_series(middle);
  std::fflush(stdout);
  return missed.empty();
}

Result<LineSpec> direction(const std::string& text, const std::string& directory, int number) {
  auto spec = parse_line_spec(text, directory);
  if (!spec) return tl::make_unexpected(spec.error().in("pairs.tsv, line " + std::to_string(number)));
  return spec;
}

}  // namespace

Result<std::vector<LinePair>> load_pairs(const std::string& directory) {
  std::ifstream file(directory + "/pairs.tsv");
  if (!file) return failure("cannot read '" + directory + "/pairs.tsv'");
  std::vector<LinePair> pairs;
  int number = 0;
  for (std::string text; std::getline(file, text);) {
    ++number;
    std::vector<std::string> fields;
    std::istringstream in(text);
    for (std::string field; std::getline(in, field, '\t');) fields.push_back(field);
    if (fields.size() != 5) {
      return failure("pairs.tsv, line " + std::to_string(number) +
                     ": five fields with tabs between are wanted");
    }
    std::vector<LineSpec> specs;
    for (std::size_t i = 1; i < fields.size(); ++i) {
      auto spec = direction(fields[i], directory, number);
      if (!spec) return tl::make_unexpected(spec.error());
      specs.push_back(std::move(*spec));
    }
    pairs.push_back({fields[0], {specs[2], specs[0]}, {specs[3], specs[1]}});
  }
  return pairs;
}

bool measure_pairs(const PairOptions& options) {
  const auto pairs = load_pairs(options.directory);
  if (!pairs) {
    std::fprintf(stderr, "sim_matrix: %s\n", pairs.error().message.c_str());
    return false;
  }
  std::printf(
      "One cubic flow, %d s from its second %d on; seeds %lu to %lu; bars: share %.2f (aim %.2f), best %.2f, "
      "no half second without a byte, ping %.0f ms, redundant %.0f %%\n",
      15, 2, options.seed, options.seed + options.seeds - 1, kShareBar, kShareAim, kBetterLineBar, kPingBarMs,
      kRedundantBar * 100);
  std::puts(
      "pair               dir    +s       A       B    bond   limit  share  /best  still  redund   idle  "
      "p95-id");
  bool good = true;
  for (const LinePair& pair : *pairs) {
    const bool chosen =
        options.names.empty() || std::ranges::find(options.names, pair.name) != options.names.end();
    if (!chosen) continue;
    for (const Duration offset : options.offsets)
      good = measure_pair(moved(pair, offset), options, offset) && good;
  }
  return good;
}

}  // namespace bondd::sim

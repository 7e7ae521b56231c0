#include "tests/sim/recorded.h"

#include <algorithm>
#include <array>
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

// Of an IP packet of 1500 bytes on a line: a TCP segment's payload within the bond.
constexpr double kPayloadShare = (1428.0 - 52.0) / 1500.0;
constexpr double kOffersEnough = 1.0;  // Mbit/s: below it a flow may stand still

// As on a kernel: the links have come up, a ping runs, then 15 s of a flow from its second 2 on.
Experiment flow_for_15_s(bool download) {
  Experiment experiment;
  experiment.download = download;
  experiment.idle = 5s;
  experiment.light = 3s;
  experiment.warm_up = 2s;
  experiment.measured = 15s;
  experiment.with_game = false;
  experiment.ping_interval = 100ms;
  return experiment;
}

struct HalfSecond {
  std::array<double, 2> offered{}, estimate{}, queue_ms{};

  bool offers_enough() const { return offered[0] + offered[1] > kOffersEnough; }
};

struct PairRun {
  Outcome outcome;
  std::vector<HalfSecond> halves;
  double redundant = 0;  // share of the bytes on the lines, in the direction of the flow
};

// Looks at a bond at the end of each half second.
class Observer {
 public:
  Observer(PairRun& run, bool download) : run_(run), download_(download) {}

  void begin(Path& path) {
    bond_ = dynamic_cast<Bond*>(&path);
    sent_ = on_lines();
    delivered_ = bond_->delivered_bytes(download_ ? 0 : 1);
  }

  void look(TimePoint now) {
    HalfSecond half;
    const auto links = bond_->engine(download_ ? 1 : 0).link_stats(now);
    const Duration end = 500ms * static_cast<int>(run_.halves.size() + 1);
    for (std::size_t i = 0; i < 2; ++i) {
      Line& line = bond_->line(i, !download_);
      half.offered[i] = offered_mbit(line.queue().spec(), end - 500ms, end);
      half.estimate[i] = static_cast<double>(links.at(i).capacity.value_or(Rate{}).bits_per_second) * 1e-6;
      half.queue_ms[i] = to_ms(line.queue().queueing_delay(now));
    }
    run_.halves.push_back(half);
    const auto all = static_cast<double>(on_lines() - sent_);
    const auto arrived = static_cast<double>(bond_->delivered_bytes(download_ ? 0 : 1) - delivered_);
    run_.redundant = all > 0 ? 1 - arrived / all : 0;
  }

 private:
  std::uint64_t on_lines() const {
    return bond_->line(0, !download_).bytes() + bond_->line(1, !download_).bytes();
  }

  PairRun& run_;
  bool download_;
  Bond* bond_ = nullptr;
  std::uint64_t sent_ = 0, delivered_ = 0;
};

PairRun run_pair(const LinePair& pair, const PairOptions& options, std::uint64_t seed, int flows) {
  PairRun result;
  Observer observer(result, options.download);
  Experiment experiment = flow_for_15_s(options.download);
  experiment.flows = flows;
  experiment.plan = [&](EventQueue&, Path& path) { observer.begin(path); };
  experiment.each_half_second = [&](TimePoint now, Path&) { observer.look(now); };
  result.outcome = run(experiment, bond(pair.a, pair.b, seed, options.bond));
  return result;
}

double alone(const LineSpecs& line, const PairOptions& options) {
  Experiment experiment = flow_for_15_s(options.download);
  experiment.with_ping = false;
  return run(experiment, single_line(line, options.seed)).mbit;
}

double limit_of(const LinePair& pair, bool download) {
  const Experiment flow = flow_for_15_s(download);
  double sum = 0;
  for (const LineSpecs* line : {&pair.a, &pair.b}) {
    sum += offered_mbit(download ? line->down : line->up, flow.warm_up, flow.warm_up + flow.measured);
  }
  return sum * kPayloadShare;
}

// Half seconds without a byte, in the measured time, though the lines offer something.
int standstills(const PairRun& run) {
  int count = 0;
  for (std::size_t i = 4; i < run.halves.size(); ++i) {
    count += static_cast<int>(run.halves[i].offers_enough() && run.outcome.per_half_second.at(i) == 0);
  }
  return count;
}

void print_series(const PairRun& run) {
  std::puts("     s    A offers  thinks  queue     B offers  thinks  queue     bond   share");
  for (std::size_t i = 0; i < run.halves.size(); ++i) {
    const HalfSecond& half = run.halves[i];
    const double limit = (half.offered[0] + half.offered[1]) * kPayloadShare;
    const double mbit = run.outcome.per_half_second.at(i);
    std::printf("  %4.1f     %7.2f %7.2f %6.0f      %7.2f %7.2f %6.0f  %7.2f   %5.2f%s\n",
                static_cast<double>(i + 1) / 2, half.offered[0], half.estimate[0], half.queue_ms[0],
                half.offered[1], half.estimate[1], half.queue_ms[1], mbit, limit > 0 ? mbit / limit : 0,
                mbit == 0 && half.offers_enough() ? "  stands still" : "");
  }
}

LinePair moved(LinePair pair, Duration by) {
  for (LineSpec* line : {&pair.a.up, &pair.a.down, &pair.b.up, &pair.b.down}) line->offset += by;
  return pair;
}

bool measure_pair(const LinePair& pair, const PairOptions& options, Duration offset) {
  std::vector<PairRun> runs;
  for (std::uint64_t seed = options.seed; seed < options.seed + options.seeds; ++seed) {
    runs.push_back(run_pair(pair, options, seed, 1));
  }
  std::ranges::sort(runs, {}, [](const PairRun& r) { return r.outcome.mbit; });
  const PairRun& middle = runs[runs.size() / 2];
  const double idle = run_pair(pair, options, options.seed, 0).outcome.ping.percentile(0.5);
  const double a = options.alone ? alone(pair.a, options) : 0, b = options.alone ? alone(pair.b, options) : 0;
  const double limit = limit_of(pair, options.download), mbit = middle.outcome.mbit;
  const double ping = middle.outcome.ping.percentile(0.95) - idle;
  int still = 0;
  for (const PairRun& each : runs) still = std::max(still, standstills(each));

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

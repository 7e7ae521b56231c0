#include "tests/sim/pair_run.h"

#include <algorithm>
#include <cstdio>

namespace bondd::sim {
namespace {

using namespace std::chrono_literals;

// As on a kernel: the links have come up, a ping runs, then 15 s of a flow from its second 2 on.
Experiment flow_for_15_s(bool download) {
  Experiment experiment;
  experiment.download = download;
  experiment.light = 3s;
  experiment.warm_up = 2s;
  experiment.measured = 15s;
  experiment.with_game = false;
  experiment.ping_interval = 100ms;
  return experiment;
}

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

}  // namespace

PairRun run_pair(const LinePair& pair, const PairOptions& options, std::uint64_t seed, int flows) {
  PairRun result;
  Observer observer(result, options.download);
  Experiment experiment = flow_for_15_s(options.download);
  experiment.idle = options.idle;
  experiment.flows = flows;
  experiment.plan = [&](EventQueue&, Path& path) { observer.begin(path); };
  experiment.each_half_second = [&](TimePoint now, Path&) { observer.look(now); };
  result.outcome = run(experiment, bond(pair.a, pair.b, seed, options.bond));
  return result;
}

double alone(const LineSpecs& line, const PairOptions& options, std::uint64_t seed) {
  Experiment experiment = flow_for_15_s(options.download);
  experiment.with_ping = false;
  return run(experiment, single_line(line, seed)).mbit;
}

double limit_of(const LinePair& pair, bool download) {
  const Experiment flow = flow_for_15_s(download);
  double sum = 0;
  for (const LineSpecs* line : {&pair.a, &pair.b}) {
    const LineSpec& way = download ? line->down : line->up;
    const double carried = 1 - (way.bursts ? way.bursts->mean() : way.loss);
    const double mbit = carried * offered_mbit(way, flow.warm_up, flow.warm_up + flow.measured);
    sum = way.bottleneck ? mbit : sum + mbit;  // which both share
  }
  return sum * kPayloadShare;
}

Standstills standstills(const PairRun& run) {
  Standstills result;
  int in_a_row = 0;
  for (std::size_t i = 4; i < run.halves.size(); ++i) {
    if (!run.halves[i].offers_enough()) continue;  // goes on or not: nobody can tell
    const bool still = run.outcome.per_half_second.at(i) == 0;
    result.count += static_cast<int>(still);
    in_a_row = still ? in_a_row + 1 : 0;
    result.most_in_a_row = std::max(result.most_in_a_row, in_a_row);
  }
  return result;
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

}  // namespace bondd::sim

// Two engines in the simulator: a bond is never slower than its better line.
#include "tests/sim/bond.h"

#include "tests/sim/profiles.h"

namespace bondd::sim {
namespace {

using namespace std::chrono_literals;

Outcome over(std::string_view name, const Experiment& experiment, const BondOptions& options = {}) {
  const Profile& profile = *find_profile(name);
  return run(experiment, bond(spec_a(profile), spec_b(profile), 1, options));
}

// Short runs: the whole matrix is matrix --sim.
const Experiment kShort{.warm_up = 2s, .measured = 2s};

TEST(Bond, EqualLinesAddUp) {
  EXPECT_GT(over("baseline", kShort).mbit, 80);
}

TEST(Bond, UnlikeLinesAddUp) {
  EXPECT_GT(over("adsl_lte", kShort).mbit, 21);
}

TEST(Bond, ALongWayDoesNoHarm) {
  EXPECT_GT(over("rtt_320", kShort).mbit, 40);
}

TEST(Bond, RandomLossIsRepaired) {
  EXPECT_GT(over("loss_05", kShort).mbit, 50);
}

// One line whose jitter looked like a queue kept 3 Mbit/s of 100 for many seconds.
TEST(Bond, ALineThatJittersIsNotCalledFull) {
  const Profile& profile = *find_profile("lte_starlink");
  double sum = 0;
  for (const std::uint64_t seed : {3U, 9U, 12U}) {
    sum += run({.download = false}, bond(spec_a(profile), spec_b(profile), seed, {})).mbit;
  }
  EXPECT_GT(sum / 3, 80);
}

// QUIC left slow start at a tenth of what the lines hold: jitter looked like a queue, and
// start-up's window held up what grew quickly.
TEST(Bond, AQuicFlowGrowsOverLinesThatJitter) {
  const Profile& profile = *find_profile("jit_5");
  const Experiment second{.bulk = Bulk::kQuic, .warm_up = 1s, .measured = 1s};
  double sum = 0;
  for (const std::uint64_t seed : {1U, 2U, 3U, 4U}) {
    sum += run(second, bond(spec_a(profile), spec_b(profile), seed, {})).mbit;
  }
  EXPECT_GT(sum / 4, 65);
}

TEST(Bond, PingsDoNotWaitBehindBulk) {
  EXPECT_LT(over("adsl_seed", {.warm_up = 5s, .measured = 5s}).ping.percentile(0.95), 24 + 30);
}

// Towards the original program there are round trips only, and a line that jitters shows
// queues that are not there: paced by them, one flow got 25 of 50 Mbit/s.
TEST(Bond, TowardsAnOriginalPeerALineThatJittersIsNotHeldBack) {
  const Profile& profile = *find_profile("jit_20");
  const Experiment experiment{.idle = 2s, .light = 4s, .measured = 5s};
  for (const Rate rate : {Rate{}, Rate{50'000'000}}) {
    double sum = 0;
    for (const std::uint64_t seed : {1U, 4U, 6U, 9U}) {
      const BondOptions options{.rate_a = rate, .rate_b = rate, .peer = Peer::kUpstreamOffice, .reorder = 0};
      sum += run(experiment, bond(spec_a(profile), spec_b(profile), seed, options)).mbit;
    }
    EXPECT_GT(sum / 4, 39.2) << rate.bits_per_second << " bit/s given";
  }
}

// Nobody gave rates, a game is played: the slow line, a little shorter, got the download.
TEST(Bond, TowardsAnOriginalPeerADownloadComesToTheFasterLine) {
  const LineSpec fast = parse_line_spec("delay 20ms rate 100mbit").value();
  const LineSpec slow = parse_line_spec("delay 19ms rate 10mbit").value();
  for (const Duration light : {1s, 4s}) {
    for (const std::uint64_t seed : {1U, 2U, 3U}) {
      const Experiment experiment{.idle = 2s, .light = light, .measured = 3s};
      const BondOptions options{.peer = Peer::kUpstreamOffice, .reorder = 0};
      EXPECT_GT(run(experiment, bond(slow, fast, seed, options)).mbit, 88) << "seed " << seed;
    }
  }
}

// A train of padding, told by a line of 640 ms that jitters, made it one of 246 Mbit/s: the
// download moved there from one of 40 Mbit/s as soon as a queue stood.
TEST(Bond, TowardsAnOriginalPeerADownloadStaysOffALongLineThatJitters) {
  const Profile& profile = *find_profile("lte_geo");
  const Experiment experiment{.idle = 10s, .warm_up = 3s, .measured = 3s};
  for (const std::uint64_t seed : {1U, 2U, 4U}) {
    const BondOptions options{.peer = Peer::kUpstreamOffice};
    EXPECT_GT(run(experiment, bond(spec_a(profile), spec_b(profile), seed, options)).mbit, 35) << seed;
  }
}

TEST(Bond, TheSameSeedIsTheSameRun) {
  const Outcome first = over("dual_lte", {.warm_up = 1s, .measured = 1s}),
                again = over("dual_lte", {.warm_up = 1s, .measured = 1s});
  EXPECT_EQ(first.events, again.events);
  EXPECT_EQ(first.ping.ms, again.ping.ms);
}

}  // namespace
}  // namespace bondd::sim

// Lines that fail, slow down, reorder, duplicate or change their address under a flow.
#include <algorithm>
#include <array>

#include "tests/sim/bond.h"
#include "tests/sim/profiles.h"

namespace bondd::sim {
namespace {

using namespace std::chrono_literals;

// Calls a function once at a time.
class Once final : public Actor {
 public:
  explicit Once(std::function<void()> action) : action_(std::move(action)) {}
  void on_event(TimePoint, std::uint64_t) override { action_(); }

 private:
  std::function<void()> action_;
};

// A download over two lines; `action` happens 8 s after its start, when
// the flow has found its rate; gaps are watched from a second before.
Outcome with_event(std::string_view a, std::string_view b, const std::function<void(Bond&)>& action,
                   const BondOptions& options = {}, Duration measured = 3s, std::uint64_t seed = 1) {
  std::unique_ptr<Once> event;
  Experiment experiment{.warm_up = 7s, .measured = measured};
  experiment.plan = [&](EventQueue& events, Path& path) {
    event = std::make_unique<Once>([&] { action(dynamic_cast<Bond&>(path)); });
    events.post(events.now() + 8s, *event);
  };
  return run(experiment, bond(parse_line_spec(a).value(), parse_line_spec(b).value(), seed, options));
}

constexpr std::string_view kLine = "delay 15ms rate 20mbit";

// Medians of three seeds, as on the kernel. Without repair one run in seven needs TCP's own
// retransmissions (411 ms with seed 1): what is sent again comes after the peer gave its hole up.
TEST(SilentCut, OfEitherLineIsHardlyFelt) {
  for (const std::size_t line : {0U, 1U}) {
    for (const bool repair : {true, false}) {
      std::array<double, 3> gaps{}, rates{};
      for (std::uint64_t seed = 1; seed <= gaps.size(); ++seed) {
        const Outcome out = with_event(
            kLine, kLine, [&](Bond& b) { b.cut_line(line, true); }, {.repair = repair}, 3s, seed);
        gaps.at(seed - 1) = out.longest_gap_ms;
        rates.at(seed - 1) = out.per_second.at(9);
        if (repair) {
          EXPECT_LE(out.longest_gap_ms, 300) << "line " << line << " seed " << seed;
        }
      }
      std::ranges::sort(gaps);
      std::ranges::sort(rates);
      EXPECT_LE(gaps[1], 300) << "line " << line << " repair " << repair;
      EXPECT_GT(rates[1], 0.9 * 18.1) << "line " << line << " repair " << repair;
    }
  }
}

TEST(SilentCut, ALineThatComesBackIsUsedAgain) {
  int step = 0;
  Experiment experiment{.warm_up = 2s, .measured = 6s};
  std::unique_ptr<Once> event;
  experiment.plan = [&](EventQueue& events, Path& path) {
    event = std::make_unique<Once>([&] { dynamic_cast<Bond&>(path).cut_line(1, step++ == 0); });
    events.post(events.now() + 3s, *event);
    events.post(events.now() + 5s, *event);
  };
  const LineSpec line = parse_line_spec(kLine).value();
  const Outcome out = run(experiment, bond(line, line, 1, {}));
  EXPECT_GT(out.per_second.at(6), 34);  // the second second after it came back
}

TEST(SlowLine, ThatFallsToAFifthLeavesTheRestOfTheBondWhole) {
  const auto slower = [](Bond& b) { b.set_line(1, parse_line_spec("delay 30ms rate 8mbit").value()); };
  const Outcome out = with_event("delay 20ms rate 40mbit", "delay 30ms rate 40mbit", slower, {}, 5s);
  const double sum = 48 * 0.909;
  EXPECT_GT(out.per_second.at(9), 0.85 * sum);
  EXPECT_GT(out.per_second.at(10), 0.95 * sum);
}

TEST(Address, ANatThatForgetsItsEntryCostsNothing) {
  const Outcome out = with_event(kLine, kLine, [](Bond& b) { b.change_address(0); });
  EXPECT_LE(out.longest_gap_ms, 300);
  EXPECT_GT(out.per_second.back(), 34);
}

// A machine that is overloaded gives an engine no time for a while. Nothing of what waits
// in its sockets may be taken for a dead line, and all goes on as soon as it runs.
struct Pauses {
  std::size_t end = 0;  // which engine, see Bond::freeze
  Duration length{}, every{};
  int times = 1;
  Peer peer = Peer::kBondd;
};

struct Starved {
  Outcome outcome;
  unsigned state_changes = 0;
};

Starved starve(Experiment experiment, const Pauses& pauses) {
  Starved result;
  std::vector<std::unique_ptr<Once>> actions;
  Bond* bond = nullptr;
  const auto changes = [&] {
    unsigned sum = 0;
    for (const std::size_t end : {0U, 1U}) {
      if (pauses.peer == Peer::kBondd || end == 1) sum += bond->state_changes(end);
    }
    return sum;
  };
  unsigned before = 0;
  experiment.idle = 8s;
  experiment.plan = [&](EventQueue& events, Path& path) {
    bond = dynamic_cast<Bond*>(&path);
    before = changes();
    for (int i = 0; i < pauses.times; ++i) {
      actions.push_back(std::make_unique<Once>([&] { bond->freeze(pauses.end, pauses.length); }));
      events.post(events.now() + 3s + i * pauses.every, *actions.back());
    }
    actions.push_back(std::make_unique<Once>([&] { result.state_changes = changes() - before; }));
    events.post(events.now() + experiment.warm_up + experiment.measured - 1ms, *actions.back());
  };
  const LineSpec line = parse_line_spec(kLine).value();
  result.outcome = run(experiment, sim::bond(line, line, 1, {.peer = pauses.peer}));
  return result;
}

TEST(Starved, ADownloadGoesOnAtOnce) {
  const Experiment download{.warm_up = 5s, .measured = 3s};
  for (const Duration pause : {300ms, 500ms}) {
    for (const Pauses& pauses :
         {Pauses{0, pause}, Pauses{1, pause}, Pauses{1, pause, {}, 1, Peer::kUpstreamOffice}}) {
      const Starved run = starve(download, pauses);
      EXPECT_EQ(run.state_changes, 0U) << pauses.end << " " << pause.count();
      EXPECT_GT(run.outcome.per_second.at(7), 28) << pauses.end << " " << pause.count();
    }
  }
}

// A line that is hardly used has shown no rate: that packets are late once in a while says
// nothing about it.
TEST(Starved, PausesDoNotMakeAHardlyUsedLineSlow) {
  const Experiment pings{.flows = 0, .warm_up = 20s, .measured = 3s};
  for (const std::size_t end : {0U, 1U}) {
    const Starved run = starve(pings, {end, 250ms, 700ms, 20});
    EXPECT_LT(run.outcome.ping.lost_share(), 0.02) << end;  // one may be under way
    EXPECT_LT(run.outcome.game.lost_share(), 0.02) << end;
    EXPECT_LT(run.outcome.ping.percentile(0.99), 60) << end;
    EXPECT_EQ(run.state_changes, 0U) << end;
  }
}

// Each end waits in vain for the other's reports, and holds all its links for dead:
// somebody has to begin.
TEST(SilentCut, OfAllLinesAtOnceIsOverWhenOneIsBack) {
  for (const std::size_t back : {0U, 1U}) {
    std::vector<std::unique_ptr<Once>> actions;
    Experiment download{.warm_up = 6s, .measured = 4s};
    download.plan = [&](EventQueue& events, Path& path) {
      auto& bond = dynamic_cast<Bond&>(path);
      for (const std::size_t line : {0U, 1U}) {
        actions.push_back(std::make_unique<Once>([&bond, line] { bond.cut_line(line, true); }));
        events.post(events.now() + 3s, *actions.back());
      }
      actions.push_back(std::make_unique<Once>([&bond, back] { bond.cut_line(back, false); }));
      events.post(events.now() + 3600ms, *actions.back());
    };
    const LineSpec line = parse_line_spec(kLine).value();
    const Outcome out = run(download, bond(line, line, 1, {}));
    EXPECT_LT(out.ping.lost_share(), 0.02) << back;
    EXPECT_LT(out.game.lost_share(), 0.02) << back;
    EXPECT_GT(out.per_second.back(), 15) << back;
  }
}

TEST(Lines, ThatDuplicateCostNothing) {
  const std::string_view twice = "delay 15ms rate 20mbit duplicate 1%";
  const Outcome out = with_event(twice, twice, [](Bond&) {});
  EXPECT_GT(out.per_second.back(), 33);
  EXPECT_EQ(out.timeouts, 0U);
}

TEST(Lines, OnWhichSomePacketsRunAheadCostNothing) {
  const std::string_view hasty = "delay 15ms rate 20mbit reorder 1%";
  const Outcome out = with_event(hasty, hasty, [](Bond&) {});
  EXPECT_GT(out.mbit, 0.95 * 36.4);
  EXPECT_EQ(out.timeouts, 0U);
}

TEST(Quic, GetsAsMuchAsTcp) {
  const Profile& profile = *find_profile("adsl_lte");
  const Experiment quic{.bulk = Bulk::kQuic, .warm_up = 3s, .measured = 3s};
  EXPECT_GT(run(quic, bond(spec_a(profile), spec_b(profile), 1, {})).mbit, 0.85 * 24);
}

}  // namespace
}  // namespace bondd::sim

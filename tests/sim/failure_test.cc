// Lines that fail, slow down, reorder, duplicate or change their address under a flow.
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
                   const BondOptions& options = {}, Duration measured = 3s) {
  std::unique_ptr<Once> event;
  Experiment experiment{.warm_up = 7s, .measured = measured};
  experiment.plan = [&](EventQueue& events, Path& path) {
    event = std::make_unique<Once>([&] { action(dynamic_cast<Bond&>(path)); });
    events.post(events.now() + 8s, *event);
  };
  return run(experiment, bond(parse_line_spec(a).value(), parse_line_spec(b).value(), 1, options));
}

constexpr std::string_view kLine = "delay 15ms rate 20mbit";

TEST(SilentCut, OfEitherLineIsHardlyFelt) {
  for (const std::size_t line : {0U, 1U}) {
    for (const bool repair : {true, false}) {
      const Outcome out =
          with_event(kLine, kLine, [&](Bond& b) { b.cut_line(line, true); }, {.repair = repair});
      EXPECT_LE(out.longest_gap_ms, 300) << "line " << line << " repair " << repair;
      EXPECT_GT(out.per_second.at(9), 0.9 * 18.1) << "line " << line << " repair " << repair;
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

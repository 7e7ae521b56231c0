// The simulator proves itself on single lines: what stock TCP gets on a real kernel
// with netem, it must get here.
#include "tests/sim/profiles.h"
#include "tests/sim/world.h"

namespace bondd::sim {
namespace {

using namespace std::chrono_literals;
using testing::DoubleNear;

Outcome alone(const LineSpec& spec, std::uint64_t seed = 1) {
  return run({.with_game = false}, single_line(spec, seed));
}

TEST(LineSpec, ParsesNetemsWords) {
  const auto spec = parse_line_spec("delay 30ms 5ms distribution normal loss 0.5% rate 40mbit limit 100");
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->delay, 30ms);
  EXPECT_EQ(spec->jitter, 5ms);
  EXPECT_DOUBLE_EQ(spec->loss, 0.005);
  EXPECT_EQ(spec->rate.bits_per_second, 40'000'000U);
  EXPECT_EQ(spec->limit, 100U);
}

TEST(LineSpec, NamesTheWordItDoesNotKnow) {
  EXPECT_THAT(parse_line_spec("delay 3ms slot 4").error().message, testing::HasSubstr("'slot'"));
  EXPECT_FALSE(parse_line_spec("loss 5"));
  EXPECT_FALSE(parse_line_spec("rate"));
}

TEST(Netem, KeepsOrderWithARateAndDropsBeyondTheLimit) {
  LineSpec spec = parse_line_spec("delay 10ms 5ms rate 1mbit limit 3").value();
  NetemQueue<int> queue(spec, 1);
  const TimePoint start{1h};
  for (int i = 0; i < 5; ++i) queue.enqueue(start, i, 1250, [](int p) { return p; });
  EXPECT_EQ(queue.overflowed(), 2U);
  TimePoint last = start;
  for (int i = 0; i < 3; ++i) {
    const TimePoint next = queue.next_time().value();
    EXPECT_EQ(queue.dequeue(next), i);
    if (i > 0) {
      EXPECT_EQ(next - last, 10ms);  // 1250 bytes at 1 Mbit/s
    }
    last = next;
  }
}

TEST(Netem, ReordersByJitterWithoutARate) {
  NetemQueue<int> queue(parse_line_spec("delay 20ms 10ms").value(), 1);
  const TimePoint start{1h};
  for (int i = 0; i < 50; ++i) queue.enqueue(start, i, 100, [](int p) { return p; });
  bool in_order = true;
  for (int i = 0; i < 50; ++i) in_order = in_order && queue.dequeue(start + 1s) == i;
  EXPECT_FALSE(in_order);
}

TEST(Netem, DuplicatesAndCuts) {
  NetemQueue<int> queue(parse_line_spec("duplicate 100%").value(), 1);
  const TimePoint start{1h};
  queue.enqueue(start, 7, 100, [](int p) { return p; });
  EXPECT_EQ(queue.length(), 2U);
  queue.set_cut(true);
  queue.enqueue(start, 8, 100, [](int p) { return p; });
  EXPECT_EQ(queue.length(), 0U);
}

TEST(SingleLine, GivesTcpWhatARealKernelGives) {
  for (const Profile& profile : all_profiles()) {
    if (profile.lossy || profile.name == "jit_20") continue;  // these vary from run to run
    EXPECT_THAT(alone(spec_a(profile)).mbit, DoubleNear(profile.alone_a, profile.alone_a * 0.03))
        << profile.name;
  }
}

TEST(SingleLine, RandomLossMakesTcpCollapse) {
  EXPECT_LT(alone(parse_line_spec("delay 20ms loss 0.5% rate 50mbit").value()).mbit, 11);
  EXPECT_LT(alone(parse_line_spec("delay 20ms loss 2% rate 50mbit").value()).mbit, 4);
}

TEST(SingleLine, TheSameSeedIsTheSameRun) {
  const LineSpec spec = parse_line_spec("delay 30ms 5ms loss 0.5% rate 40mbit").value();
  const Outcome first = alone(spec, 9), again = alone(spec, 9), other = alone(spec, 10);
  EXPECT_EQ(first.events, again.events);
  EXPECT_EQ(first.ping.ms, again.ping.ms);
  EXPECT_NE(first.events, other.events);
}

TEST(RoundRobin, UnlikeDelaysAreWorseThanOneLine) {
  const Profile& profile = *find_profile("rtt_120");
  EXPECT_LT(run({}, round_robin(spec_a(profile), spec_b(profile), 1)).mbit, 0.3 * profile.alone_a);
}

TEST(Quic, FillsACleanLineAndTakesReorderingForLoss) {
  const Profile& profile = *find_profile("rtt_40");
  const Experiment quic{.bulk = Bulk::kQuic};
  EXPECT_GT(run(quic, single_line(spec_a(profile), 1)).mbit, 46);
  EXPECT_LT(run(quic, round_robin(spec_a(profile), spec_b(profile), 1)).mbit, 20);
}

}  // namespace
}  // namespace bondd::sim

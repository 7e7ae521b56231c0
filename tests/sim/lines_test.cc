// The simulator proves itself on single lines: what stock TCP gets on a real kernel
// with netem, it must get here.
#include <cstdio>
#include <fstream>

#include "tests/sim/moving.h"
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

TEST(LineSpec, ParsesWhatRealLinesDo) {
  const auto spec = parse_line_spec("loss gemodel 2% 40% 70% 0.1% slot 2ms 8ms mtu 1400 late 5ms 10%");
  ASSERT_TRUE(spec) << spec.error().message;
  ASSERT_TRUE(spec->bursts);
  EXPECT_DOUBLE_EQ(spec->bursts->to_good, 0.4);
  EXPECT_DOUBLE_EQ(spec->bursts->loss_when_good, 0.001);
  EXPECT_EQ(spec->slot_most, 8ms);
  EXPECT_EQ(spec->mtu, 1400U);
  EXPECT_EQ(spec->late, 5ms);
  EXPECT_DOUBLE_EQ(spec->late_share, 0.1);
  EXPECT_EQ(parse_line_spec("rate 8mbit burst 16000")->bucket, 16'000U);
  EXPECT_EQ(parse_line_spec("rate 8mbit police 1000000")->police, 1'000'000U);
  EXPECT_FALSE(parse_line_spec("burst 16000"));
  EXPECT_FALSE(parse_line_spec("slot 8ms 2ms"));
  EXPECT_FALSE(parse_line_spec("loss gemodel 2% 40%"));
}

// When the packets of `frame` bytes leave that are there at the start.
std::vector<Duration> leave(const LineSpec& spec, int packets, std::size_t frame) {
  NetemQueue<int> queue(spec, 1);
  const TimePoint start{1h};
  for (int i = 0; i < packets; ++i) queue.enqueue(start, i, frame, [](int p) { return p; });
  std::vector<Duration> left;
  while (const auto next = queue.next_time()) {
    queue.dequeue(*next);
    left.push_back(*next - start);
  }
  return left;
}

TEST(TokenBucketLine, LetsABurstPassAndThenTheRate) {
  const auto left = leave(parse_line_spec("rate 8mbit burst 3000 delay 5ms").value(), 5, 1000);
  EXPECT_THAT(left, testing::ElementsAre(5ms, 5ms, 5ms, 6ms, 7ms));
}

TEST(PolicedLine, DropsWhatIsFasterAndDelaysNothing) {
  NetemQueue<int> queue(parse_line_spec("rate 8mbit police 3000 delay 5ms").value(), 1);
  const TimePoint start{1h};
  for (int i = 0; i < 5; ++i) queue.enqueue(start, i, 1000, [](int p) { return p; });
  EXPECT_EQ(queue.length(), 3U);
  EXPECT_EQ(queue.lost(), 2U);
  queue.enqueue(start + 1ms, 5, 1000, [](int p) { return p; });
  EXPECT_EQ(queue.length(), 4U);
}

TEST(SlottedLine, LetsWhatCameWithinASlotLeaveTogether) {
  const auto left = leave(parse_line_spec("rate 8mbit slot 4ms 4ms").value(), 8, 1000);
  // The first packet begins a slot at 1 ms, which ends at 5 ms: five come within it.
  EXPECT_EQ(left.front(), 5ms);
  EXPECT_EQ(left[4], 5ms);
  EXPECT_EQ(left[5], 9ms);
  EXPECT_EQ(left[7], 9ms);
}

TEST(LineOfSmallPackets, LosesLongerOnes) {
  NetemQueue<int> queue(parse_line_spec("mtu 1400").value(), 1);
  const TimePoint start{1h};
  queue.enqueue(start, 1, 1414, [](int p) { return p; });
  queue.enqueue(start, 2, 1415, [](int p) { return p; });
  EXPECT_EQ(queue.length(), 1U);
}

TEST(BurstLoss, LosesItsMeanInBursts) {
  const LineSpec spec = parse_line_spec("loss gemodel 2% 40% 70% 0.1% limit 1000000").value();
  NetemQueue<int> queue(spec, 1);
  for (int i = 0; i < 200'000; ++i) queue.enqueue(TimePoint{1h}, i, 100, [](int p) { return p; });
  EXPECT_NEAR(static_cast<double>(queue.lost()) / 2e5, spec.bursts->mean(), 0.002);
}

TEST(Bottleneck, IsSharedByTheLinesBeforeIt) {
  LineSpec spec = parse_line_spec("delay 5ms").value();
  spec.bottleneck = std::make_shared<Bottleneck>(Bottleneck{Rate{8'000'000}, 3000, {}});
  NetemQueue<int> a(spec, 1), b(spec, 1);
  const TimePoint start{1h};
  for (NetemQueue<int>* queue : {&a, &b, &a, &b}) queue->enqueue(start, 1, 1000, [](int p) { return p; });
  EXPECT_EQ(a.length(), 2U);
  EXPECT_EQ(b.length(), 1U);
  EXPECT_EQ(*b.next_time() - start, 7ms);
  EXPECT_EQ(b.overflowed(), 1U);
}

TEST(MovingLines, AreTheSameForTheSameSeed) {
  const LineSpec line = lte_like(7, 0.3, 30), again = lte_like(7, 0.3, 30), other = lte_like(8, 0.3, 30);
  EXPECT_EQ(offered_mbit(line, 0s, 17s), offered_mbit(again, 0s, 17s));
  EXPECT_NE(offered_mbit(line, 0s, 17s), offered_mbit(other, 0s, 17s));
}

// The rate falls to a tenth and rises tenfold within seconds, and there are gaps.
TEST(MovingLines, OfLteMoveOverTwoDecades) {
  const LineSpec line = lte_like(3, 0.3, 30);
  double least = 1e9, most = 0;
  int gaps = 0;
  for (Duration t{0}; t < 59s; t += 100ms) {
    const double mbit = offered_mbit(line, t, t + 100ms);
    if (mbit > 0) least = std::min(least, mbit);
    most = std::max(most, mbit);
    gaps += static_cast<int>(mbit == 0);
  }
  EXPECT_GT(most / least, 50);
  EXPECT_GT(gaps, 3);
}

// Three chances within 10 ms, two of them in the same ms.
std::shared_ptr<const Recording> three_chances() {
  return std::make_shared<const Recording>(std::vector<std::uint32_t>{2, 2, 10});
}

TEST(Recording, BeginsAgainAfterItsLastMillisecond) {
  const auto recording = three_chances();
  EXPECT_EQ(recording->chance_ms(2), 10U);
  EXPECT_EQ(recording->chance_ms(3), 12U);
  EXPECT_EQ(recording->chances_before(2), 0U);
  EXPECT_EQ(recording->chances_before(3), 2U);
  EXPECT_EQ(recording->chances_before(10), 2U);
  EXPECT_EQ(recording->chances_before(11), 3U);
  EXPECT_EQ(recording->chances_before(23), 8U);
}

TEST(Recording, LetsBytesLeaveInTheOrderOfFrames) {
  LineSpec spec{.limit = 4, .recording = three_chances()};
  NetemQueue<int> queue(spec, 1);
  const TimePoint start{1h};
  queue.begin(start);
  // 2 * 1504 at 2 ms, 1504 at 10 ms, 2 * 1504 at 12 ms.
  for (int i = 0; i < 5; ++i) queue.enqueue(start, i, 1200, [](int p) { return p; });
  EXPECT_EQ(queue.overflowed(), 1U);
  std::vector<Duration> left;
  while (const auto next = queue.next_time()) {
    queue.dequeue(*next);
    left.push_back(*next - start);
  }
  EXPECT_THAT(left, testing::ElementsAre(2ms, 2ms, 10ms, 12ms));
}

TEST(Recording, AChanceThatNobodyWaitsForIsLost) {
  Chances chances(three_chances(), 0s);
  const TimePoint start{1h};
  chances.begin(start);
  EXPECT_EQ(chances.take(start + 3ms, 100) - start, 10ms);
  EXPECT_EQ(chances.take(start + 11ms, 1504) - start, 12ms);
}

TEST(Recording, BeginsAtItsOffsetAndAnewWhenTold) {
  Chances chances(three_chances(), 8ms);
  const TimePoint start{1h};
  chances.begin(start);
  EXPECT_EQ(chances.take(start, 1504) - start, 2ms);
  chances.begin(start + 1s);
  EXPECT_EQ(chances.take(start + 1s, 1504) - start, 1002ms);
}

TEST(Recording, OfferedIsWhatItsChancesHold) {
  const LineSpec line{.recording = three_chances(), .offset = 1ms};
  EXPECT_DOUBLE_EQ(offered_mbit(line, 0ms, 2ms), 2 * 1504 * 8e-6 / 2e-3);
  EXPECT_DOUBLE_EQ(offered_mbit(line, 2ms, 12ms), 3 * 1504 * 8e-6 / 10e-3);
  EXPECT_DOUBLE_EQ(offered_mbit(parse_line_spec("rate 8mbit").value(), 0ms, 1s), 8);
}

TEST(Recording, NamesTheFileAndTheLineThatIsNoMillisecond) {
  const std::string path = testing::TempDir() + "bondd-recording";
  std::ofstream(path) << "1\n5\n4\n";
  EXPECT_THAT(Recording::load(path).error().message, testing::HasSubstr("line 3"));
  EXPECT_FALSE(parse_line_spec("trace " + path));
  std::ofstream(path) << "1\n5\n";
  const auto spec = parse_line_spec("trace bondd-recording offset 7 delay 3ms", testing::TempDir());
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->recording->period_ms(), 5U);
  EXPECT_EQ(spec->offset, 7s);
  std::remove(path.c_str());
}

TEST(Recording, ASingleFlowGetsWhatTheLineOffers) {
  // 12 Mbit/s, then nothing for 100 ms, each second.
  std::vector<std::uint32_t> chances;
  for (std::uint32_t ms = 1; ms <= 900; ++ms) chances.push_back(ms);
  chances.push_back(1000);
  const LineSpec line{.delay = 20ms, .recording = std::make_shared<const Recording>(chances)};
  EXPECT_THAT(alone(line).mbit, DoubleNear(offered_mbit(line, 2s, 12s) * 1448 / 1514, 0.2));
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

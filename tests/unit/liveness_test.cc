#include "bondd/control/liveness.h"

#include <fmt/format.h>

#include "tests/support/liveness_world.h"

namespace bondd::control {
namespace {

using namespace test;

TEST(Liveness, BothEndsCarryAtOnce) {
  World world;
  EXPECT_LE(world.run_until(2s,
                            [&] {
                              return world.state(0, "tap2") == TunnelState::kUp &&
                                     world.state(1, "tap2") == TunnelState::kUp;
                            }),
            150ms);
  world.run(60s);
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(world.end(i).changes, testing::SizeIs(2));
    EXPECT_THAT(world.end(i).dead, IsEmpty());
    EXPECT_NEAR(*world.end(i).live->view(world.now(), "tap1").rtt_ms, 40, 3);
    EXPECT_EQ(world.end(i).live->view(world.now(), "tap1").loss_percent, 0);
  }
}

TEST(Liveness, ACutLineIsDeadAtBothEndsWithin400ms) {
  for (int phase = 0; phase < 75; phase += 5) {
    World world;
    world.run(5s + phase * 1ms);
    world.cut("tap2", true);
    EXPECT_LE(world.run_until(2s, [&] { return !world.end(0).dead.empty() && !world.end(1).dead.empty(); }),
              400ms);
    EXPECT_THAT(world.end(0).dead, ElementsAre("tap2"));
    EXPECT_THAT(world.end(1).dead, ElementsAre("tap2"));
  }
}

TEST(Liveness, ACutLineFullOfDataIsDeadWithin400ms) {
  World world;
  world.data_every = 6ms;
  world.run(5s);
  world.cut("tap2", true);
  EXPECT_LE(world.run_until(2s, [&] { return !world.end(0).dead.empty() && !world.end(1).dead.empty(); }),
            400ms);
}

TEST(Liveness, SilenceInOneDirectionIsKnownToBothEnds) {
  for (const int deaf : {0, 1}) {
    World world;
    world.run(5s);
    world.line(1 - deaf, "tap2").cut = true;
    EXPECT_LE(world.run_until(2s, [&] { return !world.end(0).dead.empty() && !world.end(1).dead.empty(); }),
              400ms);
    EXPECT_THAT(world.end(deaf).changes.back().reason, HasSubstr("nothing heard from the peer for 0.3 s"));
    EXPECT_EQ(world.end(1 - deaf).changes.back().reason, "the peer hears nothing from here");
    world.run(10s);
    EXPECT_THAT(world.end(0).dead, ElementsAre("tap2"));
    EXPECT_THAT(world.end(1).dead, ElementsAre("tap2"));
  }
}

TEST(Liveness, ALineThatReturnsCarriesWithin2Seconds) {
  World world;
  world.run(5s);
  world.cut("tap2", true);
  world.run(10s);
  world.cut("tap2", false);
  EXPECT_LE(world.run_until(5s,
                            [&] {
                              return world.state(0, "tap2") == TunnelState::kUp &&
                                     world.state(1, "tap2") == TunnelState::kUp;
                            }),
            1300ms);
  EXPECT_THAT(world.end(0).changes.back().reason, testing::StartsWith("heard both ways again after 10."));
}

TEST(Liveness, BothEndsTakeALineBackAtAlmostTheSameTime) {
  World world;
  for (int i = 0; i < 2; ++i) world.line(i, "tap2").delay = 100ms;
  world.run(5s);
  world.cut("tap2", true);
  world.run(10s);
  world.cut("tap2", false);
  world.run_until(5s, [&] { return world.end(0).dead.empty() || world.end(1).dead.empty(); });
  EXPECT_LE(world.run_until(5s, [&] { return world.end(0).dead.empty() && world.end(1).dead.empty(); }),
            90ms);
}

TEST(Liveness, AFlappingLineIsTrustedLaterEachTime) {
  World world;
  world.run(5s);
  std::vector<Duration> away;
  for (int i = 0; i < 4; ++i) {
    world.cut("tap2", true);
    world.run(1s);
    world.cut("tap2", false);
    away.push_back(
        world.run_until(60s, [&] { return world.end(0).dead.empty() && world.end(1).dead.empty(); }));
    world.run(1s);
  }
  EXPECT_THAT(away[0], Lt(1500ms));
  EXPECT_GT(away[1], 2s);
  EXPECT_GT(away[3], 8s);
  EXPECT_THAT(away[3], Lt(9s));
}

TEST(Liveness, TheLastLineStaysInTheBond) {
  World world;
  world.run(5s);
  world.cut("tap2", true);
  world.run(2s);
  world.cut("tap1", true);
  world.run(10s);
  EXPECT_EQ(world.state(0, "tap1"), TunnelState::kDown);
  EXPECT_THAT(world.end(0).dead, ElementsAre("tap2"));
  world.cut("tap2", false);
  world.run(3s);
  EXPECT_THAT(world.end(0).dead, ElementsAre("tap1"));
  EXPECT_THAT(world.end(1).dead, ElementsAre("tap1"));
}

TEST(Liveness, AnOutageOfAllLinesChangesNothing) {
  World world;
  world.line(0, "tap1").jitter = world.line(1, "tap1").jitter = 5ms;
  world.run(5s);
  for (const char* tap : {"tap1", "tap2"}) world.cut(tap, true);
  world.run(1s);
  EXPECT_THAT(world.end(0).dead, IsEmpty());
  EXPECT_EQ(world.state(0, "tap1"), TunnelState::kUp) << "a second could still be the peer's pause";
  world.run(2s);
  EXPECT_EQ(world.state(0, "tap1"), TunnelState::kDown);
  EXPECT_THAT(world.end(0).dead, IsEmpty());
}

TEST(Liveness, ALineDeadFromTheStartLeavesTheBond) {
  World world;
  world.cut("tap2", true);
  EXPECT_LE(world.run_until(5s, [&] { return !world.end(0).dead.empty() && !world.end(1).dead.empty(); }),
            1300ms);
  EXPECT_EQ(world.end(0).live->view(world.now(), "tap2").reason, "nothing heard from the peer");
}

TEST(Liveness, ALossyLineStaysIn) {
  World world;
  for (int i = 0; i < 2; ++i) world.line(i, "tap2").loss = 0.3;
  world.run(20s);  // it is learned what this line is like
  const std::size_t before = world.end(0).changes.size() + world.end(1).changes.size();
  world.run(600s);
  EXPECT_LE(world.end(0).changes.size() + world.end(1).changes.size(), before + 4);
  EXPECT_NEAR(*world.end(0).live->view(world.now(), "tap2").loss_percent, 30, 15);
  EXPECT_EQ(world.end(0).live->view(world.now(), "tap1").loss_percent, 0);
}

TEST(Liveness, ALineWithMuchJitterStaysIn) {
  World world;
  for (int i = 0; i < 2; ++i) world.line(i, "tap2").jitter = 200ms;
  world.run(20s);
  const std::size_t before = world.end(0).changes.size() + world.end(1).changes.size();
  world.run(600s);
  EXPECT_LE(world.end(0).changes.size() + world.end(1).changes.size(), before + 2);
  EXPECT_GT(world.end(0).live->silence_limit("tap2"), 500ms);
  EXPECT_THAT(world.end(0).live->silence_limit("tap1"), Lt(340ms));
}

TEST(Liveness, TwoPercentOfLossCostNoSpeed) {
  World world;
  for (int i = 0; i < 2; ++i) {
    for (const char* tap : {"tap1", "tap2"}) world.line(i, tap).loss = 0.02;
  }
  world.run(3600s);
  EXPECT_LE(world.end(0).changes.size() + world.end(1).changes.size(), 8U);
  world.cut("tap2", true);
  EXPECT_LE(world.run_until(2s, [&] { return !world.end(0).dead.empty() && !world.end(1).dead.empty(); }),
            520ms);
}

TEST(Liveness, ARestartedPeerIsFoundAgain) {
  World world;
  world.run(5s);
  world.end(1).runs = false;
  world.run(3s);
  world.start_end(1);
  world.run(3s);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(world.state(i, "tap1"), TunnelState::kUp);
    EXPECT_EQ(world.state(i, "tap2"), TunnelState::kUp);
    EXPECT_THAT(world.end(i).dead, IsEmpty());
  }
}

TEST(Liveness, OurOwnPauseIsNobodysDeath) {
  World world;
  world.run(5s);
  world.end(0).runs = false;  // stopped by the scheduler; the peer lets the tunnels wait as all are silent
  world.run(700ms);
  world.end(0).runs = true;
  world.run(5s);
  EXPECT_THAT(world.end(0).changes, testing::SizeIs(2));
  EXPECT_THAT(world.end(1).changes, testing::SizeIs(2));
}

TEST(Liveness, AnOpenVpnThatWaitsForAProcessorIsNoDeadLine) {
  for (const int end : {0, 1}) {
    World world;
    world.run(5s);
    world.stuck[end] = {"tap2"};
    world.run(1s);
    world.stuck[end].clear();
    world.run(3s);
    EXPECT_THAT(world.end(0).changes, testing::SizeIs(2));
    EXPECT_THAT(world.end(1).changes, testing::SizeIs(2));
    world.stuck[end] = {"tap2"};
    world.run(3s);
    EXPECT_THAT(world.end(0).dead, ElementsAre("tap2")) << "there is an end to patience";
    EXPECT_THAT(world.end(1).dead, ElementsAre("tap2"));
  }
}

TEST(Liveness, APeerWithoutBonddLeavesItToTheKernel) {
  World world;
  world.end(1).runs = false;
  world.data_every = 300ms;  // its ARP requests
  world.run(5s);
  EXPECT_FALSE(world.end(0).live->peer_probes());
  EXPECT_EQ(world.state(0, "tap1"), TunnelState::kUp);
  world.cut("tap2", true);
  world.run(5s);
  EXPECT_EQ(world.state(0, "tap2"), TunnelState::kDown);
  EXPECT_THAT(world.end(0).dead, IsEmpty());
}

TEST(Liveness, APeerWhoseBonddIsReplacedByHandIsLeftToTheKernel) {
  World world;
  world.data_every = 300ms;
  world.run(5s);
  world.cut("tap2", true);
  world.run(2s);
  ASSERT_THAT(world.end(0).dead, ElementsAre("tap2"));
  world.end(1).runs = false;
  world.run(40s);
  EXPECT_FALSE(world.end(0).live->peer_probes());
  EXPECT_THAT(world.end(0).dead, IsEmpty());
}

TEST(Liveness, WrappedClocksAndNumbersAreNoEvent) {
  World world(2, TimePoint(std::chrono::microseconds((1ULL << 32U) - 3'000'000)));
  world.run(10s);
  EXPECT_THAT(world.end(0).changes, testing::SizeIs(2));
  EXPECT_NEAR(*world.end(0).live->view(world.now(), "tap1").rtt_ms, 40, 3);
}

TEST(Liveness, KnowsWhichTunnelBringsPacketsSooner) {
  World world;
  for (const int end : {0, 1}) world.line(end, "tap1").delay = 25ms;
  world.line(0, "tap2").delay = 12ms;
  world.line(1, "tap2").delay = 40ms;
  world.run(5s);
  const auto behind = [&](int end, const std::string& tap) {
    return world.end(end).live->view(world.now(), tap).behind;
  };
  EXPECT_EQ(behind(0, "tap1"), 13ms);
  EXPECT_EQ(behind(0, "tap2"), 0ms);
  EXPECT_EQ(behind(1, "tap1"), 0ms);
  EXPECT_EQ(behind(1, "tap2"), 15ms);

  world.line(0, "tap1").delay = 30ms;
  world.run(5s);
  EXPECT_EQ(behind(0, "tap1"), 18ms) << "what was before is forgotten";
  world.cut("tap2", true);
  world.run(5s);
  EXPECT_EQ(behind(0, "tap1"), 0ms) << "the others do not count dead ones";
}

TEST(Liveness, TheDelayIsKnownSoonAfterTheStart) {
  World world;
  for (const int end : {0, 1}) world.line(end, "tap1").delay = 25ms;
  const Duration took = world.run_until(5s, [&] {
    return world.state(0, "tap1") == TunnelState::kUp && world.end(0).live->view(world.now(), "tap1").behind;
  });
  EXPECT_LE(took, 350ms);
}

TEST(Liveness, ATunnelThatIsBusyNowAndThenKeepsWhatIsKnownOfItsDelay) {
  World world;
  for (const int end : {0, 1}) world.line(end, "tap1").delay = 25ms;
  for (const int end : {0, 1}) world.line(end, "tap2").delay = 12ms;
  world.run(5s);
  for (const int end : {0, 1}) world.line(end, "tap1").delay = 60ms;  // a queue
  for (int i = 0; i < 2; ++i) {
    world.data_every = 5ms;
    world.run(5s);
    world.data_every = 0ms;
    world.run(300ms);  // too short for it to run dry
  }
  EXPECT_EQ(world.end(0).live->view(world.now(), "tap1").behind, 13ms);
}

TEST(Liveness, AGrowingQueueIsNoJitter) {
  World world;
  world.data_every = 5ms;
  for (int i = 0; i < 100; ++i) {
    for (const int end : {0, 1}) world.line(end, "tap1").delay = 25ms + 2ms * (i % 50);
    world.run(100ms);
  }
  EXPECT_LE(world.end(0).live->silence_limit("tap1"), 350ms);
}

TEST(Liveness, DataTakesThePlaceOfProbes) {
  World idle, busy;
  busy.data_every = 5ms;
  idle.run(60s);
  busy.run(60s);
  EXPECT_NEAR(idle.end(0).probes, 2 * 60 / 0.075, 80);
  EXPECT_NEAR(busy.end(0).probes, 2 * 60 / 0.6, 40);
  EXPECT_THAT(busy.end(0).changes, testing::SizeIs(2));
}

// The peer's probes come at any moment between two readings of the counters: until the next
// one, nobody knows whether openvpn has taken what was put into its tap.
TEST(Liveness, AProbeBetweenTwoReadingsOfTheCountersMakesNoNews) {
  for (Duration delay = 5ms; delay < 75ms; delay += 10ms) {
    World world;
    world.data_every = 5ms;
    for (const int end : {0, 1}) {
      for (const char* const tap : {"tap1", "tap2"}) world.line(end, tap).delay = delay;
    }
    world.run(60s);
    EXPECT_NEAR(world.end(0).probes, 2 * 60 / 0.6, 40) << delay / 1ms << " ms";
  }
}

TEST(Liveness, ARestartedOpenVpnLeavesTheBondUntilItIsHeard) {
  World world;
  world.run(5s);
  world.cut("tap2", true);
  world.end(0).live->handle_restart(world.now(), "tap2", "its openvpn ended");
  world.run(1ms);
  EXPECT_THAT(world.end(0).dead, ElementsAre("tap2"));
  EXPECT_LE(world.run_until(1s, [&] { return !world.end(1).dead.empty(); }), 100ms) << "the peer is told";
  world.run(500ms);
  world.cut("tap2", false);
  world.run(3s);
  EXPECT_THAT(world.end(0).dead, IsEmpty());
}

TEST(Liveness, ATunnelOfAnotherOrderAtThePeerIsUnderstood) {
  World world;
  world.end(1).live->set_tunnels(world.now(), {{"tap2", "wan2"}});
  world.end(1).live->set_tunnels(world.now(),
                                 {{"tap2", "wan2"}, {"tap1", "wan1"}});  // its numbers are 0 and 1
  world.run(5s);
  world.line(0, "tap2").cut = true;
  world.run(1s);
  EXPECT_THAT(world.end(0).dead, ElementsAre("tap2"));
  EXPECT_THAT(world.end(1).dead, ElementsAre("tap2"));
}

TEST(Liveness, AddedAndRemovedTunnelsLeaveTheOthersAlone) {
  World world(3);
  world.run(5s);
  for (int i = 0; i < 2; ++i)
    world.end(i).live->set_tunnels(world.now(), {{"tap3", "wan3"}, {"tap1", "wan1"}});
  world.run(5s);
  EXPECT_EQ(world.state(0, "tap3"), TunnelState::kUp);
  EXPECT_EQ(world.state(0, "tap1"), TunnelState::kUp);
  EXPECT_THAT(world.end(0).changes, testing::SizeIs(3));
  EXPECT_THAT(world.end(0).dead, IsEmpty());
}

TEST(Liveness, AClientStartsASilentTunnelAnewNowAndThen) {
  World world;
  world.run(5s);
  world.cut("tap2", true);
  world.run(500ms);
  std::vector<int> at;  // seconds after the cut
  for (int i = 0; i < 150; ++i) {
    if (const auto tap = world.end(0).live->poll_restart(world.now())) {
      EXPECT_EQ(*tap, "tap2");
      at.push_back(i);
    }
    EXPECT_FALSE(world.end(1).live->poll_restart(world.now())) << "the server waits for its client";
    world.run(1s);
  }
  EXPECT_THAT(at, ElementsAre(15, 30, 60, 120));
}

TEST(Liveness, AClientAsksForANewSessionWhenItsServersOpenVpnIsANewOne) {
  World world(2, TimePoint(100s), true);
  world.run(5s);
  EXPECT_FALSE(world.end(0).live->poll_restart(world.now()));
  world.cut("tap2", true);  // neither understands the other any more
  world.end(1).live->handle_restart(world.now(), "tap2");
  world.run(500ms);
  EXPECT_EQ(world.end(0).live->poll_restart(world.now()), "tap2");
  world.end(0).live->handle_restart(world.now(), "tap2");
  world.run(10s);
  EXPECT_FALSE(world.end(0).live->poll_restart(world.now())) << "once is enough";
}

TEST(Liveness, AClientAsksForNewSessionsWhenAllIsSilent) {
  World world(2, TimePoint(100s), true);
  world.run(5s);
  for (const char* tap : {"tap1", "tap2"}) world.cut(tap, true);
  world.run(4s);
  EXPECT_FALSE(world.end(0).live->poll_restart(world.now()));
  world.run(2s);
  EXPECT_EQ(world.end(0).live->poll_restart(world.now()), "tap1");
  EXPECT_EQ(world.end(0).live->poll_restart(world.now()), "tap2");
  EXPECT_FALSE(world.end(0).live->poll_restart(world.now()));
}

TEST(Liveness, AChangedArpIntervalChangesTheProbes) {
  World world;
  world.run(5s);
  for (const int end : {0, 1}) world.end(end).live->set_arp_interval(1200ms);
  const unsigned before = world.end(0).probes;
  world.run(60s);
  EXPECT_NEAR(world.end(0).probes - before, 2 * 60 / 0.3, 20);
  EXPECT_GE(world.end(0).live->silence_limit("tap1"), 1200ms);
  EXPECT_THAT(world.end(0).changes, testing::SizeIs(2));
}

TEST(Liveness, ManyTunnelsAreWatchedAndTooManySurvive) {
  World world(80);
  world.run(3s);
  EXPECT_EQ(world.state(0, "tap64"), TunnelState::kUp);
  EXPECT_EQ(world.state(0, "tap65"), TunnelState::kStarting);
  EXPECT_THAT(world.end(0).dead, IsEmpty());
}

}  // namespace
}  // namespace bondd::control

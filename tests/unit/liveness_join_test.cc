// Tunnels that leave the bond and come back, at two ends that do not change their bonds at one moment.
#include <fmt/format.h>

#include "tests/support/liveness_world.h"

namespace bondd::control {
namespace {

using namespace test;

// Each end changes its bond when its pass has run, on a busy machine seconds after the other end. What comes
// out of a tap that is not in the bond is lost.
TEST(Liveness, NoFrameIsLostWhenATunnelIsDrainedAndRestoredHoweverLatePassesAre) {
  for (const Duration office_pass : {0ms, 80ms, 700ms, 2000ms}) {
    for (const Duration vps_pass : {0ms, 150ms, 2500ms}) {
      for (const int drains : {0, 1}) {
        SCOPED_TRACE(fmt::format("{} and {} ms, drained at {}", office_pass / 1ms, vps_pass / 1ms, drains));
        World world;
        world.line(0, "tap2").delay = 90ms;
        world.data_every = 5ms;
        world.end(0).pass = office_pass;
        world.end(1).pass = vps_pass;
        world.run(3s);
        world.end(drains).drained = {"tap2"};
        world.run(20s);
        for (const int end : {0, 1}) {
          EXPECT_THAT(world.end(end).members, ElementsAre("tap1")) << end;
          EXPECT_TRUE(world.end(end).live->view(world.now(), "tap2").heard) << end;
          EXPECT_EQ(world.state(end, "tap1"), TunnelState::kUp) << end;
        }
        world.end(drains).drained.clear();
        EXPECT_LE(world.run_until(20s,
                                  [&] {
                                    return world.state(0, "tap2") == TunnelState::kUp &&
                                           world.state(1, "tap2") == TunnelState::kUp;
                                  }),
                  1500ms + std::max(office_pass, vps_pass));
        world.run(5s);
        for (const int end : {0, 1}) {
          EXPECT_THAT(world.end(end).members, ElementsAre("tap1", "tap2")) << end;
          EXPECT_EQ(world.end(end).lost, 0U) << end;
          EXPECT_EQ(world.state(end, "tap2"), TunnelState::kUp) << end;
        }
      }
    }
  }
}

// One end gives up at the moment at which the other one learns that both have it in their bonds.
TEST(Liveness, NoFrameIsLostWhenOneEndIsAlmostTooLateToJoin) {
  for (const int slow : {0, 1}) {
    for (Duration pass = 4000ms; pass <= 6000ms; pass += 20ms) {
      SCOPED_TRACE(fmt::format("end {} takes {} ms", slow, pass / 1ms));
      World world;
      for (const int end : {0, 1}) world.line(end, "tap1").delay = 300ms;
      world.data_every = 20ms;
      world.end(slow).pass = pass;
      world.run(3s);
      world.cut("tap2", true);
      world.run(15s);
      for (const int end : {0, 1}) world.end(end).lost = 0;
      world.cut("tap2", false);
      world.run(20s);
      for (const int end : {0, 1}) EXPECT_EQ(world.end(end).lost, 0U) << end;
      EXPECT_EQ(world.state(0, "tap2") == TunnelState::kUp, world.state(1, "tap2") == TunnelState::kUp);
    }
  }
}

// On a busy machine openvpn goes on while bondd stands still.
TEST(Liveness, APeerThatStandsStillForSecondsHasItsDrainedTapLeftOut) {
  World world;
  world.data_every = 20ms;
  world.run(3s);
  world.end(0).drained = {"tap2"};
  world.run(10s);
  ASSERT_THAT(world.end(1).members, ElementsAre("tap1"));
  world.end(0).runs = false;
  world.run(12s);
  world.end(0).runs = true;
  world.run(5s);
  EXPECT_EQ(world.end(0).lost, 0U);
  EXPECT_THAT(world.end(1).members, ElementsAre("tap1"));
}

TEST(Liveness, ATunnelThatCannotJoinIsGivenUpAndTriedAgain) {
  World world;
  world.end(1).pass = 7s;
  world.run(3s);
  world.cut("tap2", true);
  world.run(10s);
  world.cut("tap2", false);
  world.run(8s);
  EXPECT_EQ(world.state(0, "tap2"), TunnelState::kDown);
  EXPECT_THAT(world.end(0).changes.back().reason, HasSubstr("into their bonds"));
  world.end(1).pass = 100ms;
  world.run(15s);
  EXPECT_EQ(world.state(0, "tap2"), TunnelState::kUp);
  EXPECT_EQ(world.state(1, "tap2"), TunnelState::kUp);
}

// No other tunnel could bring the other end's word.
TEST(Liveness, ATunnelThatJoinsCarriesAtOnceWhenTheOthersDie) {
  World world;
  world.end(1).pass = 3s;
  world.run(3s);
  world.cut("tap2", true);
  world.run(10s);
  world.cut("tap2", false);
  world.run_until(5s, [&] { return world.state(0, "tap2") == TunnelState::kJoining; });
  ASSERT_EQ(world.state(0, "tap2"), TunnelState::kJoining);
  world.cut("tap1", true);
  world.run(2s);
  for (const int end : {0, 1}) EXPECT_EQ(world.state(end, "tap2"), TunnelState::kUp) << end;
}

}  // namespace
}  // namespace bondd::control

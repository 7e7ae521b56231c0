// `bondd wan SITE WAN drain`: which WANs are out of use, and how a tap leaves the kernel's bond.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bondd/control/drained_wans.h"
#include "bondd/control/tap_drain.h"

namespace bondd::control {
namespace {

using namespace std::chrono_literals;
using model::WanState;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Office {
  model::Config config;
  std::vector<model::WanStatus> wans;
  problems::PeerSettings theirs;
  DrainedWans drained;

  Office() {
    std::uint16_t port = 5080;
    for (const char* name : {"dsl", "lte"}) {
      model::Wan wan;
      wan.name = name;
      wan.port = port++;
      config.wans.push_back(wan);
      theirs.wans.push_back({wan.port, name, std::nullopt});
      wans.emplace_back().name = name;
      wans.back().state = WanState::kUp;
    }
  }
  bool update() { return drained.update(config, &theirs, wans); }
};

TEST(DrainedWans, ADrainedWanIsOutOfUseUntilItIsRestored) {
  Office office;
  EXPECT_FALSE(office.update());
  ASSERT_TRUE(office.drained.drain("lte", office.wans).has_value());
  EXPECT_TRUE(office.update());
  EXPECT_THAT(office.drained.out_of_use(), ElementsAre("lte"));
  office.drained.explain("office", office.wans);
  EXPECT_EQ(office.wans[1].state, WanState::kDrained);
  EXPECT_THAT(office.wans[1].reason, HasSubstr("bondd wan office lte restore"));
  EXPECT_EQ(office.wans[0].state, WanState::kUp);
  ASSERT_TRUE(office.drained.restore("lte", office.wans).has_value());
  EXPECT_TRUE(office.update());
  EXPECT_THAT(office.drained.out_of_use(), IsEmpty());
}

TEST(DrainedWans, ASpeedTestTakesAllOthersOutOfUseAndThenAllIsAsBefore) {
  Office office;
  ASSERT_TRUE(office.drained.drain("lte", office.wans).has_value());
  office.update();
  office.drained.set_alone("lte", "");
  EXPECT_TRUE(office.update());
  EXPECT_THAT(office.drained.out_of_use(), ElementsAre("dsl"));
  EXPECT_THAT(office.drained.out_of_use_here(), ElementsAre("dsl"));
  EXPECT_EQ(office.drained.alone(), "lte");
  EXPECT_THAT(office.drained.here(), ElementsAre("lte")) << "the other end is not told of another drain";
  office.drained.explain("office", office.wans);
  EXPECT_EQ(office.wans[0].state, WanState::kUp) << "no event for some seconds";
  EXPECT_THAT(office.wans[0].reason, HasSubstr("measures lte"));
  office.drained.set_alone("", "");
  EXPECT_TRUE(office.update());
  EXPECT_THAT(office.drained.out_of_use(), ElementsAre("lte"));
  EXPECT_EQ(office.drained.alone(), "");
}

TEST(DrainedWans, ASpeedTestOfTheOtherEndIsFollowedWhileThatWanIsHeard) {
  Office office;
  office.drained.set_alone("", "dsl");
  EXPECT_TRUE(office.update());
  EXPECT_THAT(office.drained.out_of_use(), ElementsAre("lte"));
  EXPECT_THAT(office.drained.out_of_use_here(), IsEmpty()) << "its taps are taken out by the other end";
  office.wans[0].state = WanState::kSilent;
  EXPECT_TRUE(office.update());
  EXPECT_THAT(office.drained.out_of_use(), IsEmpty());
  EXPECT_EQ(office.drained.alone(), "");
}

TEST(DrainedWans, TheLastOneThatCarriesIsRefusedAndSoIsAnUnknownOne) {
  Office office;
  EXPECT_THAT(office.drained.drain("ltd", office.wans).error().message,
              HasSubstr("no WAN ltd in the file; did you mean lte?"));
  office.wans[0].state = WanState::kSilent;
  EXPECT_THAT(office.drained.drain("lte", office.wans).error().message, HasSubstr("no other WAN carries"));
  office.wans[0].state = WanState::kUp;
  ASSERT_TRUE(office.drained.drain("lte", office.wans).has_value());
  EXPECT_FALSE(office.drained.drain("dsl", office.wans).has_value());
}

TEST(DrainedWans, IsUsedWhileNoOtherOneIsHeard) {
  Office office;
  ASSERT_TRUE(office.drained.drain("lte", office.wans).has_value());
  office.update();
  office.wans[0].state = WanState::kSilent;
  EXPECT_TRUE(office.update());
  EXPECT_THAT(office.drained.out_of_use(), IsEmpty());
  EXPECT_THAT(office.drained.here(), ElementsAre("lte")) << "the other end is still told";
  office.wans[0].state = WanState::kUp;
  EXPECT_TRUE(office.update());
  EXPECT_THAT(office.drained.out_of_use(), ElementsAre("lte"));
}

TEST(DrainedWans, ThePeersCountByTheirPortsAndAreRestoredThere) {
  Office office;
  office.theirs.wans[1].drained = true;
  office.theirs.wans[1].name = "mobile";
  EXPECT_TRUE(office.update());
  EXPECT_THAT(office.drained.out_of_use(), ElementsAre("lte"));
  EXPECT_THAT(office.drained.out_of_use_here(), IsEmpty());
  EXPECT_THAT(office.drained.restore("lte", office.wans).error().message, HasSubstr("the other end"));
  office.drained.explain("office", office.wans);
  EXPECT_THAT(office.wans[1].reason, HasSubstr("the other end"));
}

TEST(DrainedWans, OneThatFallsSilentMeanwhileSaysBoth) {
  Office office;
  ASSERT_TRUE(office.drained.drain("lte", office.wans).has_value());
  EXPECT_TRUE(office.drained.drain("lte", office.wans).has_value()) << "twice is once";
  office.update();
  office.wans[1].state = WanState::kSilent;
  office.wans[1].reason = "no reply for 2 s";
  office.drained.explain("office", office.wans);
  EXPECT_EQ(office.wans[1].state, WanState::kSilent);
  EXPECT_THAT(office.wans[1].reason, HasSubstr("no reply for 2 s; out of use"));
}

TEST(DrainedWans, AReloadWithoutThatWanForgetsIt) {
  Office office;
  ASSERT_TRUE(office.drained.drain("lte", office.wans).has_value());
  office.update();
  EXPECT_FALSE(office.update()) << "the same file read again changes nothing";
  const model::Wan lte = office.config.wans.back();
  office.config.wans.pop_back();
  EXPECT_TRUE(office.update());
  office.config.wans.push_back(lte);
  EXPECT_FALSE(office.update());
}

TEST(TapDrain, SendsNothingLongBeforeItLeavesTheBondAndProbesAgainOutside) {
  TapDrain drain;
  TapDrain::Use use{PeerUse::kUses, true};
  TimePoint now{1h};
  const auto update = [&](Duration later) { drain.update(now += later, {{"tap0", use}}); };
  update(0s);
  EXPECT_TRUE(drain.keeps("tap0"));
  update(TapDrain::kFade - 1ms);
  EXPECT_THAT(drain.quiet(), IsEmpty()) << "what is held back goes first";
  update(1ms);
  EXPECT_THAT(drain.quiet(), ElementsAre("tap0"));
  update(5s);
  EXPECT_TRUE(drain.keeps("tap0")) << "the other end still sends by it";
  use.peer = PeerUse::kLeft;
  update(0s);
  update(TapDrain::kInFlight - 1ms);
  EXPECT_TRUE(drain.keeps("tap0")) << "it still takes what arrives";
  update(1ms);
  EXPECT_FALSE(drain.keeps("tap0"));
  EXPECT_THAT(drain.out(), ElementsAre("tap0"));
  update(5s);
  EXPECT_THAT(drain.quiet(), ElementsAre("tap0")) << "the pass that takes it out has not run yet";
  use.here = false;
  update(0s);
  EXPECT_THAT(drain.quiet(), IsEmpty()) << "its probes tell whether it is well";
  update(1h);
  EXPECT_THAT(drain.out(), ElementsAre("tap0"));
  drain.update(now, {});
  EXPECT_THAT(drain.out(), IsEmpty());
  EXPECT_FALSE(drain.is_draining("tap0"));
}

TEST(TapDrain, WaitsForAnEndThatSaysNothingAndForOneThatDoesNotLeaveForSomeTimeOnly) {
  for (const auto& [peer, limit] :
       {std::pair(PeerUse::kUnknown, TapDrain::kQuiet), std::pair(PeerUse::kUses, TapDrain::kQuietMost)}) {
    TapDrain drain;
    TimePoint now{1h};
    const auto update = [&, peer = peer](Duration later) {
      drain.update(now += later, {{"tap0", {peer, true}}});
    };
    update(0s);
    update(TapDrain::kFade);
    update(limit - 1ms);
    EXPECT_TRUE(drain.keeps("tap0"));
    update(1ms);
    EXPECT_FALSE(drain.keeps("tap0"));
  }
}

TEST(TapDrain, RestoredHalfwayHasItsCarrierAgain) {
  TapDrain drain;
  TimePoint now{1h};
  drain.update(now, {{"tap0", {}}});
  drain.update(now += TapDrain::kFade, {{"tap0", {}}});
  EXPECT_THAT(drain.quiet(), ElementsAre("tap0"));
  drain.update(now, {});
  EXPECT_THAT(drain.quiet(), IsEmpty());
  EXPECT_FALSE(drain.is_draining("tap0"));
}

}  // namespace
}  // namespace bondd::control

#include "bondd/control/heard_lately.h"

#include <gtest/gtest.h>

#include "bondd/model/status.h"

namespace bondd::control {
namespace {

using model::WanState;

model::WanStatus heard(WanState state, double ms_ago) {
  model::WanStatus status;
  status.state = state;
  status.reason = "as it was";
  status.heard_ms_ago = ms_ago;
  return status;
}

TEST(HeardLately, ALineThatWasNotHeardForElevenSecondsIsNotUp) {
  for (const WanState state : {WanState::kUp, WanState::kLossy, WanState::kSlow}) {
    const auto shown = only_if_heard(heard(state, 11'000), kHeardLately);
    EXPECT_EQ(shown.state, WanState::kSilent);
    EXPECT_EQ(shown.reason, "no reply for 11 s");
  }
}

TEST(HeardLately, TwoKeepalivesMayBeLost) {
  EXPECT_EQ(only_if_heard(heard(WanState::kUp, 3'400), kHeardLately).state, WanState::kUp);
  EXPECT_EQ(only_if_heard(heard(WanState::kUp, 6'400), kHeardLatelyOriginal).state, WanState::kUp);
}

TEST(HeardLately, WhatIsKnownToBeAwayStaysAsItIs) {
  EXPECT_EQ(only_if_heard(heard(WanState::kStarting, 60'000), kHeardLately).reason, "as it was");
  EXPECT_EQ(only_if_heard(heard(WanState::kDown, 60'000), kHeardLately).state, WanState::kDown);
}

TEST(HeardLately, LinesThatAreAllSilentMakeASiteThatIsDown) {
  std::vector<model::WanStatus> wans = {only_if_heard(heard(WanState::kUp, 11'000), kHeardLately),
                                        only_if_heard(heard(WanState::kSilent, 11'000), kHeardLately)};
  EXPECT_EQ(model::site_state(wans), model::SiteState::kDown);
  wans.push_back(heard(WanState::kUp, 100));
  EXPECT_EQ(model::site_state(wans), model::SiteState::kDegraded);
}

}  // namespace
}  // namespace bondd::control

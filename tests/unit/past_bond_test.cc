// What leaves past a bond that carries nothing, and by which WAN.
#include "bondd/control/past_bond.h"

#include <gtest/gtest.h>

namespace bondd::control {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint kStart{1h};
constexpr PastBond::Line kNothing{false, false}, kWayOut{true, false}, kInternet{true, true};

TEST(PastBond, LeavesByAWanOnlyWhileTheBondCarriesNothing) {
  PastBond way(5s, 0s);
  EXPECT_EQ(way.update(kStart, true, {kInternet, kInternet}), 0U);
  EXPECT_EQ(way.update(kStart + 1s, false, {kInternet, kInternet}), 0U) << "a short outage moves nothing";
  EXPECT_EQ(way.update(kStart + 6s, false, {kInternet, kInternet}), 1U);
  EXPECT_EQ(way.update(kStart + 10s, true, {kInternet, kInternet}), 0U) << "at once";
  EXPECT_EQ(way.update(kStart + 11s, false, {kInternet, kInternet}), 0U) << "and the patience begins anew";
}

TEST(PastBond, TakesTheWanThatLeadsToTheInternet) {
  PastBond way(5s, 0s);
  way.update(kStart, false, {});
  const TimePoint later = kStart + 1min;
  EXPECT_EQ(way.update(later, false, {}), 0U);
  EXPECT_EQ(way.update(later, false, {kNothing, kNothing}), 0U) << "no way out at all";
  EXPECT_EQ(way.update(later, false, {kNothing, kWayOut}), 2U) << "nothing answers: it may do all the same";
  EXPECT_EQ(way.update(later, false, {kWayOut, kWayOut}), 2U) << "no better one";
  EXPECT_EQ(way.update(later, false, {kInternet, kWayOut}), 1U);
  EXPECT_EQ(way.update(later, false, {kInternet}), 1U) << "a WAN that went out of the file";
}

// A server that starts, ends and starts again must not tear connections to and fro.
TEST(PastBond, ReturnsOnlyToABondThatCarriesWithoutABreak) {
  PastBond way(5s, 3s);
  const std::vector<PastBond::Line> lines{kInternet};
  way.update(kStart, false, lines);
  EXPECT_EQ(way.update(kStart + 5s, false, lines), 1U);
  EXPECT_EQ(way.update(kStart + 6s, true, lines), 1U) << "not yet";
  EXPECT_EQ(way.update(kStart + 8s, false, lines), 1U) << "broke again: no new patience";
  EXPECT_EQ(way.update(kStart + 9s, true, lines), 1U);
  EXPECT_EQ(way.update(kStart + 11s, true, lines), 1U);
  EXPECT_EQ(way.update(kStart + 12s, true, lines), 0U);
  EXPECT_EQ(way.update(kStart + 13s, false, lines), 0U);
}

TEST(PastBond, AChangedPatienceHoldsFromTheNextLook) {
  PastBond way(1h, 3s);
  way.update(kStart, false, {kInternet});
  EXPECT_EQ(way.update(kStart + 10s, false, {kInternet}), 0U);
  way.set_silent_for(5s);
  EXPECT_EQ(way.update(kStart + 10s, false, {kInternet}), 1U);
}

}  // namespace
}  // namespace bondd::control

// NTP past a bond that carries nothing.
#include "bondd/control/past_bond.h"

#include <gtest/gtest.h>

namespace bondd::control {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint kStart{1h};
constexpr PastBond::Line kNothing{false, false}, kWayOut{true, false}, kInternet{true, true};

TEST(PastBond, LeavesByAWanOnlyWhileTheBondCarriesNothing) {
  PastBond way;
  EXPECT_EQ(way.update(kStart, true, {kInternet, kInternet}), 0U);
  EXPECT_EQ(way.update(kStart + 1s, false, {kInternet, kInternet}), 0U) << "a short outage moves nothing";
  EXPECT_EQ(way.update(kStart + 1s + kBondSilentFor, false, {kInternet, kInternet}), 1U);
  EXPECT_EQ(way.update(kStart + 10s, true, {kInternet, kInternet}), 0U) << "at once";
  EXPECT_EQ(way.update(kStart + 11s, false, {kInternet, kInternet}), 0U) << "and the patience begins anew";
}

TEST(PastBond, TakesTheWanThatLeadsToTheInternet) {
  PastBond way;
  way.update(kStart, false, {});
  const TimePoint later = kStart + 1min;
  EXPECT_EQ(way.update(later, false, {}), 0U);
  EXPECT_EQ(way.update(later, false, {kNothing, kNothing}), 0U) << "no way out at all";
  EXPECT_EQ(way.update(later, false, {kNothing, kWayOut}), 2U) << "nothing answers: it may do all the same";
  EXPECT_EQ(way.update(later, false, {kWayOut, kWayOut}), 2U) << "no better one";
  EXPECT_EQ(way.update(later, false, {kInternet, kWayOut}), 1U);
  EXPECT_EQ(way.update(later, false, {kInternet}), 1U) << "a WAN that went out of the file";
}

}  // namespace
}  // namespace bondd::control

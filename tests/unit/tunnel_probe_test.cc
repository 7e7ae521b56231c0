#include "bondd/control/tunnel_probe.h"

#include <gtest/gtest.h>

#include <random>

namespace bondd::control {
namespace {

TEST(Probe, IsTheSameAfterRenderAndParse) {
  Probe probe;
  probe.role = 1;
  probe.tunnel = 63;
  probe.instance = 0xdeadbeef;
  probe.sequence = 0xffffffff;
  probe.tunnel_sequence = 7;
  probe.sent_us = 1;
  probe.echo_us = 2;
  probe.held_us = 3;
  probe.transit_us = 0x80000001;
  probe.hears = 0x8000000000000001;
  probe.ready = 2;
  probe.fresh = 1ULL << 39U;
  probe.stuck = 1ULL << 40U;
  probe.member = 1ULL << 41U;
  EXPECT_EQ(parse_probe(render_probe(probe)), probe);
}

TEST(Probe, OfAnOlderBonddSaysNothingOfMembers) {
  Probe probe;
  probe.instance = 1;
  probe.stuck = 5;
  probe.member.reset();
  const auto rendered = render_probe(probe);
  EXPECT_EQ(parse_probe(rendered), probe);
  EXPECT_EQ(parse_probe(std::span(rendered).first(76)), probe);
}

TEST(Probe, NonsenseIsNone) {
  Probe probe;
  probe.instance = 1;
  auto good = render_probe(probe);
  ASSERT_TRUE(parse_probe(good));
  EXPECT_FALSE(parse_probe(std::span(good).first(kProbeSize - 1)));
  EXPECT_FALSE(parse_probe({}));
  for (const auto& [at, value] : std::map<std::size_t, std::uint8_t>{{0, 'X'}, {2, 9}, {3, 2}, {4, 64}}) {
    auto bad = good;
    bad[at] = value;
    EXPECT_FALSE(parse_probe(bad)) << at;
  }
  std::mt19937 random{1};
  for (int i = 0; i < 10000; ++i) {
    auto noise = good;
    noise[random() % noise.size()] = static_cast<std::uint8_t>(random());
    (void)parse_probe(noise);
  }
}

}  // namespace
}  // namespace bondd::control

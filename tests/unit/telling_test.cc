#include "bondd/control/telling.h"

#include <gtest/gtest.h>

#include "bondd/control/liveness.h"

namespace bondd::control {
namespace {

TEST(Telling, ComesBackAlsoWhenItWasPadded) {
  auto bytes = render_telling("bondd-settings 1\nrole client");
  bytes.resize(bytes.size() + 20);
  EXPECT_EQ(parse_telling(bytes), "bondd-settings 1\nrole client");
  EXPECT_EQ(render_telling(std::string(5000, 'x')).size(), kMostTelling + 6);
}

TEST(Telling, IsNoProbeAndAProbeIsNone) {
  EXPECT_FALSE(parse_probe(render_telling(std::string(200, 'x'))).has_value());
  EXPECT_FALSE(parse_telling(render_probe(Probe{})).has_value());
}

TEST(Telling, WhatIsCutOffOrTooLongIsNothing) {
  const auto bytes = render_telling("some text");
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(parse_telling(std::span(bytes).first(size)).has_value()) << size;
  auto wrong = bytes;
  wrong[4] = 0xff;
  EXPECT_FALSE(parse_telling(wrong).has_value());
}

}  // namespace
}  // namespace bondd::control

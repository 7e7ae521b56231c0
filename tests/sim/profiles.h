// The line pairs of the matrix: what a bond of two lines must cope with.
#pragma once

#include <span>
#include <string_view>

#include "tests/sim/netem.h"

namespace bondd::sim {

// Two lines in netem's words, the same in both directions. `alone` and `wanted` are
// Mbit/s of one cubic TCP flow: what the better line gives alone on a stock kernel,
// and what the bond has to give.
struct Profile {
  std::string_view name;
  std::string_view line_a;
  std::string_view line_b;
  double alone_a;
  double alone_b;
  double limit;
  double wanted;
  bool lossy;
  bool jitter;
};

std::span<const Profile> all_profiles();
// nullptr when there is none of this name.
const Profile* find_profile(std::string_view name);

// Line A or B of a profile. The texts are constants of this file, so this cannot fail.
LineSpec spec_a(const Profile& profile);
LineSpec spec_b(const Profile& profile);

}  // namespace bondd::sim

#include "tests/sim/profiles.h"

#include <array>

namespace bondd::sim {
namespace {

// Rates and delays of the multipath reports that users compare by, plus two ADSL pairs.
constexpr std::array kProfiles = {
    Profile{"baseline", "delay 20ms rate 50mbit", "delay 20ms rate 50mbit", 47.8, 47.8, 91, 88, false, false},
    Profile{"rtt_40", "delay 20ms rate 50mbit", "delay 40ms rate 50mbit", 47.8, 47.8, 91, 88, false, false},
    Profile{"rtt_70", "delay 20ms rate 50mbit", "delay 70ms rate 50mbit", 47.8, 47.8, 91, 88, false, false},
    Profile{"rtt_120", "delay 20ms rate 50mbit", "delay 120ms rate 50mbit", 47.8, 47.8, 91, 85, false, false},
    Profile{"rtt_320", "delay 20ms rate 50mbit", "delay 320ms rate 50mbit", 47.8, 25.2, 91, 60, false, false},
    Profile{"jit_5", "delay 20ms 5ms distribution normal rate 50mbit",
            "delay 20ms 5ms distribution normal rate 50mbit", 47.8, 47.8, 91, 85, false, true},
    Profile{"jit_20", "delay 20ms 20ms distribution normal rate 50mbit",
            "delay 20ms 20ms distribution normal rate 50mbit", 41.8, 42.6, 91, 75, false, true},
    Profile{"loss_05", "delay 20ms loss 0.5% rate 50mbit", "delay 20ms loss 0.5% rate 50mbit", 9.9, 7.5, 91,
            85, true, false},
    Profile{"loss_2", "delay 20ms loss 2% rate 50mbit", "delay 20ms loss 2% rate 50mbit", 2.5, 2.8, 91, 65,
            true, false},
    Profile{"bw_4to1", "delay 20ms rate 50mbit", "delay 20ms rate 12mbit", 47.8, 11.5, 56, 54, false, false},
    Profile{"bw_10to1", "delay 20ms rate 100mbit", "delay 20ms rate 10mbit", 95.6, 9.6, 100, 96, false,
            false},
    Profile{"dual_lte", "delay 30ms 5ms distribution normal loss 0.5% rate 40mbit",
            "delay 45ms 8ms distribution normal loss 0.5% rate 25mbit", 6.6, 6.2, 59, 52, true, true},
    Profile{"fiber_lte", "delay 8ms rate 300mbit", "delay 40ms 8ms distribution normal loss 0.5% rate 30mbit",
            286.9, 2.3, 300, 272, true, true},
    Profile{"lte_starlink", "delay 35ms 8ms distribution normal rate 40mbit",
            "delay 50ms 25ms distribution normal loss 1% rate 100mbit", 34.6, 1.5, 127, 85, true, true},
    Profile{"lte_geo", "delay 35ms rate 40mbit", "delay 320ms 20ms distribution normal loss 0.5% rate 20mbit",
            38.3, 0.5, 55, 40, true, true},
    Profile{"congested", "delay 50ms 20ms distribution normal loss 2% rate 20mbit",
            "delay 60ms 25ms distribution normal loss 2% rate 15mbit", 1.3, 0.7, 32, 26, true, true},
    Profile{"adsl_seed", "delay 25ms rate 6003kbit limit 100", "delay 12ms rate 5870kbit limit 100", 5.7, 5.6,
            10.8, 10.3, false, false},
    Profile{"adsl_lte", "delay 10ms rate 20mbit limit 200", "delay 40ms rate 8mbit limit 200", 19.1, 7.7,
            25.4, 24, false, false},
};

}  // namespace

std::span<const Profile> all_profiles() {
  return kProfiles;
}

const Profile* find_profile(std::string_view name) {
  for (const Profile& profile : kProfiles) {
    if (profile.name == name) return &profile;
  }
  return nullptr;
}

LineSpec spec_a(const Profile& profile) {
  return parse_line_spec(profile.line_a).value();
}
LineSpec spec_b(const Profile& profile) {
  return parse_line_spec(profile.line_b).value();
}

}  // namespace bondd::sim

// Every number that decides about a line's rate, once: name, unit, value and why. A test or
// `sim_matrix --tune NAME=VALUE` may use others; `sim_matrix --tuning` prints the table.
#pragma once

#include <span>

namespace bondd::mlvpn {

struct Tuning {
  double startup_gain = 2.5;
  double probe_gain = 1.25;
  double fast_probe_gain = 1.6;
  double drain_gain = 0.7;
  double let_go_gain = 0.85;
  double first_rate = 1.25e6;
  double slowest = 8000;
  double target_queue_ms = 3.5;
  double most_target_queue_ms = 30;
  double ask_ms = 40;
  double queue_seen_ms = 30;
  double pause_ms = 90;
  double full_queue_ms = 40;
  double no_queue_ms = 2;
  double hardly_lossy = 0.05;
  double far_below = 16;
  double noise_ms = 15;
  double noise_jitters = 4;
  double recent_ms = 100;
  double recent_bytes = 12000;
  double outage_ms = 80;
  double slope_ms = 5;
  double slope_jitters = 4;
  double unasked_slopes = 4;
  double slower = 0.85;
  double follow_target_ms = 25;
  double follow_flight_ms = 50;
  double follow_time_ms = 250;
  double follow_least_gain = 0.3;
  double follow_most_gain = 1.25;
  double follow_seen_ms = 5;
  double steady_ms = 1500;
  double steady_spread = 1.5;
};

struct TuningField {
  const char* name;
  double Tuning::*value;
  const char* unit;
  const char* why;
};

// All fields of Tuning, in its order.
std::span<const TuningField> tuning_fields();

// What the product runs with.
inline constexpr Tuning kTuning{};

}  // namespace bondd::mlvpn

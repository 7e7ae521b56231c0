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

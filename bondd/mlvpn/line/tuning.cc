#include "bondd/mlvpn/line/tuning.h"

namespace bondd::mlvpn {
namespace {

constexpr TuningField kFields[] = {
    {"startup_gain", &Tuning::startup_gain, "x rate",
     "start-up sends faster than what came: a slow-start burst must not be spread (lesson 2)"},
    {"probe_gain", &Tuning::probe_gain, "x rate",
     "asks for more; leaves 10 ms of queue if the line has none"},
    {"fast_probe_gain", &Tuning::fast_probe_gain, "x rate",
     "after a probe that found more: five make it tenfold"},
    {"drain_gain", &Tuning::drain_gain, "x rate",
     "empties the queue of a ramp or a probe in a few round trips"},
    {"let_go_gain", &Tuning::let_go_gain, "x rate", "empties what start-up left over, not felt by the flow"},
    {"first_rate", &Tuning::first_rate, "bytes/s", "before anything is known: 10 Mbit/s"},
    {"slowest", &Tuning::slowest, "bytes/s",
     "a line is never given up to zero: something must go to measure it"},
    {"target_queue_ms", &Tuning::target_queue_ms, "ms", "keeps a steady line busy, too little to be felt"},
    {"most_target_queue_ms", &Tuning::most_target_queue_ms, "ms", "the same for a line that jitters"},
    {"ask_ms", &Tuning::ask_ms, "ms",
     "how long a probe sends more before it waits for the answer (lesson 17)"},
    {"queue_seen_ms", &Tuning::queue_seen_ms, "ms",
     "a queue is the least delay of 40 ms: seen that much later"},
    {"pause_ms", &Tuning::pause_ms, "ms",
     "after a gap this long, one far sample replaces half of the old mean"},
    {"full_queue_ms", &Tuning::full_queue_ms, "ms",
     "ends start-up at once when the rate grows no more (lesson 14)"},
    {"no_queue_ms", &Tuning::no_queue_ms, "ms", "what met less queue was not limited by the line"},
    {"hardly_lossy", &Tuning::hardly_lossy, "share", "nor was what lost less than that"},
    {"far_below", &Tuning::far_below, "x",
     "such a sample this far below the rate is an end without processor time"},
};

}  // namespace

std::span<const TuningField> tuning_fields() {
  return kFields;
}

}  // namespace bondd::mlvpn

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
    {"noise_ms", &Tuning::noise_ms, "ms", "a delay that exceeds the target by less is noise on any line"},
    {"noise_jitters", &Tuning::noise_jitters, "x jitter", "and that on one that jitters"},
    {"recent_ms", &Tuning::recent_ms, "ms",
     "over which arrivals tell the rate; 160: the queue of a falling line gets longer, 60: noise"},
    {"recent_bytes", &Tuning::recent_bytes, "bytes", "at least so much: eight full packets"},
    {"outage_ms", &Tuning::outage_ms, "ms", "without an arrival: what comes after it is measured anew"},
    {"slope_ms", &Tuning::slope_ms, "ms",
     "the delay changed by more over recent_ms: the line set the rate, not we"},
    {"slope_jitters", &Tuning::slope_jitters, "x jitter",
     "and by more than that; 2: congested falls to 11 of 26"},
    {"unasked_slopes", &Tuning::unasked_slopes, "x", "as much again when the line was not kept busy"},
    {"slower", &Tuning::slower, "x rate",
     "less arrives than that while a queue stands: the line became slower"},
    {"follow_target_ms", &Tuning::follow_target_ms, "ms",
     "of queue before a line that moves: it tells the rate"},
    {"follow_flight_ms", &Tuning::follow_flight_ms, "ms",
     "more than base and target may be in flight: 50 to 100 do"},
    {"follow_time_ms", &Tuning::follow_time_ms, "ms",
     "in which a queue that is too long is to be gone: 150 to 250 do"},
    {"follow_least_gain", &Tuning::follow_least_gain, "x rate", "something must arrive to be measured"},
    {"follow_most_gain", &Tuning::follow_most_gain, "x rate", "as a probe"},
    {"follow_seen_ms", &Tuning::follow_seen_ms, "ms", "a shorter queue proves nothing: 4 to 8 do"},
    {"steady_ms", &Tuning::steady_ms, "ms",
     "a rate that kept so long is steady; 5000: 20 ms more of queue on baseline"},
    {"steady_spread", &Tuning::steady_spread, "x", "from its least to its greatest"},
};

}  // namespace

std::span<const TuningField> tuning_fields() {
  return kFields;
}

}  // namespace bondd::mlvpn

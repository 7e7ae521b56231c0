#include "bondd/mlvpn/line/path_size.h"

#include <algorithm>
#include <utility>

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

constexpr unsigned kTries = 3;         // RFC 8899, MAX_PROBES
constexpr Duration kPatience = 100ms;  // beyond the round trip
constexpr Duration kAgainFirst = 1s;   // whether the line has become wider; twice as long each time
constexpr Duration kAgainMost = std::chrono::minutes(10);  // RFC 8899, PMTU_RAISE_TIMER

}  // namespace

void PathSize::on_confirmed(TimePoint now, std::size_t bytes) {
  if (bytes >= longest_lost_) row_ = 0;
  if (bytes <= kBase) short_passed_ = true;
  if (state_ == State::kAsk && bytes >= probe_) {
    state_ = State::kAll;
    probe_ = 0;
  }
  if (!is_narrow() || bytes <= passes_) return;
  if (bytes >= wanted_) {
    *this = PathSize();
    return;
  }
  passes_ = bytes;
  if (passes_ >= fails_) fails_ = wanted_;
  if (bytes < probe_) return;
  probe_ = 0;
  next_probe_ = found() ? now + again_ : now;
}

void PathSize::on_lost(TimePoint now, std::size_t bytes) {
  if (bytes <= kBase || !fits(bytes)) return;
  longest_lost_ = row_ == 0 ? bytes : std::max(longest_lost_, bytes);
  ++row_;
  if (row_ == kAskRow) ask(now, longest_lost_);
  if (row_ == kRow) begin_search(now);
}

void PathSize::ask(TimePoint now, std::size_t bytes) {
  if (state_ != State::kAll || bytes <= kBase) return;
  state_ = State::kAsk;
  probe_ = bytes;
  tries_ = 0;
  next_probe_ = now;
}

void PathSize::begin_search(TimePoint now) {
  if (!is_narrow()) wanted_ = longest_lost_;
  state_ = State::kNarrow;
  row_ = 0;
  passes_ = kBase;
  fails_ = longest_lost_;
  probe_ = longest_lost_;  // the first question is whether that was chance
  tries_ = 0;
  next_probe_ = now;
  again_ = kAgainFirst;
}

std::optional<std::size_t> PathSize::take_probe(TimePoint now, Duration trip) {
  if (state_ == State::kAll || now < next_probe_) return std::nullopt;
  if (state_ == State::kAsk) {
    // Only what a living line drops tells something.
    const bool lives = std::exchange(short_passed_, false);
    if (tries_ < kTries || !lives) {
      if (lives || tries_ == 0) ++tries_;
      return send_probe(now, trip);
    }
    longest_lost_ = probe_;
    begin_search(now);
  }
  if (probe_ != 0 && tries_ == kTries) probe_failed(now);
  if (now < next_probe_) return std::nullopt;
  if (probe_ == 0) {
    probe_ = found() ? wanted_ : (passes_ + fails_) / 2;
    tries_ = 0;
  }
  ++tries_;
  return send_probe(now, trip);
}

std::size_t PathSize::send_probe(TimePoint now, Duration trip) {
  next_probe_ = now + trip + kPatience;
  return probe_;
}

void PathSize::probe_failed(TimePoint now) {
  const bool asked_again = probe_ == wanted_ && found();
  fails_ = std::min(fails_, probe_);
  probe_ = 0;
  if (!found()) return;
  next_probe_ = now + again_;
  if (asked_again) again_ = std::min(2 * again_, kAgainMost);
}

}  // namespace bondd::mlvpn

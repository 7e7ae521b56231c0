#include "bondd/mlvpn/core/estimator.h"

#include <algorithm>

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kEnough = 50;   // packets for a figure
constexpr std::uint64_t kJump = 20000;  // more missing than this is a new start, not loss
constexpr auto kMinRttLife = 10s;
// Packets that do not open and whose numbers count in the next window: those after the last that opened.
constexpr std::uint64_t kMostUnopenedLater = 4;

}  // namespace

void Estimator::on_rtt(TimePoint now, Duration rtt) {
  if (!has_rtt_) {
    has_rtt_ = true;
    srtt_ = rtt;
    rttvar_ = rtt / 2;
    min_rtt_ = rtt;
    min_rtt_at_ = now;
    return;
  }
  rttvar_ = (3 * rttvar_ + std::chrono::abs(srtt_ - rtt)) / 4;
  srtt_ = (7 * srtt_ + rtt) / 8;
  if (rtt <= min_rtt_ || now - min_rtt_at_ > kMinRttLife) {
    min_rtt_ = rtt;
    min_rtt_at_ = now;
  }
}

void Estimator::on_received(TimePoint now, std::uint64_t newest) {
  if (!started_ || newest < window_start_ || newest - newest_ > kJump) {
    started_ = true;
    window_start_ = newest - 1;
    received_ = 0;
    window_opened_ = now;
  } else {
    // A silence is one long gap and must not count for many.
    const Duration gap = std::min<Duration>(now - last_heard_, 1s);
    heard_gap_ = (7 * heard_gap_ + gap) / 8;
  }
  newest_ = newest;
  last_heard_ = now;
  ++received_;
}

void Estimator::restart() {
  started_ = false;
  rx_loss_.reset();
}

void Estimator::tick(TimePoint now) {
  if (!started_) return;
  const std::uint64_t expected = newest_ - window_start_;
  if (expected < kEnough && now - window_opened_ < 10s) return;
  std::uint64_t lost = expected > received_ ? expected - received_ : 0;
  const std::uint64_t came = std::min(lost, unopened_);
  lost -= came;
  unopened_ = std::min(unopened_ - came, kMostUnopenedLater);
  if (expected >= 5) {
    const double percent = 100.0 * static_cast<double>(lost) / static_cast<double>(expected);
    rx_loss_ = rx_loss_ ? (*rx_loss_ + percent) / 2 : percent;
  }
  window_start_ = newest_;
  received_ = 0;
  window_opened_ = now;
}

}  // namespace bondd::mlvpn

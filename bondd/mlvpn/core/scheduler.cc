#include "bondd/mlvpn/core/scheduler.h"

#include <algorithm>

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

constexpr double kBurstTime = 0.003;    // s of a link's rate in one burst
constexpr double kMinBurst = 1500;      // always room for a packet
constexpr double kMaxBurst = 64000;     // one UDP_SEGMENT message
constexpr double kOutside = 28;         // IPv4 and UDP headers, for pacing
constexpr double kRecent = 8'000'000;   // bytes after which the past counts half

}  // namespace

void Scheduler::set(TimePoint now, LinkId link, Tier tier, double weight, Rate rate) {
  Lane& lane = lanes_[link];
  if (!lane.present) {
    lane = Lane{};
    lane.present = true;
    lane.filled = now;
    ids_[count_++] = link;
  }
  // Who comes back does not catch up on what it missed.
  if (lane.tier != tier && tier != Tier::kUnusable) lane.vtime = std::max(lane.vtime, vclock_);
  lane.tier = tier;
  lane.weight = std::max(weight, 1e-9);
  lane.rate = rate;
}

void Scheduler::remove(LinkId link) {
  if (!lanes_[link].present) return;
  lanes_[link].present = false;
  std::remove(ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(count_), link);
  --count_;
}

void Scheduler::set_blocked(LinkId link, bool blocked) { lanes_[link].blocked = blocked; }

Scheduler::Tier Scheduler::best_tier() const {
  Tier best = Tier::kUnusable;
  for (std::size_t i = 0; i < count_; ++i) best = std::min(best, lanes_[ids_[i]].tier);
  return best;
}

double Scheduler::burst_bytes(const Lane& lane) {
  if (lane.rate.bits_per_second == 0) return kMaxBurst;
  return std::clamp(static_cast<double>(lane.rate.bits_per_second) / 8 * kBurstTime, kMinBurst, kMaxBurst);
}

void Scheduler::refill(Lane& lane, TimePoint now) {
  const double seconds = std::chrono::duration<double>(now - lane.filled).count();
  lane.filled = now;
  lane.tokens = std::min(lane.tokens + seconds * static_cast<double>(lane.rate.bits_per_second) / 8,
                         burst_bytes(lane));
}

std::optional<Scheduler::Grant> Scheduler::choose(TimePoint now) {
  const Tier tier = best_tier();
  if (tier == Tier::kUnusable) return std::nullopt;
  Lane* best = nullptr;
  LinkId best_id = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    Lane& lane = lanes_[ids_[i]];
    if (lane.tier != tier || lane.blocked) continue;
    if (lane.rate.bits_per_second != 0) {
      refill(lane, now);
      if (lane.tokens <= 0) continue;
    }
    if (best == nullptr || lane.vtime < best->vtime) {
      best = &lane;
      best_id = ids_[i];
    }
  }
  if (best == nullptr) return std::nullopt;
  vclock_ = std::max(vclock_, best->vtime);
  const double burst = burst_bytes(*best);
  const double bytes = best->rate.bits_per_second != 0 ? std::clamp(best->tokens, 1.0, burst) : burst;
  return Grant{best_id, static_cast<std::size_t>(bytes)};
}

void Scheduler::sent(TimePoint, LinkId link, std::size_t bytes, std::size_t packets) {
  Lane& lane = lanes_[link];
  const double cost = static_cast<double>(bytes) + kOutside * static_cast<double>(packets);
  lane.vtime += cost / lane.weight;
  // A link that could not keep up for a while (blocked, out of tokens) must not
  // own all that follows.
  lane.vtime = std::max(lane.vtime, vclock_ - kMaxBurst / lane.weight);
  if (lane.rate.bits_per_second != 0) lane.tokens -= cost;
  lane.recent += cost;
  recent_total_ += cost;
  if (recent_total_ > kRecent) {
    recent_total_ /= 2;
    for (std::size_t i = 0; i < count_; ++i) lanes_[ids_[i]].recent /= 2;
  }
}

std::optional<TimePoint> Scheduler::next_time(TimePoint now) const {
  const Tier tier = best_tier();
  if (tier == Tier::kUnusable) return std::nullopt;
  std::optional<TimePoint> earliest;
  for (std::size_t i = 0; i < count_; ++i) {
    const Lane& lane = lanes_[ids_[i]];
    if (lane.tier != tier || lane.blocked) continue;
    TimePoint at = now;
    if (lane.rate.bits_per_second != 0) {
      // Wait for a small burst's worth, not for a single byte.
      const double want = std::min(burst_bytes(lane), kMinBurst);
      const double missing = want - lane.tokens;
      if (missing > 0) {
        at = lane.filled + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(
                               missing * 8 / static_cast<double>(lane.rate.bits_per_second)));
      }
    }
    if (!earliest || at < *earliest) earliest = at;
  }
  return earliest;
}

double Scheduler::share(LinkId link) const {
  return recent_total_ > 0 ? 100.0 * lanes_[link].recent / recent_total_ : 0.0;
}

}  // namespace bondd::mlvpn

// The scheduler's groups: which links are alike and share flows, and in which group a flow
// is at home.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "bondd/mlvpn/core/scheduler.h"

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

// Links that share flows: how much they may differ, and how much when they do already.
struct Alike {
  double delay_ms, jitter_ms, ratio, loss;
};
constexpr Alike kToJoin{30, 3, 2.2, 0.2}, kToStay{36, 4.5, 2.6, 0.4};
constexpr unsigned kCalmSamples = 3;
constexpr double kExact = 1.6;  // between the bounds that trains told
constexpr double kLossMs = 60;  // a percent of loss keeps flows away like so much delay
constexpr double kMostLossMs = 300;
constexpr double kHomeMs = 5;          // a flow that pauses does not move for less
constexpr double kBulkBytes = 64000;   // what a flow that sends much is judged by
constexpr double kFirstBytes = 14600;  // and one that begins with a full packet (RFC 6928)
constexpr double kSlowerLimit = 0.8;   // of the last look's
constexpr double kStandingMs = 30, kFreeMs = 5;
constexpr int kCrowded = 3;        // looks in a row with a standing queue
constexpr double kAsMuch = 0.8;    // of the rate: worth it where the way is much shorter
constexpr double kSomeMore = 1.2;  // times the rate: worth that one of several moves
constexpr double kFills = 0.5;     // of a line's rate in one look: a flow that will fill it
constexpr Duration kSettled = 5s;  // a flow that was moved stays for this long
constexpr double kTrainMs = 60;    // small packets take a detour of this length around a train

}  // namespace

// Bytes/s, from the first source that there is: the configuration, traffic, a train.
std::optional<double> Scheduler::known_rate(const Lane& lane) const {
  const double bound = static_cast<double>(lane.bound.bits_per_second) / 8;
  if (lane.control.phase() != Phase::kStartup)
    return bound > 0 ? std::min(bound, lane.control.capacity()) : lane.control.capacity();
  const double seen = lane.control.rate_seen() ? lane.control.capacity() : 0;
  if (bound > 0) return bound;
  // Where the way wobbles a train may come as if there was no line.
  if (lane.train.rate_at_least > 0 && !wobbles(lane)) return std::max(lane.train.rate_at_least, seen);
  return std::nullopt;
}

// Whether it is about the line's rate, and not only no more than that.
bool Scheduler::known_well(const Lane& lane) const {
  if (lane.bound.bits_per_second > 0 || lane.control.phase() != Phase::kStartup) return true;
  return lane.train.rate_at_least > 0 && !wobbles(lane) &&
         lane.train.rate_at_least * kExact >= lane.train.rate_at_most;
}

bool Scheduler::alike(const Lane& a, const Lane& b) const {
  const Alike& most = a.leader == b.leader ? kToStay : kToJoin;
  if (std::min(a.calm.samples, b.calm.samples) < kCalmSamples) return false;
  if (std::max(a.loss, b.loss) > most.loss) return false;
  if (std::max(a.calm.jitter_ms, b.calm.jitter_ms) > most.jitter_ms) return false;
  if (std::abs(a.calm.least_ms - b.calm.least_ms) / 2 > most.delay_ms) return false;
  if (!known_well(a) || !known_well(b)) return false;
  const auto rate_a = known_rate(a), rate_b = known_rate(b);
  return rate_a && rate_b && std::max(*rate_a, *rate_b) <= most.ratio * std::min(*rate_a, *rate_b);
}

void Scheduler::regroup(TimePoint now) {
  const Tier tier = best_tier();
  const bool weights = by_weight(tier);
  std::array<LinkId, kMaxLinks> leaders{};
  for (std::size_t i = 0; i < count_; ++i) {
    const Lane& lane = *lanes_[i];
    leaders[i] = lane.id;
    for (std::size_t k = 0; k < i && lane.tier == tier; ++k) {
      if (lanes_[k]->tier != tier || leaders[k] != lanes_[k]->id) continue;
      if (!weights && !alike(*lanes_[k], lane)) continue;
      leaders[i] = leaders[k];
      break;
    }
  }
  std::array<bool, 256> changed{};
  for (std::size_t i = 0; i < count_; ++i) {
    changed[lanes_[i]->id] = lanes_[i]->leader != leaders[i];
    lanes_[i]->leader = leaders[i];
  }
  for (Home& home : homes_) home.chosen = home.chosen && !changed[home.link];
  set_limits();
  for (std::size_t i = 0; i < count_; ++i) {
    Lane& lane = *lanes_[i];
    const bool serves = lane.leader == lane.id && lane.tier == tier;
    if (!serves && tier != Tier::kUnusable) drain(now, lane);
  }
}

// What waits for a link that does not lead a group any more goes to others.
void Scheduler::drain(TimePoint now, Lane& lane) {
  while (const auto item = lane.queue.pop()) queue_up(now, item->packet, item->bucket);
}

double Scheduler::group_rate(const Lane& leader) const {
  double rate = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    const Lane& lane = *lanes_[i];
    if (lane.leader == leader.id && lane.tier == leader.tier)
      rate += known_rate(lane).value_or(lane.control.capacity());
  }
  return rate;
}

std::size_t Scheduler::group_size(const Lane& leader) const {
  std::size_t size = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    size += static_cast<std::size_t>(lanes_[i]->leader == leader.id && lanes_[i]->tier == leader.tier);
  }
  return size;
}

std::string Scheduler::explain(LinkId link, const std::function<std::string(LinkId)>& name) const {
  const Lane* const lane = find(link);
  if (lane == nullptr || lane->tier == Tier::kUnusable) return {};
  if (lane->tier != best_tier()) return "spared: others are better";
  std::string mates;
  std::size_t others = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    if (lanes_[i]->tier != lane->tier || lanes_[i].get() == lane) continue;
    ++others;
    if (lanes_[i]->leader == lane->leader) mates += (mates.empty() ? "" : ", ") + name(lanes_[i]->id);
  }
  if (others == 0) return {};
  if (!mates.empty()) return "shares each flow with " + mates;
  return "flows of its own: its delay, rate, jitter or loss is unlike the others'";
}

Duration Scheduler::trip() const {
  const Tier tier = best_tier();
  const Lane* busiest = nullptr;
  for (std::size_t i = 0; i < count_; ++i) {
    const Lane* const lane = lanes_[i].get();
    if (lane->tier == tier && (busiest == nullptr || lane->recent > busiest->recent)) busiest = lane;
  }
  if (busiest == nullptr) return Duration::zero();
  double most = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    const Lane& lane = *lanes_[i];
    if (lane.tier == tier && lane.leader == busiest->leader) most = std::max(most, loaded_trip_ms(lane));
  }
  return from_ms(most);
}

// What may wait for a group: what its links carry in a round trip and a little more.
void Scheduler::set_limits() {
  for (std::size_t i = 0; i < count_; ++i) {
    Lane& leader = *lanes_[i];
    double rate = 0, trip = 0;
    bool measured = true;
    for (std::size_t k = 0; k < count_; ++k) {
      const Lane& lane = *lanes_[k];
      if (lane.leader != leader.id || lane.tier != leader.tier) continue;
      // Before a line is full a flow in its slow start must not lose a packet here.
      measured = measured && lane.control.phase() != Phase::kStartup;
      rate += lane.control.capacity();
      trip = std::max(trip, lane.control.rtt_ms());
    }
    const double most = static_cast<double>(most_queued_) * kTypical;
    const double bytes = measured ? std::clamp(rate * (trip + 60) / 800, 80 * kTypical, most) : most;
    // What waits already is not dropped at once for a lower limit.
    const double limit = std::max(bytes, kSlowerLimit * static_cast<double>(leader.queue.limit()));
    leader.queue.set_limit(static_cast<std::size_t>(limit), from_ms(trip));
  }
}

// What one flow gets of the group. Random loss keeps it small (Mathis et al., 1997).
double Scheduler::flow_rate(const Lane& leader) const {
  const double rate = group_rate(leader);
  if (leader.loss <= 0) return rate;
  return std::min(rate, 1.22 * kTypical * 1000 / leader.control.rtt_ms() / std::sqrt(leader.loss / 100));
}

// Whether the only flow of `from`, which sent so many bytes since the last look, is to move
// to a group that is known to carry much more, since it fills the line or will soon, or losses
// hold it up; or as much by a much shorter way.
bool Scheduler::outgrown(const Lane& from, const Lane& to, double bytes) const {
  // It was driven away, or the way here became long.
  const bool well = known_well(from) && known_well(to);
  const bool shorter = std::min(from.calm.samples, to.calm.samples) >= kCalmSamples &&
                       from.calm.least_ms > to.calm.least_ms + 2 * kToJoin.delay_ms;
  if (well && shorter && flow_rate(to) > kAsMuch * flow_rate(from)) return true;
  if (!known_rate(to) || flow_rate(to) < kMuchMore * flow_rate(from)) return false;
  if (from.crowded >= kCrowded || flow_rate(from) < group_rate(from)) return true;
  // Early, while it is still in its slow start. Where the way is longer it may have what it wants.
  const bool near = to.control.rtt_ms() < from.control.rtt_ms() + 2 * kToJoin.delay_ms;
  return near && well && bytes > kFills * group_rate(from) * std::chrono::duration<double>(kLook).count();
}

// Of several flows that fill a group, one moves to a group with more room; a single one
// only to a group that is known to carry much more.
void Scheduler::balance(TimePoint now) {
  const Tier tier = best_tier();
  struct Load {
    double flows = 0, bytes = 0;
  };
  std::array<Load, 256> loads{};  // by leader
  const auto leader_of = [&](const Home& home) -> Lane* {
    const Lane* const lane = home.chosen ? find(home.link) : nullptr;
    return lane != nullptr ? find(lane->leader) : nullptr;
  };
  for (const Home& home : homes_) {
    if (const Lane* const leader = leader_of(home); leader != nullptr && home.bytes > kLeastFlow) {
      ++loads[leader->id].flows;
      loads[leader->id].bytes += home.bytes;
    }
  }
  for (std::size_t i = 0; i < count_; ++i) {
    Lane& from = *lanes_[i];
    if (from.leader != from.id || from.tier != tier) continue;
    const double rate = group_rate(from);
    const bool standing = static_cast<double>(from.queue.bytes()) > kStandingMs / 1000 * rate;
    from.crowded = standing ? from.crowded + 1 : 0;
    const auto [flows, bytes] = loads[from.id];
    if (flows < 1 || (flows > 1 && from.crowded < kCrowded)) continue;
    for (std::size_t k = 0; k < count_; ++k) {
      const Lane& to = *lanes_[k];
      const double there = group_rate(to);
      if (k == i || to.leader != to.id || to.tier != tier || to.blocked) continue;
      if (static_cast<double>(to.queue.bytes()) > kFreeMs / 1000 * there) continue;
      const double gain = there / (loads[to.id].flows + 1) / (rate / flows);
      if (flows > 1 ? known_rate(to) && gain < kSomeMore
                    : loads[to.id].flows > 0 || !outgrown(from, to, bytes))
        continue;
      Home* smallest = nullptr;
      for (Home& home : homes_) {
        if (leader_of(home) != &from || home.bytes <= kLeastFlow || now - home.moved < kSettled) continue;
        if (smallest == nullptr || home.bytes < smallest->bytes) smallest = &home;
      }
      if (smallest == nullptr) continue;
      smallest->link = to.id;
      smallest->moved = now;
      from.crowded = 0;
      break;
    }
  }
  for (Home& home : homes_) home.bytes = 0;
}

// The group where `home`'s next packet of `size` bytes would arrive first, and what is likely to
// follow it.
LinkId Scheduler::choose_home(TimePoint now, const Home& home, std::size_t size) const {
  const Tier tier = best_tier();
  const double ahead = home.bytes > kLeastFlow ? kBulkBytes : size > kSmall ? kFirstBytes : 0;
  const Lane* best = nullptr;
  double best_score = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    const Lane& leader = *lanes_[i];
    if (leader.tier != tier || leader.leader != leader.id) continue;
    double arrival = 1e9;
    for (std::size_t k = 0; k < count_; ++k) {
      if (lanes_[k]->leader == leader.id && lanes_[k]->tier == tier && !lanes_[k]->blocked)
        arrival = std::min(arrival, arrival_ms(*lanes_[k], now) + lanes_[k]->control.jitter_ms());
    }
    const double waiting = static_cast<double>(leader.queue.bytes()) + ahead;
    double score =
        arrival + waiting * 1000 / group_rate(leader) + std::min(leader.loss * kLossMs, kMostLossMs);
    if (home.link == leader.id && home.packets != 0 && home.large) score -= kHomeMs;
    if (leader.train.bytes > 0 && ahead == 0) score += kTrainMs;
    if (best == nullptr || score < best_score) {
      best = &leader;
      best_score = score;
    }
  }
  return best != nullptr ? best->id : home.link;
}

}  // namespace bondd::mlvpn

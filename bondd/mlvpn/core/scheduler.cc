#include "bondd/mlvpn/core/scheduler.h"

#include <algorithm>
#include <utility>

#include "bondd/mlvpn/core/wire.h"

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

constexpr Duration kPacerSlack = 400us;  // a wake-up sends this much ahead
constexpr double kBurstMs = 0.2;         // advantage of the link used last
constexpr double kShortMs = 3, kShortQueueMs = 8;
constexpr double kFreely = 50;  // times the rate that is known: as good as not paced
constexpr double kMoreAtFirst = 2, kMore = 1.5;
constexpr double kMostUnknown = 200'000;  // bytes towards a line that is not known yet
constexpr double kBurstTime = 0.003;      // s of a link's rate in one burst, by weight
constexpr double kMaxBurst = 64000;       // one UDP_SEGMENT message
constexpr double kRecent = 8'000'000;     // bytes after which the past counts half
constexpr std::size_t kMaxMarks = 4096;
constexpr std::size_t kMostStaged = 256;  // on one link

// What shows that a flow is bulk, early in its slow start: where it ends that, it stays slow.
constexpr double kGrownBytes = 32000;
constexpr unsigned kYoung = 3;  // packets of a flow that may come in any order

}  // namespace

Scheduler::Scheduler(DeviceKind device, std::size_t most_queued, BufferPool& pool)
    : device_(device), most_queued_(most_queued), pool_(pool), homes_(kFlowBuckets) {}

Scheduler::Lane* Scheduler::find(LinkId link) const {
  for (std::size_t i = 0; i < count_; ++i) {
    if (lanes_[i]->id == link) return lanes_[i].get();
  }
  return nullptr;
}

void Scheduler::set(TimePoint now, LinkId link, Tier tier, double weight, Rate rate) {
  Lane* lane = find(link);
  if (lane == nullptr) {
    lanes_[count_] = std::make_unique<Lane>();
    lane = lanes_[count_++].get();
    lane->id = lane->leader = link;
    lane->next_send = now;
  }
  // Who comes back does not catch up on what it missed.
  if (lane->tier != tier && tier != Tier::kUnusable) lane->vtime = std::max(lane->vtime, vclock_);
  if (tier >= Tier::kSilent && lane->tier < Tier::kSilent) restage(*lane);
  if (lane->tier == Tier::kUnusable && tier != Tier::kUnusable) {
    lane->marks.clear();
    lane->flight.clear();
    lane->delivered = lane->landed = lane->total;
    lane->newest = lane->step = lane->older = {};
    lane->control = Line();
    lane->calm = {};
    lane->train = {};
  }
  lane->tier = tier;
  lane->weight = weight;
  lane->bound = rate;
  lane->control.set_bound(static_cast<double>(rate.bits_per_second) / 8);
  regroup(now);
}

void Scheduler::set_loss(LinkId link, double percent) {
  if (Lane* lane = find(link)) lane->loss = percent;
}

void Scheduler::remove(LinkId link) {
  for (std::size_t i = 0; i < count_; ++i) {
    if (lanes_[i]->id != link) continue;
    restage(*lanes_[i]);
    const std::unique_ptr<Lane> gone = std::move(lanes_[i]);
    std::move(lanes_.begin() + i + 1, lanes_.begin() + count_, lanes_.begin() + i);
    --count_;
    regroup(last_at_);
    drain(last_at_, *gone);
    return;
  }
}

void Scheduler::set_blocked(LinkId link, bool blocked) {
  if (Lane* lane = find(link)) {
    lane->blocked = blocked;
    if (blocked) restage(*lane);
  }
}

Scheduler::Tier Scheduler::best_tier() const {
  Tier best = Tier::kUnusable;
  for (std::size_t i = 0; i < count_; ++i) best = std::min(best, lanes_[i]->tier);
  return best;
}

bool Scheduler::by_weight(Tier tier) const {
  for (std::size_t i = 0; i < count_; ++i) {
    if (lanes_[i]->tier == tier && lanes_[i]->weight <= 0) return false;
  }
  return true;
}

double Scheduler::pace(const Lane& lane) const {
  const Line& control = lane.control;
  double rate = control.pacing_rate();
  // Nor does a clock of milliseconds measure a very short line: as long as no queue
  // shows on it, it is hardly held back.
  const bool too_short = control.least_rtt_ms() < kShortMs && control.queue_ms() < kShortQueueMs;
  if (too_short || wobbles(lane)) rate = std::max(rate, kFreely * control.capacity());
  const double bound = static_cast<double>(lane.bound.bits_per_second) / 8;
  if (bound > 0) return std::min(rate, bound);
  // Packets of a shared flow arrive in order only if it is known how long each takes.
  const bool shared = control.phase() == Phase::kStartup && group_size(*find(lane.leader)) > 1;
  return shared && lane.train.rate_at_most > 0 ? std::min(rate, lane.train.rate_at_most) : rate;
}

// Bytes/s to send at; 0 for as fast as the socket takes it.
double Scheduler::rate_of(const Lane& lane) const {
  if (lane.weight > 0 && by_weight(lane.tier)) return static_cast<double>(lane.bound.bits_per_second) / 8;
  return pace(lane);
}

// ------------------------------------------------------------------ windows

// Bytes that may be on the way. While the line is not known a flow in its slow start
// limits itself, and what delays it then ends its start too early.
double Scheduler::window(const Lane& lane) const {
  const Line& control = lane.control;
  const bool startup = control.phase() == Phase::kStartup;
  double window = control.window();
  if (control.least_rtt_ms() < kShortMs && control.queue_ms() < kShortQueueMs) window *= kFreely;
  if (wobbles(lane)) {
    // More than the line holds at its best rate, so that it can always show more.
    const double trip = std::max(lane.calm.mean_ms + kWorst * lane.calm.jitter_ms, control.least_rtt_ms());
    const double more = startup ? kMoreAtFirst : kMore;
    window = more * 1e-3 * control.capacity() * (trip + kFlightMs);
  }
  return startup ? std::max(kMostUnknown, window) : window;
}

bool Scheduler::window_open(const Lane& lane) const {
  return lane.in_flight() < window(lane);
}

bool Scheduler::ready(const Lane& lane, TimePoint now) const {
  return !lane.blocked && lane.next_send <= now + kPacerSlack && window_open(lane);
}

// When a packet numbered now would arrive over the link, in ms from now.
double Scheduler::arrival_ms(const Lane& lane, TimePoint now) const {
  const double rate = pace(lane) / 1000;
  double wait = std::max(0.0, to_ms(lane.next_send - now - kPacerSlack)) + lane.staged_bytes / rate;
  const double over = lane.in_flight() - window(lane);
  if (over > 0) wait += over / rate;
  return wait + kTypical / rate + lane.control.rtt_ms() / 2;
}

// ------------------------------------------------------------------- flows

void Scheduler::enqueue(TimePoint now, const PacketRef& packet) {
  if (now >= next_look_) {
    next_look_ = now + kLook;
    for (std::size_t i = 0; i < count_; ++i) settle_train(*lanes_[i], now);
    regroup(now);
    balance(now);
  }
  queue_up(now, packet, flow_bucket(packet.bytes(), device_, 0));
}

void Scheduler::queue_up(TimePoint now, const PacketRef& packet, FlowBucket bucket) {
  Home& home = homes_[bucket];
  const Lane* lane = home.chosen ? find(home.link) : nullptr;
  if (lane != nullptr) {
    // After a pause longer than a round trip nothing of the flow is on the way that a
    // packet on another link could overtake.
    const double idle = to_ms(now - home.last);
    const double trip = std::max(lane->control.rtt_ms(), lane->control.greatest_rtt_ms());
    const bool paused = idle > std::max(1.5 * trip, 60.0) || (home.packets < kYoung && idle > 10);
    const bool avoids = lane->train.bytes > 0 && home.bytes <= kLeastFlow;
    // The first that is large: so far there were a handshake and the like.
    const bool grows = packet.size > kSmall && !home.large;
    if (lane->tier != best_tier() || paused || avoids || grows) lane = nullptr;
    if (paused) home.large = home.judged = false;
  }
  if (lane == nullptr) {
    const LinkId chosen = choose_home(now, home, packet.size);
    if (!home.chosen || chosen != home.link) home.packets = 0;
    home.link = chosen;
    home.chosen = true;
    lane = find(chosen);
  }
  ++home.packets;
  home.bytes += packet.size;
  home.large = home.large || packet.size > kSmall;
  if (lane != nullptr && home.bytes > kGrownBytes && !home.judged) {
    home.judged = true;
    const Lane* const better = find(choose_home(now, home, packet.size));
    const Lane* const leader = find(lane->leader);
    const bool faster = better != nullptr && leader != nullptr && better != leader && known_well(*leader) &&
                        known_well(*better) && flow_rate(*better) > kMuchMore * flow_rate(*leader);
    if (faster) {
      home.link = better->id;
      home.moved = now;
      lane = better;
    }
  }
  home.last = now;
  Lane* const leader = lane != nullptr ? find(lane->leader) : nullptr;
  if (leader == nullptr) {
    ++dropped_;
    pool_.give(packet);
    return;
  }
  leader->queue.push(now, packet, bucket, [this](const PacketRef& dropped) {
    ++dropped_;
    pool_.give(dropped);
  });
}

std::size_t Scheduler::queued() const {
  std::size_t packets = staged_packets_;
  for (std::size_t i = 0; i < count_; ++i) packets += lanes_[i]->queue.packets();
  return packets;
}

// ---------------------------------------------------------------- choosing

Scheduler::Lane* Scheduler::soonest(const Lane& leader, TimePoint now) const {
  Lane* best = nullptr;
  double best_arrival = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    Lane* const lane = lanes_[i].get();
    if (lane->leader != leader.id || lane->tier != leader.tier || lane->blocked) continue;
    if (lane->staged.size() >= kMostStaged) continue;
    double arrival = arrival_ms(*lane, now);
    if (lane->id == last_link_) arrival -= kBurstMs;
    if (best == nullptr || arrival < best_arrival) {
      best = lane;
      best_arrival = arrival;
    }
  }
  return best;
}

// The next packet of the group, numbered if it takes part in the order.
std::optional<Scheduler::Staged> Scheduler::number(Lane& leader) {
  if (!returned_.empty()) {
    const Staged first = returned_.front();
    returned_.pop_front();
    --staged_packets_;
    return first;
  }
  const auto item = leader.queue.pop();
  if (!item) return std::nullopt;
  const bool shared = group_size(leader) > 1;
  return Staged{item->packet, shared ? data_seq_++ : data_seq_, shared};
}

std::optional<Scheduler::Pick> Scheduler::from_stage(Lane& lane) {
  const Staged first = lane.staged.front();
  lane.staged.pop_front();
  lane.staged_bytes -= first.packet.size;
  --staged_packets_;
  return Pick{lane.id, first.packet, first.data_seq, first.reorder};
}

std::optional<Scheduler::Pick> Scheduler::next(TimePoint now) {
  if (pick_) return pick_;
  const Tier tier = best_tier();
  if (tier == Tier::kUnusable || queued() == 0) return std::nullopt;
  for (std::size_t i = 0; i < count_; ++i) expire(*lanes_[i], now);
  pick_ = by_weight(tier) ? next_by_weight(tier, now) : next_by_arrival(tier, now);
  return pick_;
}

std::optional<Scheduler::Pick> Scheduler::next_by_weight(Tier tier, TimePoint now) {
  // What leaves at one time stays together, for one call: half a burst is the
  // advantage of the link used last.
  const auto turn = [&](const Lane& lane) {
    if (lane.id != last_link_ || now != last_at_) return lane.vtime;
    const double rate = rate_of(lane);
    const double burst = rate > 0 ? std::clamp(rate * kBurstTime, kTypical, kMaxBurst) : kMaxBurst;
    return lane.vtime - burst / 2 / lane.weight;
  };
  Lane* best = nullptr;
  std::optional<double> furthest_behind;
  for (std::size_t i = 0; i < count_; ++i) {
    Lane* const lane = lanes_[i].get();
    if (lane->tier != tier || lane->blocked || lane->next_send > now + kPacerSlack) continue;
    furthest_behind = std::min(furthest_behind.value_or(lane->vtime), lane->vtime);
    if (best == nullptr || turn(*lane) < turn(*best)) best = lane;
  }
  if (best == nullptr) return std::nullopt;
  if (!best->staged.empty()) return from_stage(*best);
  Lane& leader = *find(best->leader);
  if (leader.queue.empty() && returned_.empty()) {
    // What is staged elsewhere comes from before the weights were given.
    for (std::size_t i = 0; i < count_; ++i) restage(*lanes_[i]);
  }
  const auto first = number(leader);
  if (!first) return std::nullopt;
  vclock_ = std::max(vclock_, *furthest_behind);
  return Pick{best->id, first->packet, first->data_seq, first->reorder};
}

std::optional<Scheduler::Pick> Scheduler::next_by_arrival(Tier tier, TimePoint now) {
  for (std::size_t i = 0; i < count_; ++i) {
    Lane& lane = *lanes_[i];
    if (lane.tier == tier && !lane.staged.empty() && ready(lane, now)) return from_stage(lane);
  }
  for (std::size_t i = 0; i < count_; ++i) {
    Lane& leader = *lanes_[i];
    if (leader.tier != tier || leader.leader != leader.id) continue;
    if (auto pick = next_of_group(leader, now)) return pick;
  }
  return std::nullopt;
}

std::optional<Scheduler::Pick> Scheduler::next_of_group(Lane& leader, TimePoint now) {
  for (std::size_t i = 0; i < count_; ++i) {
    Lane& lane = *lanes_[i];
    if (lane.leader != leader.id || lane.tier != leader.tier) continue;
    if (!lane.staged.empty() || !ready(lane, now)) continue;
    if (leader.queue.empty() && returned_.empty()) return std::nullopt;
    const Lane* const first = soonest(leader, now);
    if (first != &lane) {
      // Worth it only if the faster links cannot carry all that waits until then.
      const double mine = arrival_ms(lane, now);
      double elsewhere = 0;
      for (std::size_t k = 0; k < count_; ++k) {
        const Lane& other = *lanes_[k];
        if (k == i || other.leader != leader.id || other.tier != leader.tier || other.blocked) continue;
        const double head_start = mine - arrival_ms(other, now);
        if (head_start > 0) elsewhere += head_start * pace(other) / 1000;
      }
      if (static_cast<double>(leader.queue.bytes()) + static_cast<double>(returned_.size()) * kTypical <
          elsewhere)
        continue;
    }
    while (Lane* const to = soonest(leader, now)) {
      const auto packet = number(leader);
      if (!packet) break;
      if (to == &lane) return Pick{lane.id, packet->packet, packet->data_seq, packet->reorder};
      to->staged.push_back(*packet);
      to->staged_bytes += packet->packet.size;
      ++staged_packets_;
    }
  }
  return std::nullopt;
}

void Scheduler::take(TimePoint now, std::size_t bytes) {
  Lane& lane = *find(pick_->link);
  pick_.reset();
  const double cost = static_cast<double>(bytes + kOutside);
  const Lane* const leader = find(lane.leader);
  const bool waiting = staged_packets_ != 0 || (leader != nullptr && !leader->queue.empty());
  const bool idle = !waiting || (now - lane.next_send > 2ms && !lane.was_full);
  if (idle) lane.busy_since = now;
  if (const double rate = rate_of(lane); rate > 0) {
    // A flow's burst may pass as it is where delays differ by as much anyway.
    const Duration saved = wobbles(lane) ? from_ms(kWorst * lane.calm.jitter_ms) : kPacerSlack;
    lane.next_send = std::max(lane.next_send, now - saved) + from_ms(1000 * cost / rate);
  }
  if (lane.marks.size() < kMaxMarks && (lane.marks.empty() || now - lane.marks.back().sent >= 500us)) {
    lane.marks.push_back({now, 0, lane.older, idle || lane.older.sent < lane.busy_since, 0});
    lane.flight.emplace_back(now, 0);
  }
  lane.total += cost;
  if (lane.in_flight() > kCalmBytes) lane.loaded_at = now;
  train_passed(lane, cost);
  lane.marks.back().total = lane.total;
  lane.marks.back().in_flight = lane.in_flight();
  if (!lane.flight.empty()) lane.flight.back().second = lane.total;
  lane.was_full = !window_open(lane);
  if (lane.weight > 0)
    lane.vtime = std::max(lane.vtime + cost / lane.weight, vclock_ - kMaxBurst / lane.weight);
  last_link_ = lane.id;
  last_at_ = now;
  lane.recent += cost;
  recent_total_ += cost;
  if (recent_total_ > kRecent) {
    recent_total_ /= 2;
    for (std::size_t i = 0; i < count_; ++i) lanes_[i]->recent /= 2;
  }
}

// The link carries nothing now: what waits for it goes to the others, in order.
void Scheduler::restage(Lane& lane) {
  if (pick_ && pick_->link == lane.id) {
    lane.staged.push_front({pick_->packet, pick_->data_seq, pick_->reorder});
    ++staged_packets_;
    pick_.reset();
  }
  returned_.insert(returned_.end(), lane.staged.begin(), lane.staged.end());
  lane.staged.clear();
  lane.staged_bytes = 0;
  std::ranges::sort(returned_, {}, &Staged::data_seq);
}

std::optional<PacketRef> Scheduler::surrender() {
  for (std::size_t i = 0; i < count_; ++i) restage(*lanes_[i]);
  for (std::size_t i = 0; i < count_; ++i) {
    if (const auto first = number(*lanes_[i])) return first->packet;
  }
  return std::nullopt;
}

// ------------------------------------------------------------------- facts

std::optional<TimePoint> Scheduler::next_time(TimePoint now) const {
  if (queued() == 0 && !pick_) return std::nullopt;
  const Tier tier = best_tier();
  if (tier == Tier::kUnusable) return std::nullopt;
  if (pick_) return now;
  std::optional<TimePoint> earliest;
  for (std::size_t i = 0; i < count_; ++i) {
    const Lane& lane = *lanes_[i];
    const Lane* const leader = find(lane.leader);
    if (lane.tier != tier || lane.blocked || leader == nullptr) continue;
    if (leader->queue.empty() && staged_packets_ == 0) continue;
    // A full window opens with an echo, at the latest when it expires.
    TimePoint at = std::max(now + 100us, lane.next_send - kPacerSlack / 4);
    if (!by_weight(tier) && !window_open(lane)) at = std::max(at, now + 5ms);
    // A slow link that is passed over waits for the fast one's pacer, not for itself.
    if (lane.next_send <= now + kPacerSlack && count_ > 1) at = std::max(at, now + 1ms);
    if (!earliest || at < *earliest) earliest = at;
  }
  return earliest;
}

Rate Scheduler::capacity(LinkId link) const {
  const Lane* const lane = find(link);
  const auto rate = lane != nullptr ? known_rate(*lane) : std::nullopt;
  return Rate{static_cast<std::uint64_t>(rate.value_or(0) * 8)};
}

}  // namespace bondd::mlvpn

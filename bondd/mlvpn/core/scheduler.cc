#include "bondd/mlvpn/core/scheduler.h"

#include <algorithm>
#include <utility>

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

constexpr Duration kPacerSlack = 400us;  // a wake-up sends this much ahead
constexpr double kBurstMs = 0.2;         // advantage of the link used last
constexpr double kOutside = 42;          // Ethernet, IPv4, UDP around each datagram
constexpr Duration kStep = 10ms;         // the wire counts whole milliseconds: shorter spans say nothing
constexpr double kShortMs = 3, kShortQueueMs = 8, kShortLeeway = 50;
constexpr double kJitterMs = 10;
constexpr double kMostUnknown = 200'000;  // bytes towards a line that is not known yet
constexpr double kTypical = 1500;
constexpr double kBurstTime = 0.003;   // s of a link's rate in one burst, by weight
constexpr double kMaxBurst = 64000;    // one UDP_SEGMENT message
constexpr double kRecent = 8'000'000;  // bytes after which the past counts half
constexpr std::size_t kMaxMarks = 4096;
constexpr std::size_t kMostStaged = 256;  // on one link
// An upstream peer that has nothing to send echoes once a second, so the window
// counts by time: what is older than a round trip and a little is not on the way.
constexpr double kFlightTrips = 1.2;
constexpr double kFlightMs = 15;
constexpr Duration kMarkLife = 2s;  // longer than any round trip that an echo can give

double ms(Duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}
Duration from_ms(double value) {
  return Duration(static_cast<std::int64_t>(value * 1e6));
}

}  // namespace

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
    lane->id = link;
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
    lane->control = RateControl();
  }
  lane->tier = tier;
  lane->weight = weight;
  lane->bound = rate;
  lane->control.set_bound(static_cast<double>(rate.bits_per_second) / 8);
}

void Scheduler::remove(LinkId link) {
  for (std::size_t i = 0; i < count_; ++i) {
    if (lanes_[i]->id != link) continue;
    restage(*lanes_[i]);
    std::swap(lanes_[i], lanes_[--count_]);
    lanes_[count_].reset();
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

// How much more than RateControl says: a line that jitters shows queues where none
// are, and round trips are all that there is to see. So it may have twice as much on
// the way, which bounds its queue by about a round trip.
double Scheduler::leeway(const Lane& lane) const {
  // Nor does a clock of milliseconds measure a very short line: as long as no queue
  // shows on it, it is hardly held back.
  const RateControl& control = lane.control;
  if (control.least_rtt_ms() < kShortMs && control.queue_ms() < kShortQueueMs) return kShortLeeway;
  return std::clamp(lane.control.jitter_ms() / kJitterMs, 1.0, 2.0);
}

double Scheduler::pace(const Lane& lane) const {
  const double rate = lane.control.pacing_rate() * leeway(lane);
  const double bound = static_cast<double>(lane.bound.bits_per_second) / 8;
  return bound > 0 ? std::min(rate, bound) : rate;
}

// Bytes/s to send at; 0 for as fast as the socket takes it.
double Scheduler::rate_of(const Lane& lane) const {
  if (lane.weight > 0 && by_weight(lane.tier)) return static_cast<double>(lane.bound.bits_per_second) / 8;
  return pace(lane);
}

// ----------------------------------------------------------------- echoes

// Forgets what is too old to be on the way any more.
void Scheduler::expire(Lane& lane, TimePoint now) const {
  const double trip = std::max(lane.control.rtt_ms(), lane.control.greatest_rtt_ms());
  const TimePoint landed = now - from_ms(kFlightTrips * trip + kFlightMs);
  for (; !lane.flight.empty() && lane.flight.front().first < landed; lane.flight.pop_front()) {
    lane.landed = std::max(lane.landed, lane.flight.front().second);
  }
  while (!lane.marks.empty() && lane.marks.front().sent < now - kMarkLife) lane.marks.pop_front();
}

void Scheduler::on_echo(TimePoint now, LinkId link, Duration rtt) {
  Lane* const lane = find(link);
  if (lane == nullptr) return;
  const TimePoint sent = now - rtt;
  if (lane->marks.empty() || lane->marks.front().sent > sent) {
    if (!lane->control.measured()) lane->control.seed_rtt(std::max(ms(rtt), 0.5));
    return;
  }
  Mark newest = lane->marks.front();
  while (!lane->marks.empty() && lane->marks.front().sent <= sent) {
    newest = lane->marks.front();
    lane->marks.pop_front();
  }
  lane->delivered = std::max(lane->delivered, newest.total);
  lane->landed = std::max(lane->landed, lane->delivered);
  RateControl::Ack ack;
  ack.now = now;
  ack.sent = newest.sent;
  ack.one_way_ms = ack.rtt_ms = std::max(ms(rtt), 0.5);
  ack.delivered = lane->delivered;
  ack.idle = newest.idle;
  if (newest.before.at != TimePoint{}) {
    const double span = std::max(ms(now - newest.before.at), ms(newest.sent - newest.before.sent));
    if (span > 5) ack.rate = (lane->delivered - newest.before.delivered) * 1000 / span;
  }
  lane->control.on_ack(ack);
  lane->newest = {now, newest.sent, lane->delivered};
  if (now - lane->step.at >= kStep) {
    lane->older = lane->step;
    lane->step = lane->newest;
  }
}

// ---------------------------------------------------------------- choosing

// Bytes that may be on the way. While the line is not known a flow in its slow start
// limits itself, and what delays it then ends its start too early.
double Scheduler::window(const Lane& lane) const {
  if (lane.control.phase() == RateControl::Phase::kStartup)
    return std::max(kMostUnknown, lane.control.window() * leeway(lane));
  return lane.control.window() * leeway(lane);
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
  double wait = std::max(0.0, ms(lane.next_send - now - kPacerSlack)) + lane.staged_bytes / rate;
  const double over = lane.in_flight() - window(lane);
  if (over > 0) wait += over / rate;
  return wait + kTypical / rate + lane.control.rtt_ms() / 2;
}

Scheduler::Lane* Scheduler::soonest(Tier tier, TimePoint now) const {
  Lane* best = nullptr;
  double best_arrival = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    Lane* const lane = lanes_[i].get();
    if (lane->tier != tier || lane->blocked || lane->staged.size() >= kMostStaged) continue;
    double arrival = arrival_ms(*lane, now);
    if (lane->id == last_link_) arrival -= kBurstMs;
    if (best == nullptr || arrival < best_arrival) {
      best = lane;
      best_arrival = arrival;
    }
  }
  return best;
}

Scheduler::Staged Scheduler::number() {
  if (!returned_.empty()) {
    const Staged first = returned_.front();
    returned_.pop_front();
    --staged_packets_;
    return first;
  }
  return {ingress_.pop(), data_seq_++};
}

std::optional<Scheduler::Pick> Scheduler::from_stage(Lane& lane) {
  const Staged first = lane.staged.front();
  lane.staged.pop_front();
  lane.staged_bytes -= first.packet.size;
  --staged_packets_;
  return Pick{lane.id, first.packet, first.data_seq};
}

std::optional<Scheduler::Pick> Scheduler::next(TimePoint now) {
  if (pick_) return pick_;
  const Tier tier = best_tier();
  if (tier == Tier::kUnusable || (ingress_.empty() && staged_packets_ == 0)) return std::nullopt;
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
  if (ingress_.empty() && returned_.empty()) {
    // What is staged elsewhere comes from before the weights were given.
    for (std::size_t i = 0; i < count_; ++i) restage(*lanes_[i]);
    if (returned_.empty()) return std::nullopt;
  }
  vclock_ = std::max(vclock_, *furthest_behind);
  const Staged first = number();
  return Pick{best->id, first.packet, first.data_seq};
}

std::optional<Scheduler::Pick> Scheduler::next_by_arrival(Tier tier, TimePoint now) {
  for (std::size_t i = 0; i < count_; ++i) {
    Lane& lane = *lanes_[i];
    if (lane.tier == tier && !lane.staged.empty() && ready(lane, now)) return from_stage(lane);
  }
  for (std::size_t i = 0; i < count_; ++i) {
    Lane& lane = *lanes_[i];
    if (lane.tier != tier || !lane.staged.empty() || !ready(lane, now)) continue;
    if (ingress_.empty() && returned_.empty()) return std::nullopt;
    const Lane* const first = soonest(tier, now);
    if (first != &lane) {
      // Worth it only if the faster links cannot carry all that waits until then.
      const double mine = arrival_ms(lane, now);
      double elsewhere = 0;
      for (std::size_t k = 0; k < count_; ++k) {
        if (k == i || lanes_[k]->tier != tier || lanes_[k]->blocked) continue;
        const double head_start = mine - arrival_ms(*lanes_[k], now);
        if (head_start > 0) elsewhere += head_start * pace(*lanes_[k]) / 1000;
      }
      if (static_cast<double>(ingress_.size() + returned_.size()) * kTypical < elsewhere) continue;
    }
    while (!ingress_.empty() || !returned_.empty()) {
      Lane* const to = soonest(tier, now);
      if (to == nullptr) break;
      const Staged packet = number();
      if (to == &lane) return Pick{lane.id, packet.packet, packet.data_seq};
      to->staged.push_back(packet);
      to->staged_bytes += packet.packet.size;
      ++staged_packets_;
    }
  }
  return std::nullopt;
}

void Scheduler::take(TimePoint now, std::size_t bytes) {
  Lane& lane = *find(pick_->link);
  pick_.reset();
  const double cost = static_cast<double>(bytes) + kOutside;
  const bool waiting = !ingress_.empty() || staged_packets_ != 0;
  const bool idle = !waiting || (now - lane.next_send > 2ms && !lane.was_full);
  if (idle) lane.busy_since = now;
  if (const double rate = rate_of(lane); rate > 0) {
    lane.next_send = std::max(lane.next_send, now - kPacerSlack) + from_ms(1000 * cost / rate);
  }
  if (lane.marks.size() < kMaxMarks && (lane.marks.empty() || now - lane.marks.back().sent >= 500us)) {
    lane.marks.push_back({now, 0, lane.older, idle || lane.older.sent < lane.busy_since});
    lane.flight.emplace_back(now, 0);
  }
  lane.total += cost;
  lane.marks.back().total = lane.total;
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
    lane.staged.push_front({pick_->packet, pick_->data_seq});
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
  if (returned_.empty() && ingress_.empty()) return std::nullopt;
  return number().packet;
}

// ------------------------------------------------------------------- facts

std::optional<TimePoint> Scheduler::next_time(TimePoint now) const {
  if (ingress_.empty() && staged_packets_ == 0 && !pick_) return std::nullopt;
  const Tier tier = best_tier();
  if (tier == Tier::kUnusable) return std::nullopt;
  if (pick_) return now;
  std::optional<TimePoint> earliest;
  for (std::size_t i = 0; i < count_; ++i) {
    const Lane& lane = *lanes_[i];
    if (lane.tier != tier || lane.blocked) continue;
    // A full window opens with an echo, at the latest when it expires.
    TimePoint at = std::max(now + 100us, lane.next_send - kPacerSlack / 4);
    if (!by_weight(tier) && !window_open(lane)) at = std::max(at, now + 5ms);
    // A slow link that is passed over waits for the fast one's pacer, not for itself.
    if (lane.next_send <= now + kPacerSlack && count_ > 1) at = std::max(at, now + 1ms);
    if (!earliest || at < *earliest) earliest = at;
  }
  return earliest;
}

std::size_t Scheduler::queue_limit() const {
  double rate = 0, trip = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    const Lane& lane = *lanes_[i];
    if (lane.tier >= Tier::kSilent) continue;
    if (!lane.control.measured()) return ingress_.capacity();
    rate += lane.control.capacity();
    trip = std::max(trip, lane.control.rtt_ms());
  }
  const double bytes = rate * (trip + 60) / 1000;
  return std::clamp<std::size_t>(static_cast<std::size_t>(bytes / kTypical), 64, ingress_.capacity());
}

double Scheduler::share(LinkId link) const {
  const Lane* const lane = find(link);
  return lane != nullptr && recent_total_ > 0 ? 100.0 * lane->recent / recent_total_ : 0.0;
}

Rate Scheduler::capacity(LinkId link) const {
  const Lane* const lane = find(link);
  if (lane == nullptr || !lane->control.measured()) return {};
  return Rate{static_cast<std::uint64_t>(lane->control.capacity() * 8)};
}

}  // namespace bondd::mlvpn

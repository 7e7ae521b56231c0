#include "bondd/mlvpn/core/sender.h"

#include <algorithm>

#include "bondd/mlvpn/core/brain_trace.h"
#include "bondd/mlvpn/core/sender_link.h"

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

constexpr double kBurstMs = 0.2;                  // advantage of the link used last
constexpr double kSparseDebtMs = 15;              // small flows may overdraw the pacer by so much
constexpr auto kProbeInterval = 150ms;            // towards a silent link
constexpr std::uint64_t kNumbersSkipped = 32768;  // by a new session: twice FlowOrder's horizon

}  // namespace

Sender::Sender(const SenderConfig& config, BufferPool& pool)
    : config_(config),
      pool_(pool),
      queue_({config.device, config.office, config.hash_seed}),
      flow_numbers_(kFlowBuckets),
      flow_staged_(kFlowBuckets) {
  queue_.set_limit(std::min<std::size_t>(config.most_queued_bytes, 1 << 20));
}

Sender::~Sender() = default;

Sender::Link* Sender::find(LinkId link) const {
  for (const auto& l : links_) {
    if (l->id == link) return l.get();
  }
  return nullptr;
}

Sender::Link* Sender::find_flow(std::uint32_t flow_id) const {
  for (const auto& l : links_) {
    if (l->flow_id == flow_id) return l.get();
  }
  return nullptr;
}

void Sender::add_link(LinkId link, std::uint32_t flow_id, double bound, bool fallback) {
  auto added = std::make_unique<Link>(*config_.tuning);
  added->flow_id = flow_id;
  added->id = link;
  added->fallback = fallback;
  added->rate.set_bound(bound);
  links_.push_back(std::move(added));
}

void Sender::update_link(LinkId link, double bound, bool fallback) {
  if (Link* l = find(link)) {
    l->rate.set_bound(bound);
    l->fallback = fallback;
  }
}

void Sender::set_flow(LinkId link, std::uint32_t flow_id) {
  if (Link* l = find(link)) l->flow_id = flow_id;
}

void Sender::remove_link(TimePoint now, LinkId link) {
  set_usable(now, link, false);
  std::erase_if(links_, [&](const auto& l) { return l->id == link; });
}

void Sender::set_usable(TimePoint now, LinkId link, bool usable) {
  Link* l = find(link);
  if (l == nullptr || l->usable == usable) return;
  l->usable = usable;
  l->silent = false;
  l->last_progress = now;
  l->next_send = now;
  if (usable) return;
  put_back(link);
  for (Outstanding& packet : l->outstanding) {
    if (packet.open) lose(now, *l, packet, true);
  }
  trim(*l);
  restage(*l);
}

void Sender::set_blocked(LinkId link, bool blocked) {
  if (Link* l = find(link)) l->blocked = blocked;
}

void Sender::seed_rtt(LinkId link, double value) {
  if (Link* l = find(link)) l->rate.seed_rtt(value);
}

// What was to leave by `link` and has not: its packet is sent first by the next link.
void Sender::put_back(LinkId link) {
  if (copy_ && copy_->link == link) copy_.reset();
  if (!departing_ || departing_->link != link) return;
  if (departing_->kind == Departure::Kind::kData) {
    repairs_.push_front(departing_data_);
    ++kept_packets_;
  }
  departing_.reset();
}

// Gives a packet's buffer back: a copy that still is to leave must not take what is in it next.
void Sender::release(const PacketRef& packet) {
  if (copy_ && copy_->packet.index == packet.index) copy_.reset();
  if (departing_ && departing_->kind == Departure::Kind::kCopy && departing_->packet.index == packet.index)
    departing_.reset();
  pool_.give(packet);
}

void Sender::reset_session(TimePoint now) {
  if (departing_ && departing_->kind == Departure::Kind::kData) pool_.give(departing_data_.packet);
  departing_.reset();
  copy_.reset();
  for (const auto& link : links_) {
    for (Outstanding& packet : link->outstanding) {
      if (packet.open && packet.data) pool_.give(packet.payload.packet);
      if (packet.open && packet.data) --kept_packets_;
    }
    link->outstanding.clear();
    link->in_flight = 0;
    link->any_report = link->any_timed = false;
    link->silent = false;
    link->last_progress = now;
    for (const Data& data : link->staged) pool_.give(data.packet);
    staged_packets_ -= link->staged.size();
    link->staged.clear();
    link->staged_bytes = 0;
  }
  for (const Data& data : repairs_) pool_.give(data.packet);
  kept_packets_ = 0;
  repairs_.clear();
  // Never from the start again: the peer need not know of this. Beyond its horizon, so that a
  // receiver of any version goes on from there at once.
  for (std::uint64_t& number : flow_numbers_) number += kNumbersSkipped;
  std::ranges::fill(flow_staged_, 0);
  clock_origin_us_.reset();
}

void Sender::enqueue(TimePoint now, const PacketRef& packet) {
  const FlowBucket bucket = flow_bucket(packet.bytes(), config_.device, config_.hash_seed);
  if (config_.device == DeviceKind::kTap) return push(now, packet, bucket);
  const AckFilter::Verdict verdict = acks_.handle(now, packet, bucket, !queue_.empty());
  if (verdict.dropped) pool_.give(*verdict.dropped);
  if (verdict.first) push(now, *verdict.first, bucket);
  if (verdict.second) push(now, *verdict.second, bucket);
}

void Sender::push(TimePoint now, const PacketRef& packet, FlowBucket bucket) {
  queue_.push(now, packet, bucket, [this](const PacketRef& dropped) { pool_.give(dropped); });
}

bool Sender::ready(const Link& link, TimePoint now) const {
  return link.usable && !link.silent && !link.blocked && link.next_send <= now + kPacerSlack &&
         (link.in_flight < link.rate.window() || link.in_flight <= 0);
}

// When a packet given to `link` now would arrive, in ms from now; comparable between links.
double Sender::arrival_ms(const Link& link, TimePoint now, std::size_t bytes, bool behind_staged) const {
  const double rate = link.rate.pacing_rate() / 1000;  // bytes/ms
  double wait = std::max(0.0, to_ms(link.next_send - now - kPacerSlack));
  if (behind_staged) {
    wait += static_cast<double>(link.staged_bytes) / rate;
    const double over = link.in_flight - link.rate.window();
    if (over > 0) wait += over / rate;
  }
  // A link without a report yet cannot be compared: behind all that can.
  const double way = link.rate.measured() ? link.rate.one_way_ms() : 1000 + link.rate.rtt_ms();
  return wait + static_cast<double>(bytes) / rate + way;
}

Sender::Link* Sender::soonest(TimePoint now, std::size_t bytes, bool behind_staged) const {
  Link* best = nullptr;
  double best_arrival = 0;
  bool too_long = false;
  for (const bool fallback : {false, true}) {
    for (const auto& link : links_) {
      if (!link->usable || link->silent || link->blocked || link->fallback != fallback) continue;
      if (!link->fits(bytes)) {
        too_long = true;
        continue;
      }
      double arrival = arrival_ms(*link, now, bytes, behind_staged);
      if (link->id == last_link_) arrival -= kBurstMs;  // bursts of a call, not packets in turn
      if (best == nullptr || arrival < best_arrival) {
        best = link.get();
        best_arrival = arrival;
      }
    }
    if (best != nullptr) return best;
  }
  // A long packet waits for a link that carries it, though its socket is full now.
  if (too_long) {
    for (const auto& link : links_) {
      if (link->usable && !link->silent && link->blocked && link->fits(bytes)) return link.get();
    }
  }
  // Better into a silent link than nowhere: into the one that answered last.
  for (const auto& link : links_) {
    if (!link->usable || link->blocked) continue;
    if (best == nullptr || link->last_progress > best->last_progress) best = link.get();
  }
  return best;
}

// Whether some link carries that is not for emergencies only.
bool Sender::others_carry() const {
  return std::ranges::any_of(links_, [](const auto& l) { return l->usable && !l->silent && !l->fallback; });
}

std::optional<LinkId> Sender::best_link(TimePoint now, std::optional<LinkId> except) const {
  const Link* best = nullptr;
  const bool spare_fallback = others_carry();
  for (const auto& link : links_) {
    if (!link->usable || link->silent || link->id == except || (link->fallback && spare_fallback)) continue;
    if (best == nullptr || arrival_ms(*link, now, kSmall, false) < arrival_ms(*best, now, kSmall, false)) {
      best = link.get();
    }
  }
  if (best == nullptr) return std::nullopt;
  return best->id;
}

std::optional<Departure> Sender::next(TimePoint now) {
  if (departing_) return departing_;
  if (copy_) {
    departing_ = copy_;
    departing_data_ = {};
    copy_.reset();
    return departing_;
  }
  if (auto departure = next_probe(now)) return departure;
  if (auto departure = next_sparse(now)) return departure;
  if (auto departure = next_repair(now)) return departure;
  if (auto departure = next_staged(now)) return departure;
  return next_queued(now);
}

std::optional<Departure> Sender::depart(TimePoint now, Link& link, Data data) {
  if (data.first_sent == TimePoint{}) data.first_sent = now;
  departing_ = Departure{Departure::Kind::kData, link.id, data.packet, data.data_seq};
  departing_data_ = data;
  return departing_;
}

std::optional<std::size_t> Sender::take_size_probe(TimePoint now, Link& link) {
  const auto due = link.size.next_probe();
  if (link.silent || !due || *due > now) return std::nullopt;
  const bool was_narrow = link.size.is_narrow();
  const auto length = link.size.take_probe(now, from_ms(link.rate.rtt_ms() + 4 * link.rate.jitter_ms()));
  // What waits for the line may be longer than it carries.
  if (!was_narrow && link.size.is_narrow()) restage(link);
  return length;
}

std::optional<Departure> Sender::next_probe(TimePoint now) {
  for (const auto& link : links_) {
    if (!link->usable || link->blocked) continue;
    if (const auto length = take_size_probe(now, *link)) {
      departing_ = Departure{Departure::Kind::kProbe, link->id, {}, 0, *length};
      departing_data_ = {};
      return departing_;
    }
    const bool due = link->silent && link->next_probe <= now;
    if (!due && !link->probe_wanted) continue;
    link->probe_wanted = false;
    link->next_probe = now + kProbeInterval;
    departing_ = Departure{Departure::Kind::kProbe, link->id, {}, 0};
    departing_data_ = {};
    return departing_;
  }
  return std::nullopt;
}

Sender::Data Sender::take_queued() {
  const auto item = queue_.pop();
  // Behind its own staged packets, but for a flow that is rather out of order than late.
  const bool sparse = item->sparse && (item->delicate || flow_staged_[item->bucket] == 0);
  return {
      item->packet, pack_flow_seq({item->bucket, item->delicate, flow_numbers_[item->bucket]++}), {}, sparse};
}

// Packets of flows that keep no queue leave at once, before all others.
std::optional<Departure> Sender::next_sparse(TimePoint now) {
  if (!queue_.sparse_next()) return std::nullopt;
  Link* link = soonest(now, kSmall, false);
  if (link == nullptr) return std::nullopt;
  if (to_ms(link->next_send - now) > kSparseDebtMs) return std::nullopt;
  Data data = take_queued();
  if (!data.sparse) {  // its flow has packets staged: behind them
    link = soonest(now, data.packet.size, true);
    stage(*link, data);
    return std::nullopt;
  }
  // A full-size packet has the same way as bulk, so that a lone flow stays in order.
  if (data.packet.size > kSmall) {
    Link* const bulk = soonest(now, data.packet.size, true);
    if (!ready(*bulk, now) && !bulk->silent) {
      stage(*bulk, data);
      return std::nullopt;
    }
    link = bulk;
  }
  return depart(now, *link, data);
}

std::optional<Departure> Sender::next_repair(TimePoint now) {
  while (!repairs_.empty() && now - repairs_.front().first_sent > kRepairFor) {
    release(repairs_.front().packet);
    --kept_packets_;
    repairs_.pop_front();
  }
  if (repairs_.empty()) return std::nullopt;
  Link* const link = soonest(now, repairs_.front().packet.size, false);
  if (link == nullptr || !ready(*link, now)) return std::nullopt;
  const Data data = repairs_.front();
  repairs_.pop_front();
  --kept_packets_;
  return depart(now, *link, data);
}

std::optional<Departure> Sender::next_staged(TimePoint now) {
  if (staged_packets_ == 0) return std::nullopt;
  for (const auto& link : links_) {
    if (link->staged.empty() || !ready(*link, now)) continue;
    const Data data = link->staged.front();
    link->staged.pop_front();
    link->staged_bytes -= data.packet.size;
    --staged_packets_;
    --flow_staged_[unpack_flow_seq(data.data_seq).bucket];
    return depart(now, *link, data);
  }
  return std::nullopt;
}

void Sender::stage(Link& link, Data data) {
  ++flow_staged_[unpack_flow_seq(data.data_seq).bucket];
  ++staged_packets_;
  link.staged_bytes += data.packet.size;
  link.staged.push_back(data);
}

// Of the packet that is next in the queue. While all links carry all sizes, a typical one.
std::size_t Sender::next_size() {
  constexpr std::size_t kTypical = 1400;
  const bool narrow = std::ranges::any_of(links_, [](const auto& link) { return link->size.is_narrow(); });
  return narrow ? queue_.next_size() : kTypical;
}

// Hands packets out in the order of their arrival until one falls to a link that can
// take it now.
std::optional<Departure> Sender::next_queued(TimePoint now) {
  if (queue_.empty()) return std::nullopt;
  for (const auto& candidate : links_) {
    if (!candidate->staged.empty() || !ready(*candidate, now)) continue;
    const std::size_t size = next_size();
    if (!candidate->fits(size)) continue;
    const Link* const first = soonest(now, size, true);
    if (first != candidate.get()) {
      // Worth it only if the faster links cannot carry all that waits until then.
      const double mine = arrival_ms(*candidate, now, size, true);
      double elsewhere = 0;
      for (const auto& link : links_) {
        if (link == candidate || !link->usable || link->silent || link->fallback || !link->fits(size))
          continue;
        const double head_start = mine - arrival_ms(*link, now, size, true);
        if (head_start > 0) elsewhere += head_start * link->rate.pacing_rate() / 1000;
      }
      if (candidate->fallback || static_cast<double>(queue_.bytes()) < elsewhere) continue;
    }
    while (!queue_.empty()) {
      Link* const link = soonest(now, next_size(), true);
      Data data = take_queued();
      if (link == candidate.get()) return depart(now, *link, data);
      stage(*link, data);
    }
  }
  return std::nullopt;
}

void Sender::restage(Link& link) {
  std::deque<Data> staged;
  staged.swap(link.staged);
  link.staged_bytes = 0;
  staged_packets_ -= staged.size();
  // They are older than what other links have staged: to be sent first.
  for (Data& data : staged) {
    --flow_staged_[unpack_flow_seq(data.data_seq).bucket];
    data.first_sent = TimePoint{};
    repairs_.push_back(data);
    repairs_.back().first_sent = link.last_progress;
    ++kept_packets_;
  }
  std::ranges::stable_sort(repairs_, {}, [](const Data& d) { return unpack_flow_seq(d.data_seq).number; });
}

void Sender::sent(TimePoint now, std::uint64_t seq, std::size_t bytes) {
  const Departure departure = *departing_;
  departing_.reset();
  last_link_ = departure.link;
  if (config_.trace != nullptr) config_.trace->on_departure(now, departure.link, departure.data_seq);
  Link& link = *find(departure.link);
  const double size = static_cast<double>(bytes + kOutside);
  const bool waiting = !queue_.empty() || staged_packets_ != 0 || !repairs_.empty();
  const bool idle = !waiting || (now - link.next_send > 2ms && !link.was_full);
  link.next_send =
      std::max(link.next_send, now - kPacerSlack) + from_ms(1000 * size / link.rate.pacing_rate());
  Outstanding packet;
  packet.sent = now;
  packet.seq = seq;
  packet.bytes = static_cast<std::uint32_t>(size);
  if (idle) link.busy_since = now;
  // Measured from before the link was last idle, a rate says little.
  packet.idle = idle || link.newest_sent < link.busy_since;
  packet.light = link.in_flight < 4000;
  packet.rate_valid = link.in_flight > 0 && link.any_report;
  packet.delivered = link.delivered;
  packet.arrived_us = link.newest_arrived_us;
  packet.newest_sent = link.newest_sent;
  if (departure.kind == Departure::Kind::kData) {
    const bool small = departing_data_.sparse && departure.packet.size <= kSmall;
    if (!waiting || small) plan_copy(now, link, departure, small);
    last_data_ = now;
    if (kept_packets_ < config_.most_outstanding) {
      packet.data = true;
      packet.payload = departing_data_;
      ++kept_packets_;
    } else {
      pool_.give(departing_data_.packet);
    }
  }
  link.in_flight += size;
  packet.in_flight = link.in_flight;
  link.was_full = link.in_flight >= link.rate.window();
  link.outstanding.push_back(packet);
}

// Nothing waits: the other links' room is free for a second copy of what just left. Small
// packets of flows that send little cost so little that they need no room.
void Sender::plan_copy(TimePoint now, const Link& link, const Departure& departure, bool small) {
  if (!config_.repair || kept_packets_ >= config_.most_outstanding) return;
  if (link.loss < kCopyLoss && link.rate.jitter_ms() < kCopyJitterMs) return;
  const Link* best = nullptr;
  double best_arrival = 0;
  for (const auto& other : links_) {
    if (other.get() == &link || other->fallback || !other->rate.measured()) continue;
    if (!other->fits(departure.packet.size)) continue;
    if (small) {
      if (!other->usable || other->silent || other->blocked) continue;
      if (to_ms(other->next_send - now) > kSparseDebtMs) continue;
    } else {
      if (!ready(*other, now) || other->next_send > now) continue;
      if (other->in_flight > 0.8 * other->rate.window()) continue;
    }
    const double arrival = arrival_ms(*other, now, departure.packet.size, true);
    // Later than a repair would come it is of no use.
    if (arrival > arrival_ms(link, now, departure.packet.size, true) + 1.5 * link.rate.rtt_ms()) continue;
    if (best == nullptr || arrival < best_arrival) {
      best = other.get();
      best_arrival = arrival;
    }
  }
  if (best != nullptr)
    copy_ = Departure{Departure::Kind::kCopy, best->id, departure.packet, departure.data_seq};
}

void Sender::sent_control(TimePoint now, LinkId id, std::uint64_t seq, std::size_t bytes) {
  Link* const link = find(id);
  if (link == nullptr) return;
  const double size = static_cast<double>(bytes + kOutside);
  // At most half of the line's time: nothing holds these packets up, so they must not keep
  // data from leaving.
  const Duration most = (now - link->last_control) / 2;
  link->last_control = now;
  link->next_send = std::max(link->next_send, now - kPacerSlack) +
                    std::min<Duration>(from_ms(1000 * size / link->rate.pacing_rate()), most);
  // Not part of the flight: a report elicits no report, so its fate may stay unknown.
  Outstanding packet;
  packet.sent = now;
  packet.seq = seq;
  packet.bytes = 0;
  packet.idle = true;
  if (!link->outstanding.empty()) link->outstanding.push_back(packet);
}

}  // namespace bondd::mlvpn

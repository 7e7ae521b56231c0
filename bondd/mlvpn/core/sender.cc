#include "bondd/mlvpn/core/sender.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

constexpr auto kPacerSlack = 400us;         // a wake-up sends this much ahead
constexpr double kBurstMs = 0.2;            // advantage of the link used last
constexpr double kSparseDebtMs = 15;        // small flows may overdraw the pacer by so much
constexpr std::uint64_t kReorderLimit = 3;  // numbers reported above a missing one
constexpr auto kProbeInterval = 150ms;      // towards a silent link
constexpr auto kFirstProbes = 100ms;        // until the first report
constexpr auto kRefresh = 400ms;            // between measurements of a link without traffic
constexpr auto kRepairFor = 1500ms;         // then a packet is nobody's any more
constexpr double kLossBefore = 0.005;       // of a line that has not proved itself
constexpr double kCopyLoss = 0.001;         // from here on spare room carries copies
constexpr double kCopyJitterMs = 3;
constexpr std::size_t kFraming = 42;  // Ethernet, IPv4, UDP around each datagram
constexpr std::size_t kSmall = 200;

double ms(Duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}
Duration from_ms(double value) {
  return Duration(static_cast<std::int64_t>(value * 1e6));
}

}  // namespace

struct Sender::Link {
  LinkId id = 0;
  std::uint32_t flow_id = 0;
  bool blocked = false;
  bool usable = false, fallback = false, silent = false;
  RateControl rate;
  std::deque<Outstanding> outstanding;  // by sequence number, gaps allowed
  std::deque<Data> staged;
  std::size_t staged_bytes = 0;
  double in_flight = 0;  // bytes
  double delivered = 0;
  std::uint32_t newest_arrived_us = 0;
  TimePoint newest_sent{};
  std::uint64_t highest_reported = 0;
  bool any_report = false;
  TimePoint next_send{}, busy_since{};
  TimePoint last_progress{};
  TimePoint next_probe{};
  bool probe_wanted = false;
  bool was_full = false;      // the window, not the pacer, held this link back
  double loss = kLossBefore;  // moving share
  std::uint64_t repaired = 0;
  double carried = 0, share_bytes = 0;  // DATA bytes since shares_at_, and before
};

Sender::Sender(const SenderConfig& config, BufferPool& pool)
    : config_(config), pool_(pool), flow_numbers_(kFlowBuckets), flow_staged_(kFlowBuckets) {
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
  auto added = std::make_unique<Link>();
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

void Sender::reset_session(TimePoint now) {
  for (const auto& link : links_) {
    for (Outstanding& packet : link->outstanding) {
      if (packet.open && packet.data) pool_.give(packet.payload.packet);
      if (packet.open && packet.data) --kept_packets_;
    }
    link->outstanding.clear();
    link->in_flight = 0;
    link->any_report = false;
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
  std::ranges::fill(flow_numbers_, 0);
  std::ranges::fill(flow_staged_, 0);
  clock_origin_us_.reset();
}

void Sender::enqueue(TimePoint now, const PacketRef& packet) {
  const FlowBucket bucket = flow_bucket(packet.bytes(), config_.device, config_.hash_seed);
  if (!config_.thin_acks || config_.device == DeviceKind::kTap) return push(now, packet, bucket);
  const AckFilter::Verdict verdict = acks_.handle(now, packet, bucket);
  if (verdict.dropped) pool_.give(*verdict.dropped);
  if (verdict.first) push(now, *verdict.first, bucket);
  if (verdict.second) push(now, *verdict.second, bucket);
}

void Sender::push(TimePoint now, const PacketRef& packet, FlowBucket bucket) {
  queue_.push(now, packet, bucket, [this](const PacketRef& dropped) { pool_.give(dropped); });
}

std::size_t Sender::budget() const {
  constexpr std::size_t kReserve = 1024;  // for what is received, and for sealing
  const std::size_t free = pool_.free_buffers();
  return free > kReserve ? free - kReserve : 0;
}

bool Sender::ready(const Link& link, TimePoint now) const {
  return link.usable && !link.silent && !link.blocked && link.next_send <= now + kPacerSlack &&
         (link.in_flight < link.rate.window() || link.in_flight <= 0);
}

// When a packet given to `link` now would arrive, in ms from now; comparable between links.
double Sender::arrival_ms(const Link& link, TimePoint now, std::size_t bytes, bool behind_staged) const {
  const double rate = link.rate.pacing_rate() / 1000;  // bytes/ms
  double wait = std::max(0.0, ms(link.next_send - now - kPacerSlack));
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
  for (const bool fallback : {false, true}) {
    for (const auto& link : links_) {
      if (!link->usable || link->silent || link->blocked || link->fallback != fallback) continue;
      double arrival = arrival_ms(*link, now, bytes, behind_staged);
      if (link->id == last_link_) arrival -= kBurstMs;  // bursts of a call, not packets in turn
      if (best == nullptr || arrival < best_arrival) {
        best = link.get();
        best_arrival = arrival;
      }
    }
    if (best != nullptr) return best;
  }
  // Better into a silent link than nowhere.
  for (const auto& link : links_) {
    if (link->usable && !link->blocked) return link.get();
  }
  return nullptr;
}

std::optional<LinkId> Sender::best_link(TimePoint now, std::optional<LinkId> except) const {
  const Link* best = nullptr;
  for (const auto& link : links_) {
    if (!link->usable || link->silent || link->id == except) continue;
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

std::optional<Departure> Sender::next_probe(TimePoint now) {
  for (const auto& link : links_) {
    if (!link->usable || link->blocked) continue;
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
  const bool sparse = item->sparse && flow_staged_[item->bucket] == 0;
  return {
      item->packet, pack_flow_seq({item->bucket, item->delicate, flow_numbers_[item->bucket]++}), {}, sparse};
}

// Packets of flows that keep no queue leave at once, before all others.
std::optional<Departure> Sender::next_sparse(TimePoint now) {
  if (!queue_.sparse_next()) return std::nullopt;
  Link* link = soonest(now, kSmall, false);
  if (link == nullptr) return std::nullopt;
  if (ms(link->next_send - now) > kSparseDebtMs) return std::nullopt;
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
    pool_.give(repairs_.front().packet);
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

// Hands packets out in the order of their arrival until one falls to a link that can
// take it now.
std::optional<Departure> Sender::next_queued(TimePoint now) {
  if (queue_.empty()) return std::nullopt;
  for (const auto& candidate : links_) {
    if (!candidate->staged.empty() || !ready(*candidate, now)) continue;
    constexpr std::size_t kTypical = 1400;
    const Link* const first = soonest(now, kTypical, true);
    if (first != candidate.get()) {
      // Worth it only if the faster links cannot carry all that waits until then.
      const double mine = arrival_ms(*candidate, now, kTypical, true);
      double elsewhere = 0;
      for (const auto& link : links_) {
        if (link == candidate || !link->usable || link->silent || link->fallback) continue;
        const double head_start = mine - arrival_ms(*link, now, kTypical, true);
        if (head_start > 0) elsewhere += head_start * link->rate.pacing_rate() / 1000;
      }
      if (candidate->fallback || static_cast<double>(queue_.bytes()) < elsewhere) continue;
    }
    while (!queue_.empty()) {
      Link* const link = soonest(now, kTypical, true);
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
  Link& link = *find(departure.link);
  const double size = static_cast<double>(bytes + kFraming);
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
    if (!waiting) plan_copy(now, link, departure);
    last_data_ = now;
    link.carried += static_cast<double>(bytes);
    if (kept_packets_ < config_.most_outstanding) {
      packet.data = true;
      packet.payload = departing_data_;
      ++kept_packets_;
    } else {
      pool_.give(departing_data_.packet);
    }
  }
  link.in_flight += size;
  link.was_full = link.in_flight >= link.rate.window();
  link.outstanding.push_back(packet);
}

// Nothing waits: the other links' room is free for a second copy of what just left.
void Sender::plan_copy(TimePoint now, const Link& link, const Departure& departure) {
  if (!config_.repair || kept_packets_ >= config_.most_outstanding) return;
  if (link.loss < kCopyLoss && link.rate.jitter_ms() < kCopyJitterMs) return;
  const Link* best = nullptr;
  double best_arrival = 0;
  for (const auto& other : links_) {
    if (other.get() == &link || other->fallback || !other->rate.measured() || !ready(*other, now)) continue;
    if (other->next_send > now || other->in_flight > 0.8 * other->rate.window()) continue;
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
  const double size = static_cast<double>(bytes + kFraming);
  link->next_send =
      std::max(link->next_send, now - kPacerSlack) + from_ms(1000 * size / link->rate.pacing_rate());
  // Not part of the flight: a report elicits no report, so its fate may stay unknown.
  Outstanding packet;
  packet.sent = now;
  packet.seq = seq;
  packet.bytes = 0;
  packet.idle = true;
  if (!link->outstanding.empty()) link->outstanding.push_back(packet);
}

bool Sender::advances(LinkId id, std::uint64_t highest) const {
  const Link* const link = find(id);
  return link != nullptr && !link->outstanding.empty() && highest <= link->outstanding.back().seq &&
         (!link->any_report || highest > link->highest_reported);
}

void Sender::handle_report(TimePoint now, const Report& report) {
  for (const LinkReport& entry : report.links) handle_link_report(now, report, entry);
  update_queue_limit();
}

void Sender::confirm(Link& link, Outstanding& packet) {
  packet.open = false;
  link.in_flight -= packet.bytes;
  link.delivered += packet.bytes;
  // Down to nothing: numbers near the smallest cost the processor a hundred cycles each.
  if (packet.bytes != 0) link.loss = link.loss < 1e-9 ? 0 : link.loss * (1 - 1.0 / 512);
  if (packet.data) {
    pool_.give(packet.payload.packet);
    --kept_packets_;
  }
}

void Sender::lose(TimePoint now, Link& link, Outstanding& packet, bool by_silence) {
  packet.open = false;
  link.in_flight -= packet.bytes;
  if (packet.bytes != 0 && !by_silence) link.loss += (1 - link.loss) / 512;
  if (!packet.data) return;
  if ((config_.repair || by_silence) && now - packet.payload.first_sent < kRepairFor) {
    repairs_.push_back(packet.payload);
    ++link.repaired;
  } else {
    pool_.give(packet.payload.packet);
    --kept_packets_;
  }
}

void Sender::trim(Link& link) {
  // Control packets at the front have nothing to tell any more.
  while (!link.outstanding.empty() &&
         (!link.outstanding.front().open || link.outstanding.front().bytes == 0)) {
    link.outstanding.pop_front();
  }
}

void Sender::handle_link_report(TimePoint now, const Report& report, const LinkReport& entry) {
  Link* const link = find_flow(entry.flow_id);
  if (link == nullptr || link->outstanding.empty()) return;
  auto& packets = link->outstanding;
  if (entry.highest < packets.front().seq || entry.highest > packets.back().seq) return;
  const auto at = std::ranges::upper_bound(packets, entry.highest, {}, &Outstanding::seq);
  std::ptrdiff_t i = at - packets.begin() - 1;  // the newest that can have come
  if (i < 0 || packets[i].seq != entry.highest) return;
  const Outstanding newest = packets[i];
  const bool advanced = !link->any_report || entry.highest > link->highest_reported;

  // What only ran ahead does not make the others lost: those had no time yet to come.
  const Duration overdue = from_ms(
      std::max(0.95 * link->rate.least_rtt_ms(), 0.9 * link->rate.rtt_ms() - 2 * link->rate.jitter_ms()));

  // Walk down from the highest: received, missing, received, …
  std::uint64_t upper = entry.highest + 1;
  bool progress = false;
  const auto walk = [&](std::uint64_t lowest, bool received) {
    for (; i >= 0 && packets[i].seq >= lowest; --i) {
      Outstanding& packet = packets[i];
      if (!packet.open) continue;
      if (received) {
        progress = progress || packet.bytes != 0;
        confirm(*link, packet);
      } else if (entry.highest - packet.seq >= kReorderLimit && now - packet.sent >= overdue) {
        lose(now, *link, packet, false);
      }
    }
    upper = lowest;
  };
  for (const Gap& gap : entry.gaps) {
    walk(upper - gap.received, true);
    walk(upper - gap.missing, false);
  }
  const std::uint64_t lowest = entry.highest - std::min<std::uint64_t>(entry.highest, entry.span) + 1;
  if (lowest < upper) walk(lowest, true);
  if (progress || (advanced && newest.bytes != 0)) {
    link->last_progress = now;
    link->silent = false;
  }
  if (!advanced) {
    trim(*link);
    return;
  }
  link->any_report = true;
  link->highest_reported = entry.highest;
  RateControl::Ack ack;
  ack.now = now;
  ack.sent = newest.sent;
  const std::int64_t way_us = static_cast<std::int32_t>(entry.arrived_us - report_clock(newest.sent));
  if (!clock_origin_us_) clock_origin_us_ = way_us;
  ack.one_way_ms = static_cast<double>(way_us - *clock_origin_us_) / 1000;
  const double hold =
      static_cast<double>(static_cast<std::int32_t>(report.clock_us - entry.arrived_us)) / 1000;
  ack.rtt_ms = std::max(0.1, ms(now - newest.sent) - std::max(hold, 0.0));
  ack.delivered = link->delivered;
  ack.idle = newest.idle;
  ack.light = newest.light;
  if (newest.rate_valid && newest.bytes != 0) {
    const double arrived =
        static_cast<double>(static_cast<std::int32_t>(entry.arrived_us - newest.arrived_us)) / 1000;
    const double span = std::max(arrived, ms(newest.sent - newest.newest_sent));
    if (span > 1) ack.rate = (link->delivered - newest.delivered) * 1000 / span;
  }
  link->rate.set_loss(link->loss);
  link->rate.on_ack(ack);
  link->newest_arrived_us = entry.arrived_us;
  link->newest_sent = newest.sent;
  trim(*link);
}

TimePoint Sender::probe_deadline(const Link& link) const {
  const RateControl& rate = link.rate;
  return std::max(link.last_progress,
                  link.outstanding.front().sent + from_ms(rate.rtt_ms() + 3 * rate.jitter_ms())) +
         25ms;
}

TimePoint Sender::silence_deadline(const Link& link) const {
  const RateControl& rate = link.rate;
  const double trip = rate.measured() ? std::max(rate.rtt_ms(), rate.greatest_rtt_ms()) : 300;
  return std::max(link.last_progress + 70ms, link.outstanding.front().sent + from_ms(trip) + 50ms) +
         from_ms(4 * rate.jitter_ms());
}

// When an unused link is to be measured (again): at once at first, and now and then
// while other links carry traffic.
TimePoint Sender::refresh_deadline(const Link& link) const {
  if (link.rate.samples() < 8) return link.next_probe;
  if (last_data_ < link.last_progress) return TimePoint::max();
  return std::max(link.last_progress + kRefresh, link.next_probe);
}

void Sender::fall_silent(TimePoint now, Link& link) {
  link.silent = true;
  link.next_probe = now;
  for (Outstanding& packet : link.outstanding) {
    if (packet.open) lose(now, link, packet, true);
  }
  trim(link);
  restage(link);
}

void Sender::handle_timeout(TimePoint now) {
  while (const auto due = acks_.take_due(now)) push(now, due->packet, due->bucket);
  for (const auto& link : links_) {
    if (!link->usable || link->silent) continue;
    if (now >= refresh_deadline(*link)) {
      link->probe_wanted = true;
      link->next_probe = now + kFirstProbes;
    }
    if (link->in_flight <= 0 || link->outstanding.empty()) continue;
    if (now >= silence_deadline(*link)) {
      fall_silent(now, *link);
    } else if (now >= probe_deadline(*link) && now >= link->next_probe) {
      link->probe_wanted = true;  // the tail may be lost: a packet behind it will tell
      link->next_probe = now + from_ms(std::max(20.0, link->rate.rtt_ms() / 2));
    }
  }
}

std::optional<TimePoint> Sender::next_timeout(TimePoint now) const {
  std::optional<TimePoint> first;
  const auto add = [&](TimePoint time) {
    if (!first || time < *first) first = time;
  };
  if (const auto due = acks_.next_timeout()) add(*due);
  const bool waiting = !queue_.empty() || !repairs_.empty();
  for (const auto& link : links_) {
    if (!link->usable) continue;
    if (link->silent) {
      add(link->next_probe);
      continue;
    }
    if (link->blocked) continue;  // path_writable will wake us
    if (link->probe_wanted) add(now);
    if (const TimePoint refresh = refresh_deadline(*link); refresh != TimePoint::max()) add(refresh);
    if (link->in_flight > 0 && !link->outstanding.empty()) {
      add(silence_deadline(*link));
      add(std::max(probe_deadline(*link), link->next_probe));
    }
    const bool open = link->in_flight < link->rate.window() || link->in_flight <= 0;
    if (open && !link->blocked && (waiting || !link->staged.empty()) && link->next_send > now + kPacerSlack) {
      add(link->next_send - kPacerSlack / 4);
    }
  }
  return first;
}

// What a flow may keep here: enough to fill all links once more after it halved its
// window. While a link is still being found out, more: a flow that grows must not be
// stopped by a guess.
void Sender::update_queue_limit() {
  double rate = 0, trip = 0, loss = 0, jitter = 0, least = 1e9, most = -1e9;
  bool guessing = false;
  for (const auto& link : links_) {
    if (!link->usable || link->silent || !link->rate.measured()) continue;
    guessing = guessing || !link->rate.proven();
    rate += link->rate.capacity();
    trip = std::max(trip, link->rate.greatest_rtt_ms());
    loss = std::max(loss, link->loss);
    jitter = std::max(jitter, link->rate.calm_jitter_ms());
    least = std::min(least, link->rate.one_way_ms());
    most = std::max(most, link->rate.one_way_ms());
  }
  acks_.set_interval(from_ms(std::clamp(0.19 * trip, 2.5, 50.0)));
  // A slow link is only used once the quick ones have their lead queued up; losses make
  // the flow's round trip longer by that of a repair.
  const double lead = most > least ? most - least : 0;
  const double share = loss > kCopyLoss || jitter > kCopyJitterMs ? 1.2 : 0.5;
  double wanted = std::max(rate * (lead + share * trip + 60) / 1000, 256e3);
  if (guessing) wanted = std::max(wanted, std::min(0.6 * rate, 2e6));
  // Lowered step by step: a flow that filled the queue must not lose it all at once.
  wanted = std::max(wanted, static_cast<double>(queue_.limit()) * 0.996);
  queue_.set_limit(std::min(static_cast<std::size_t>(wanted), config_.most_queued_bytes),
                   from_ms(1.5 * trip + 30));
}

Duration Sender::patience() const {
  double trip = 0, jitter = 0, least = 1e9, most = -1e9;
  for (const auto& link : links_) {
    if (!link->usable || !link->rate.measured()) continue;
    trip = std::max(trip, std::min(link->rate.rtt_ms() + 4 * link->rate.jitter_ms(), 800.0));
    jitter = std::max(jitter, link->rate.jitter_ms());
    least = std::min(least, link->rate.one_way_ms());
    most = std::max(most, link->rate.one_way_ms());
  }
  if (trip == 0) return 250ms;
  const double wait = config_.repair ? 40 + 2.5 * trip + 4 * jitter : 40 + 4 * jitter + 0.5 * trip;
  return from_ms(std::clamp(wait, 15.0, 1000.0));
}

Duration Sender::report_interval() const {
  double trip = 1e9;
  for (const auto& link : links_) {
    if (link->usable && link->rate.measured()) trip = std::min(trip, link->rate.least_rtt_ms());
  }
  return from_ms(std::clamp(trip / 4, 5.0, 15.0));
}

std::vector<SenderLinkView> Sender::view(TimePoint) const {
  std::vector<SenderLinkView> result;
  double sum = 0;
  for (const auto& link : links_) sum += link->carried;
  for (const auto& link : links_) {
    SenderLinkView v;
    v.link = link->id;
    v.usable = link->usable;
    v.silent = link->silent;
    v.phase = static_cast<int>(link->rate.phase());
    if (link->rate.measured()) {
      v.rtt_ms = link->rate.rtt_ms();
      v.queue_ms = link->rate.queue_ms();
      v.jitter_ms = link->rate.jitter_ms();
      v.capacity = link->rate.capacity();
    }
    v.loss_percent = link->loss * 100;
    v.share_percent = sum > 0 ? 100 * link->carried / sum : 0;
    v.repaired = link->repaired;
    result.push_back(v);
  }
  return result;
}

std::string Sender::explain(TimePoint now, LinkId id, const std::function<std::string(LinkId)>& name) const {
  const Link* const link = find(id);
  if (link == nullptr) return {};
  if (!link->usable) return "carries nothing: not usable";
  if (link->silent) return "carries nothing: it does not answer";
  if (!link->rate.measured()) return "not measured yet";
  double all = 0;
  const Link* quickest = link;
  bool others = false;
  for (const auto& l : links_) {
    all += l->carried;
    if (l.get() == link || !l->usable || l->silent || !l->rate.measured()) continue;
    others = true;
    if (l->rate.one_way_ms() < quickest->rate.one_way_ms()) quickest = l.get();
  }
  const double share = all > 0 ? 100 * link->carried / all : 0;
  std::string text = fmt::format("{:.0f} % of traffic", share);
  if (!others) return text + "; no other link can be used";
  if (link->fallback) return text + "; only used when no other link can be";
  if (quickest != link) {
    text += fmt::format("; {:.0f} ms slower than {}", link->rate.one_way_ms() - quickest->rate.one_way_ms(),
                        name(quickest->id));
  }
  if (link->loss >= 0.002) text += fmt::format("; loses {:.1f} %", link->loss * 100);
  if (link->rate.queue_ms() > 20) text += fmt::format("; {:.0f} ms of queue", link->rate.queue_ms());
  (void)now;
  return text;
}

}  // namespace bondd::mlvpn

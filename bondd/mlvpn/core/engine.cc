#include "bondd/mlvpn/core/engine.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "bondd/mlvpn/core/engine_impl.h"

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

constexpr auto kKeyOffer = 500ms;
constexpr auto kHintEvery = 200ms;

}  // namespace

Engine::Impl::Impl(TimePoint now, const EngineConfig& configuration, Secrets secrets)
    : config(configuration),
      context(configuration.seed),
      keys(std::move(secrets)),
      pool(configuration.pool_buffers + kControlReserve),
      ready(std::max<std::size_t>(configuration.reorder_packets * 2, 8192)),
      reorder(configuration.reorder_packets, configuration.max_reorder_wait, pool, ready),
      scheduler(configuration.device, configuration.ingress_packets, pool),
      seq_base(configuration.wall_clock_us << 8),
      started(now),
      last_now(now),
      next_key_offer(now),
      next_hint(now) {
  make_brain();
  context.role = config.role;
  context.announce = config.announce && config.peer != EngineConfig::Peer::kOriginal;
  context.clear_data = config.clear_data;
  context.peer_kind = config.peer;
  context.peer_proved = config.peer_proved;
  context.keys = &keys;
  context.wall_clock_us = config.wall_clock_us;
  context.started = now;
  context.session = context.random.next64();
  context.receive_id_in_use = [this](std::uint32_t id) {
    return is_own_flow(id) ||
           std::ranges::any_of(ids, [&](LinkId link) { return places[link].link->uses_receive_id(id); });
  };
  context.other_link_named = [this](std::uint64_t name, LinkId except) -> std::string {
    for (const LinkId id : ids) {
      if (id != except && name_hash(places[id].link->config().name) == name)
        return places[id].link->config().name;
    }
    return {};
  };
  context.flow_in_use = [this](std::uint32_t flow_id) { return is_own_flow(flow_id); };
  context.epoch = now - std::chrono::milliseconds(context.random.next64() & 0xffff);
  wipe_bytes(config.seed);  // it would tell all that is random
}

Engine::Engine(TimePoint now, const EngineConfig& config, Secrets secrets)
    : impl_(std::make_unique<Impl>(now, config, std::move(secrets))) {}
Engine::~Engine() = default;

// ------------------------------------------------------------------- links

std::optional<LinkId> Engine::add_link(TimePoint now, const LinkConfig& config) {
  Impl& e = *impl_;
  if (e.ids.size() >= kMaxLinks) return std::nullopt;
  while (e.places[e.next_id].link) ++e.next_id;
  const LinkId id = e.next_id++;
  const auto age = std::chrono::duration_cast<std::chrono::microseconds>(now - e.started).count();
  const std::uint64_t first_seq = e.seq_base + (static_cast<std::uint64_t>(age) << 8);
  auto link = std::make_unique<Link>(now, id, config, e.context, first_seq);
  e.places[id] = Impl::Place{};
  e.places[id].link = std::move(link);
  e.ids.push_back(id);
  e.sender->add_link(id, e.places[id].link->flow_id(), 0, false);
  e.sync(now);
  return id;
}

void Engine::remove_link(TimePoint now, LinkId id) {
  Impl& e = *impl_;
  Link* link = e.find(id);
  if (link == nullptr) return;
  link->disconnect(now);
  while (!link->control().empty()) {
    const ControlPacket packet = link->control().pop();
    if (e.parting.full()) break;
    if (auto sealed = e.build_control(now, *link, packet))
      e.parting.push({id, packet.path, packet.to, *sealed});
  }
  e.scheduler.remove(id);
  e.sender->remove_link(now, id);
  e.reorder.forget_link(id);
  std::erase(e.ids, id);
  e.places[id] = Impl::Place{};
  e.sync(now);
}

void Engine::update_link(TimePoint now, LinkId id, const LinkConfig& config) {
  if (Link* link = impl_->find(id)) {
    link->update(now, config);
    impl_->sync(now);
  }
}

void Engine::set_remote(TimePoint now, LinkId id, const Endpoint& remote) {
  if (Link* link = impl_->find(id)) {
    link->set_remote(now, remote);
    impl_->sync(now);
  }
}

void Engine::set_key(TimePoint now, Secrets secrets) {
  impl_->keys.change(now, std::move(secrets));
  impl_->next_key_offer = now;
}

void Engine::shutdown(TimePoint now) {
  for (const LinkId id : impl_->ids) impl_->find(id)->disconnect(now);
  impl_->sync(now);
}

Surroundings Engine::Impl::surroundings(LinkId of) const {
  Surroundings s;
  const Link& self = *places[of].link;
  for (const LinkId id : ids) {
    const Link& link = *places[id].link;
    if (id == of) continue;
    s.others_received += link.received_packets();
    if (!link.in_session() || link.state() == LinkState::kSilent) continue;
    if (id == self.carrier()) s.carrier_lives = true;
    if (places[id].blocked) continue;
    if (s.other && link.heard() <= s.other_heard) continue;
    s.other = id;
    s.other_name = link.config().name;
    s.other_heard = link.heard();
    const auto mine = self.destination(), its = link.destination();
    s.reachable = mine && its && mine->address.family() == its->address.family();
  }
  return s;
}

void Engine::Impl::sync(TimePoint now) {
  last_now = std::max(last_now, now);
  for (const LinkId id : ids) sync_link(now, id);
  switch_brain(now);
  for (const LinkId id : ids) sync_brain(now, id);
}

void Engine::Impl::sync_link(TimePoint now, LinkId id) {
  Place& place = places[id];
  const Link& link = *place.link;
  Scheduler::Tier tier = Scheduler::Tier::kUnusable;
  switch (link.state()) {
    case LinkState::kDown:
    case LinkState::kStarting:
      break;
    case LinkState::kUp:
      tier = link.config().fallback_only ? Scheduler::Tier::kFallback : Scheduler::Tier::kNormal;
      break;
    case LinkState::kLossy:
    case LinkState::kSlow:
      tier = Scheduler::Tier::kSpared;
      break;
    case LinkState::kSilent:
      tier = Scheduler::Tier::kSilent;
      break;
  }
  const double weight = link.config().weight;
  const Rate rate = link.config().upload;
  if (place.tier == tier && place.weight == weight && place.rate == rate) return;
  const bool carries = tier < Scheduler::Tier::kSilent, carried = place.tier < Scheduler::Tier::kSilent;
  if (carried && !carries) reorder.forget_link(id);
  if (carries && !carried) reorder.expect_link(now, id);
  place.tier = tier;
  place.weight = weight;
  place.rate = rate;
  scheduler.set(now, id, tier, weight, rate);
}

// The peer's flow on a link changed. When that means a new run of the peer, its
// DATA count from 0 again; when it is only the next link that signs on after
// such a restart, they do not.
void Engine::Impl::follow_flow(TimePoint now, Place& place) {
  place.seen_generation = place.link->flow_generation();
  const auto& peer = place.link->peer();
  const bool new_run = peer ? peer_session != peer->session : place.epoch == epoch;
  peer_session = peer ? std::optional(peer->session) : std::nullopt;
  if (new_run) {
    ++epoch;
    epoch_since = now;
    reorder.reset();
    reset_brain(now);
  }
  place.epoch = epoch;
}

// -------------------------------------------------------------------- time

void Engine::handle_timeout(TimePoint now) {
  Impl& e = *impl_;
  for (const LinkId id : e.ids) {
    Link& link = *e.find(id);
    if (now >= link.deadline()) link.on_timer(now, e.surroundings(id));
    if (link.flow_generation() != e.places[id].seen_generation) e.follow_flow(now, e.places[id]);
  }
  e.probe_witnesses(now);
  e.hand_on_notice(now);
  e.keys.on_timer(now);
  if (e.keys.offering() && now >= e.next_key_offer) {
    e.next_key_offer = now + kKeyOffer;
    for (const LinkId id : e.ids) {
      Link& link = *e.find(id);
      if (const auto to = link.destination(); to && link.in_session()) {
        link.queue_control(PacketType::kKeepalive, *to, link.carrier(), {}, true);
      }
    }
  }
  if (now >= e.next_hint) {
    e.next_hint = now + kHintEvery;
    e.update_spread_hint();
  }
  e.reorder.settle(now);
  while (const auto due = e.peer_acks.take_due(now)) e.push_ready(due->packet);
  e.brain_timeout(now);
  e.sync(now);
}

// Whether a link is dead, or the peer just busy, is only told by another link:
// an idle one is asked.
void Engine::Impl::probe_witnesses(TimePoint now) {
  for (const LinkId suspect : ids) {
    const auto since = places[suspect].link->suspect_since(now);
    if (!since) continue;
    for (const LinkId id : ids) {
      if (id != suspect && places[id].link->heard() < *since) places[id].link->probe_idle(now);
    }
  }
}

std::optional<TimePoint> Engine::poll_timeout() const {
  const Impl& e = *impl_;
  std::optional<TimePoint> at;
  const auto consider = [&](std::optional<TimePoint> t) {
    if (t && (!at || *t < *at)) at = t;
  };
  for (const LinkId id : e.ids) consider(e.places[id].link->deadline());
  consider(e.reorder.deadline());
  consider(e.peer_acks.next_timeout());
  consider(e.keys.deadline());
  if (e.notice.told) consider(e.notice.next_event);
  if (e.keys.offering()) consider(e.next_key_offer);
  consider(e.brain_deadline());
  if (!e.brain) consider(e.scheduler.next_time(e.last_now));
  return at;
}

// How far apart the links may deliver the same moment's packets: half of the
// difference of the round trips, and their wobble.
void Engine::Impl::update_spread_hint() {
  Duration least = Duration::max(), most = Duration::zero(), wobble = Duration::zero();
  bool unknown = false;
  for (const LinkId id : ids) {
    const Link& link = *places[id].link;
    if (!link.in_session()) continue;
    scheduler.set_loss(id, link.estimator().rx_loss().value_or(0));
    if (!link.estimator().has_rtt()) {
      unknown = true;
      continue;
    }
    least = std::min(least, link.estimator().min_rtt());
    most = std::max(most, link.estimator().srtt());
    wobble = std::max(wobble, link.estimator().rttvar());
  }
  const Duration known = most > least ? (most - least) / 2 + 2 * wobble : 2 * wobble;
  reorder.set_spread_hint(unknown ? std::max<Duration>(known, 100ms) : known);
  peer_acks.set_interval(brain ? Duration::zero()
                               : std::clamp<Duration>(scheduler.trip() * 19 / 100, 2500us, 50ms));
}

// ------------------------------------------------------------------- facts

std::optional<LinkEvent> Engine::poll_event() {
  auto& events = impl_->context.events;
  if (events.empty()) return std::nullopt;
  LinkEvent event = std::move(events.front());
  events.pop_front();
  return event;
}

void Engine::recycle(std::span<const PacketRef> packets) {
  for (const PacketRef& packet : packets) impl_->pool.give(packet);
}

BufferPool& Engine::pool() {
  return impl_->pool;
}

std::vector<LinkStats> Engine::link_stats(TimePoint now) const {
  std::vector<LinkStats> out;
  for (const LinkId id : impl_->ids) {
    const Link& link = *impl_->places[id].link;
    LinkStats stats;
    link.fill(now, stats);
    if (link.config().upload.bits_per_second != 0) stats.capacity = link.config().upload;
    if (const Rate measured = impl_->scheduler.capacity(id); measured.bits_per_second != 0)
      stats.capacity = measured;
    stats.explanation =
        impl_->scheduler.explain(id, [this](LinkId other) { return impl_->find(other)->config().name; });
    impl_->fill_brain(stats);
    out.push_back(std::move(stats));
  }
  return out;
}

EngineStats Engine::stats() const {
  EngineStats s = impl_->counters;
  const auto& r = impl_->reorder.counters();
  s.late = r.late;
  s.duplicates = r.duplicates;
  s.holes_lost = r.holes_lost;
  s.dropped_no_buffer += r.no_buffer;
  const auto& o = impl_->order->counters();
  s.late += o.late;
  s.duplicates += o.duplicates;
  s.holes_lost += o.holes_lost;
  s.dropped_queue_full += impl_->sender->queue_drops() + impl_->scheduler.dropped();
  s.reorder_held = impl_->reorder.held() + impl_->order->held();
  s.ingress_queued = impl_->scheduler.queued() + impl_->sender->queued();
  return s;
}

const char* Engine::crypto_implementation() const {
  return impl_->keys.implementation();
}

}  // namespace bondd::mlvpn

// The engine with its brain switched on: between two bondd, Sender chooses the links
// and repairs them, and FlowOrder orders by flow. Towards an upstream peer, none of
// this runs: Scheduler and ReorderBuffer do.
#include <algorithm>
#include <array>
#include <cstring>

#include "bondd/mlvpn/core/engine_impl.h"

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

constexpr std::uint8_t kFlowOrderBit = 1;  // of the header's spare bits
constexpr unsigned kSecondPath = 3;        // each so-manieth report goes over two links

double bound_of(const LinkConfig& config) {
  return static_cast<double>(config.upload.bits_per_second) / 8;
}

}  // namespace

void Engine::Impl::make_brain() {
  SenderConfig sender_config;
  sender_config.device = config.device;
  sender_config.office = config.role == Role::kClient ? OfficeSide::kSource : OfficeSide::kDestination;
  sender_config.repair = config.repair;
  sender_config.trace = config.trace;
  sender_config.tuning = config.tuning;
  sender_config.hash_seed = context.random.next64();
  sender_config.most_outstanding = pool.buffers() * 3 / 8;
  sender_config.most_queued_bytes = std::min<std::size_t>(pool.buffers() * 512, 6 << 20);
  sender = std::make_unique<Sender>(sender_config, pool);
  FlowOrder::Hooks hooks;
  hooks.deliver = [this](const PacketRef& packet) {
    if (ready.full()) {
      ++counters.dropped_no_buffer;
      pool.give(packet);
    } else {
      ready.push(packet);
    }
  };
  hooks.drop = [this](const PacketRef& packet) { pool.give(packet); };
  hooks.keep = [this](const PacketRef& packet) -> std::optional<PacketRef> {
    if (!packet.borrowed()) return packet;
    auto copy = pool.take();
    if (!copy) return std::nullopt;
    std::memcpy(copy->data, packet.data, packet.size);
    copy->size = packet.size;
    return copy;
  };
  order = std::make_unique<FlowOrder>(config.reorder_packets, std::move(hooks));
}

// Tells the sender which links there are and can be used; switches the brain on once
// every link with a session has a bondd at its other end.
void Engine::Impl::sync_brain(TimePoint now, LinkId id) {
  const Place& place = places[id];
  const Link& link = *place.link;
  sender->set_flow(id, link.flow_id());
  sender->update_link(id, bound_of(link.config()), place.tier == Scheduler::Tier::kFallback);
  if (link.estimator().has_rtt()) {
    sender->seed_rtt(id, to_ms(link.estimator().srtt()));
  }
  const bool able = link.in_session() && link.destination() && place.tier != Scheduler::Tier::kUnusable;
  const bool spared = place.tier == Scheduler::Tier::kSpared || place.tier == Scheduler::Tier::kSilent;
  const bool others = std::ranges::any_of(
      ids, [&](LinkId other) { return other != id && places[other].tier <= Scheduler::Tier::kFallback; });
  sender->set_usable(now, id, able && !(spared && others));
  sender->set_blocked(id, place.blocked);
}

void Engine::Impl::switch_brain(TimePoint now) {
  bool any = false, all = true;
  for (const LinkId id : ids) {
    const Link& link = *places[id].link;
    if (!link.in_session()) continue;
    any = true;
    all = all && link.peer_can(kCapFeedback) && link.peer_can(kCapFlowOrder);
  }
  if (!any) return;  // as it was, until somebody is there again
  if (all == brain) return;
  brain = all;
  if (brain) {
    while (const auto packet = scheduler.surrender()) sender->enqueue(now, *packet);
  } else {
    sender->reset_session(now);
  }
}

void Engine::Impl::reset_brain(TimePoint now) {
  sender->reset_session(now);
  order->reset();
  reporter.reset();
}

// A packet of the peer's current flow, authenticated.
void Engine::Impl::note_arrival(TimePoint now, const Inbound& in) {
  const Link& link = *in.link;
  if (!link.peer_can(kCapFeedback)) return;
  const bool eliciting = in.header.is(PacketType::kData) || in.header.is(PacketType::kNudge);
  places[link.id()].play_out.on_packet(now, in.header.timestamp);
  reporter.on_packet(now, in.header.flow_id, in.header.seq, in.size, eliciting);
  if (!in.header.is(PacketType::kFeedback)) return;
  const std::size_t front = in.job == kClear ? kHeaderSize : kOverhead;
  const auto report = parse_report({in.datagram + front, in.size - front});
  if (!report) return;
  for (const LinkReport& entry : report->links) {
    for (const LinkId id : ids) {
      Link& confirmed = *places[id].link;
      if (confirmed.flow_id() == entry.flow_id && sender->advances(id, entry.highest))
        confirmed.on_report(now);
    }
  }
  sender->handle_report(now, *report);
  reporter.set_interval(sender->report_interval());
  order->set_patience(
      std::min<Duration>(std::chrono::milliseconds(report->patience_ms), config.max_reorder_wait));
}

bool Engine::Impl::deliver_by_flow(TimePoint now, const Inbound& in, const PacketRef& packet) {
  if ((in.header.unused & kFlowOrderBit) == 0 || !in.link->peer_can(kCapFlowOrder) || !config.reorder)
    return false;
  order->insert(now, in.header.data_seq, packet, places[in.link->id()].play_out.hold());
  return true;
}

// --------------------------------------------------------------- transmit

std::optional<PacketRef> Engine::Impl::seal_extension(TimePoint now, Link& link, PacketType type,
                                                      std::span<const std::uint8_t> body) {
  auto buffer = pool.take();
  if (!buffer) return std::nullopt;
  if (!body.empty()) std::memcpy(buffer->data, body.data(), body.size());
  buffer->size = static_cast<std::uint32_t>(body.size());
  const Layout layout = layout_of(link, type);
  const Header header = header_for(now, link, type, body.size(), layout);
  BoxJob job;
  const PacketRef datagram = frame(header, *buffer, layout, job);
  seal(link, layout, {&job, 1}, {&datagram, 1});
  link.on_sent(now, type, datagram.size);
  last_sealed_seq = header.seq;
  return datagram;
}

bool Engine::Impl::transmit_report(TimePoint now, Transmit& out) {
  if (reporter.next_timeout() && *reporter.next_timeout() <= now) {
    report_body = reporter.make(now, sender->patience());
    report_links.clear();
    if (const auto best = sender->best_link(now)) {
      report_links.push_back(*best);
      const auto second = sender->best_link(now, best);
      if (second && ++report_turn % kSecondPath == 0) report_links.push_back(*second);
    } else {
      // The peer may wait for this report as we wait for its: each would hold all its links
      // for dead, for good.
      for (const LinkId id : ids) {
        if (places[id].link->in_session()) report_links.push_back(id);
      }
    }
  }
  while (!report_links.empty()) {
    const LinkId id = report_links.back();
    report_links.pop_back();
    Link* const link = find(id);
    if (link == nullptr || !link->peer_can(kCapFeedback) || !link->destination() ||
        report_body.size() > kMaxPayload)
      continue;
    const auto sealed = seal_extension(now, *link, PacketType::kFeedback, report_body);
    if (!sealed) return false;
    sender->sent_control(now, id, last_sealed_seq, sealed->size);
    burst[0] = *sealed;
    out = {id, id, *link->destination(), std::span(burst).first(1)};
    return true;
  }
  return false;
}

// As many departures as leave by one link and fit one call.
bool Engine::Impl::transmit_brain(TimePoint now, Transmit& out) {
  auto first = sender->next(now);
  while (first && !find(first->link)->destination()) {
    sender->set_usable(now, first->link, false);  // takes it back: another link's
    first = sender->next(now);
  }
  if (!first) return false;
  Link& link = *find(first->link);
  const auto to = link.destination();
  if (first->kind == Departure::Kind::kProbe) {
    static constexpr std::array<std::uint8_t, kMaxPayload> kNothing{};
    const std::size_t length = std::clamp(first->length, kOverhead, kOverhead + kMaxPayload) - kOverhead;
    const auto sealed = seal_extension(now, link, PacketType::kNudge, std::span(kNothing).first(length));
    if (!sealed) return false;
    sender->sent(now, last_sealed_seq, sealed->size);
    burst[0] = *sealed;
    out = {link.id(), link.id(), *to, std::span(burst).first(1)};
    return true;
  }
  const Layout layout = layout_of(link, PacketType::kData);
  const std::size_t front = front_of(layout);
  const std::uint32_t size = first->packet.size;
  std::size_t n = 0, bytes = 0;
  for (auto next = first; next && n < kBatch; next = sender->next(now)) {
    const std::uint32_t length = next->packet.size;
    if (next->link != first->link || next->kind == Departure::Kind::kProbe || length > size) break;
    if (bytes + length + front > kMaxBurstBytes) break;
    auto buffer = pool.take();
    if (!buffer) break;
    std::memcpy(buffer->data, next->packet.data, length);
    buffer->size = length;
    Header header = header_for(now, link, PacketType::kData, length, layout);
    header.data_seq = next->data_seq;
    header.unused = kFlowOrderBit;
    burst[n] = frame(header, *buffer, layout, jobs[n]);
    ++n;
    bytes += length + front;
    link.on_sent(now, PacketType::kData, length + front);
    sender->sent(now, header.seq, length + front);
    if (length < size) break;
  }
  if (n == 0) return false;
  seal(link, layout, std::span(jobs).first(n), std::span(burst).first(n));
  out = {link.id(), link.id(), *to, std::span(burst).first(n)};
  return true;
}

std::optional<TimePoint> Engine::Impl::brain_deadline() const {
  std::optional<TimePoint> at;
  if (brain) at = sender->next_timeout(last_now);
  for (const auto& t : {order->next_timeout(), reporter.next_timeout()}) {
    if (t && (!at || *t < *at)) at = t;
  }
  return at;
}

void Engine::Impl::brain_timeout(TimePoint now) {
  if (brain) sender->handle_timeout(now);
  if (const auto due = order->next_timeout(); due && *due <= now) order->handle_timeout(now);
}

void Engine::Impl::fill_brain(LinkStats& stats) const {
  if (!brain) return;
  for (const SenderLinkView& view : sender->view()) {
    if (view.link != stats.id) continue;
    if (view.capacity) stats.capacity = Rate{static_cast<std::uint64_t>(*view.capacity * 8)};
    if (view.rtt_ms) stats.rtt_ms = view.rtt_ms;
    stats.queue_ms = view.queue_ms;
    stats.tx_loss_percent = view.loss_percent;
    stats.repaired = view.repaired;
    stats.longest = view.longest;
    stats.explanation =
        sender->explain(stats.id, [this](LinkId id) { return places[id].link->config().name; });
  }
}

}  // namespace bondd::mlvpn

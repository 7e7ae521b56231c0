// From UDP to tun: check, open, tell the link, put in order.
#include <algorithm>
#include <cstring>

#include "bondd/mlvpn/core/engine_impl.h"

namespace bondd::mlvpn {
namespace {
// A link that still delivers DATA of its old flow this long after another link
// met a new one brings no stragglers: the peer did not restart.
constexpr auto kStragglers = std::chrono::milliseconds(500);
}  // namespace

void Engine::handle_datagrams(TimePoint now, LinkId path, std::span<const ReceivedRun> runs) {
  Impl& e = *impl_;
  e.last_now = std::max(e.last_now, now);
  for (const ReceivedRun& run : runs) {
    const std::size_t segment = run.segment != 0 ? run.segment : run.bytes.size();
    for (std::size_t at = 0; at < run.bytes.size(); at += segment) {
      if (e.inbound_count == kBatch) e.receive_batch(now);
      e.admit(path, run.from, run.bytes.data() + at, std::min(segment, run.bytes.size() - at));
    }
  }
  e.receive_batch(now);
  e.reorder.settle(now);
  e.sync(now);
}

bool Engine::Impl::is_own_flow(std::uint32_t flow_id) const {
  return std::any_of(ids.begin(), ids.end(),
                     [&](LinkId id) { return places[id].link->password_flow_id() == flow_id; });
}

// One key for all links: a packet that was seen on one opens on the others.
bool Engine::Impl::is_known_elsewhere(const Link& link, std::uint32_t flow_id) const {
  return std::any_of(ids.begin(), ids.end(),
                     [&](LinkId id) { return id != link.id() && places[id].link->knows_flow(flow_id); });
}

// A datagram belongs to the link whose socket it came to, unless its flow is
// another link's, whose packets left by this socket while its own line is dead.
Link* Engine::Impl::attribute(LinkId path, std::uint32_t flow_id) {
  Link* own = find(path);
  if (config.role == Role::kServer || ids.size() == 1) return own;
  if (own != nullptr && own->flows().current() && own->flows().current()->id == flow_id) return own;
  for (const LinkId id : ids) {
    const auto& flow = places[id].link->flows().current();
    if (flow && flow->id == flow_id) return places[id].link.get();
  }
  return own;
}

// Everything that can be refused before the MAC is computed.
bool Engine::Impl::admit(LinkId path, const Endpoint& from, std::uint8_t* data, std::size_t size) {
  Inbound in;
  in.path = path;
  in.from = &from;
  in.datagram = data;
  in.size = static_cast<std::uint32_t>(size);
  if (const auto front = parse_session_front({data, size})) {
    in.link = find(path);
    if (in.link != nullptr && admit_session(last_now, in, *front)) return true;
  }
  if (parse_header({data, size}, in.header) != ParseError::kNone) return ++counters.malformed, false;
  in.link = attribute(path, in.header.flow_id);
  if (in.link == nullptr) return ++counters.foreign, false;
  // Our own packets, sent back to us, would open.
  if (is_own_flow(in.header.flow_id)) return ++counters.foreign, false;
  in.place = in.link->place_of(in.header, false);
  if (in.place == FlowTable::Place::kReplay) return ++counters.replayed, false;
  if (in.place == FlowTable::Place::kRetired && !in.header.is(PacketType::kAuth))
    return ++counters.replayed, false;
  if (in.place == FlowTable::Place::kUnknown && is_known_elsewhere(*in.link, in.header.flow_id))
    return ++counters.foreign, false;
  if (config.clear_data && in.header.is(PacketType::kData)) {
    if (!in.link->trusts_clear(in.header, from)) return ++counters.foreign, false;
    in.job = kClear;
  } else {
    if (in.header.length < kMacSize) return ++counters.malformed, false;
    in.job = static_cast<std::uint32_t>(job_count);
    openers[job_count] = nullptr;
    jobs[job_count++] = {data + kHeaderSize, in.header.length - static_cast<std::uint32_t>(kMacSize),
                         in.header.flow_id, in.header.seq};
  }
  inbound[inbound_count++] = in;
  return true;
}

// True: it is under keys of the link's session, and was taken or refused.
bool Engine::Impl::admit_session(TimePoint now, Inbound in, const SessionFront& front) {
  SecretBox* const box = in.link->opener(now, front.receive_id, in.header.flow_id);
  if (box == nullptr) return false;
  if (front.clear && !config.clear_data) return ++counters.foreign, true;
  in.receive_id = front.receive_id;
  in.header.seq = front.seq;
  in.place = in.link->place_of(in.header, true);
  if (in.place == FlowTable::Place::kReplay) return ++counters.replayed, true;
  gather_session_mac(in.datagram);
  in.job = static_cast<std::uint32_t>(job_count);
  openers[job_count] = box;
  jobs[job_count++] = {in.datagram + kSessionBox,
                       in.size - static_cast<std::uint32_t>(kOverhead - kInnerHeaderSize),
                       front.receive_id,
                       front.seq,
                       false,
                       front.clear};
  inbound[inbound_count++] = in;
  return true;
}

void Engine::Impl::receive_batch(TimePoint now) {
  for (std::size_t first = 0, next = 0; first < job_count; first = next) {
    while (next < job_count && openers[next] == openers[first]) ++next;
    const auto run = std::span(jobs).subspan(first, next - first);
    if (openers[first] == nullptr) {
      keys.open(now, run);
    } else {
      openers[first]->open(run);
    }
  }
  for (std::size_t i = 0; i < inbound_count; ++i) {
    Inbound& in = inbound[i];
    dispatch(now, in, in.job == kClear || jobs[in.job].ok);
  }
  inbound_count = job_count = 0;
}

// Of a session that is over each packet is one that nothing opens: only a handshake tells of passwords.
void Engine::Impl::count_unopened(TimePoint now, const Inbound& in) {
  ++counters.bad_mac;
  if (in.place == FlowTable::Place::kCurrent) in.link->on_unopened();
  const Header& h = in.header;
  const bool handshake = (h.is(PacketType::kAuth) || h.is(PacketType::kAuthOk)) && h.version == 1 &&
                         h.reorder && h.unused == 0 && h.length <= kMaxHandshake + kMacSize;
  if (in.receive_id == 0 && (handshake || !context.has_sessions())) in.link->on_bad_mac(now, *in.from);
}

void Engine::Impl::dispatch(TimePoint now, Inbound& in, bool opened) {
  if (!opened) return count_unopened(now, in);
  Link& link = *in.link;
  const bool in_session = in.receive_id != 0;
  if (in_session) {
    parse_inner_header(in.datagram, in.header);
    link.on_opened(now, in.receive_id, *in.from);
  }
  // An earlier packet of the batch may have changed the link's flows.
  const FlowTable::Place place = link.place_of(in.header, in_session);
  const std::size_t front = in.job == kClear ? kHeaderSize : kOverhead;
  const auto trust = in_session         ? Link::Trust::kSession
                     : in.job == kClear ? Link::Trust::kClear
                                        : Link::Trust::kPassword;
  const Link::Outcome outcome =
      link.on_packet(now, in.header, place, in.path, *in.from, {in.datagram + front, in.size - front}, trust);
  if (link.take_forged()) reporter.forget(in.header.flow_id);
  if (place == FlowTable::Place::kCurrent &&
      (outcome == Link::Outcome::kHandled || outcome == Link::Outcome::kDeliver)) {
    note_arrival(now, in);
  }
  switch (outcome) {
    case Link::Outcome::kHandled:
      if (in.header.is(PacketType::kNotice) && place == FlowTable::Place::kCurrent) note_notice(now, in);
      break;
    case Link::Outcome::kReplayed:
      ++counters.replayed;
      break;
    case Link::Outcome::kForeign:
      ++counters.foreign;
      break;
    case Link::Outcome::kDeliver:
      deliver_data(now, in);
      break;
  }
  if (const auto rtt = link.take_echo(); rtt && !brain) scheduler.on_echo(now, link.id(), *rtt);
  Place& slot = places[link.id()];
  if (link.flow_generation() != slot.seen_generation) follow_flow(now, slot);
}

void Engine::Impl::deliver_data(TimePoint now, const Inbound& in) {
  const std::size_t front = in.job == kClear ? kHeaderSize : kOverhead;
  const PacketRef packet{in.datagram + front, static_cast<std::uint32_t>(in.size - front),
                         PacketRef::kBorrowed};
  Place& slot = places[in.link->id()];
  if (slot.epoch != epoch && now - epoch_since > kStragglers) slot.epoch = epoch;
  if (slot.epoch == epoch && deliver_by_flow(now, in, packet)) return;
  const bool ordered = config.reorder && in.header.reorder && in.header.version != 0 && slot.epoch == epoch;
  if (const auto ack = config.device == DeviceKind::kTun ? bare_ack(packet.bytes()) : std::nullopt) {
    if (!ordered || reorder.pass(now, in.link->id(), in.header.data_seq)) deliver_ack(now, packet, *ack);
  } else if (ordered) {
    reorder.insert(now, in.link->id(), in.header.data_seq, packet);
  } else {
    push_ready(packet);
  }
}

void Engine::Impl::push_ready(const PacketRef& packet) {
  if (ready.full()) {
    ++counters.dropped_no_buffer;
    pool.give(packet);
  } else {
    ready.push(packet);
  }
}

// Of an upstream peer: one that says nothing new is dropped, the others wait until there
// are few, see AckFilter.
void Engine::Impl::deliver_ack(TimePoint now, const PacketRef& packet, const BareAck& ack) {
  if (newest_acks.outdated(ack)) return;
  PacketRef own = packet;
  if (auto copy = packet.borrowed() ? pool.take() : std::nullopt) {
    std::memcpy(copy->data, packet.data, packet.size);
    copy->size = packet.size;
    own = *copy;
  } else if (packet.borrowed()) {
    push_ready(packet);
    return;
  }
  const auto bucket = static_cast<FlowBucket>(ack.flow % kFlowBuckets);
  const AckFilter::Verdict verdict = peer_acks.handle(now, own, bucket);
  if (verdict.first) push_ready(*verdict.first);
  if (verdict.second) push_ready(*verdict.second);
  if (verdict.dropped) pool.give(*verdict.dropped);
}

std::size_t Engine::poll_deliver(std::span<PacketRef> out) {
  Impl& e = *impl_;
  const std::size_t n = std::min(out.size(), e.ready.size());
  for (std::size_t i = 0; i < n; ++i) out[i] = e.ready.pop();
  e.counters.delivered += n;
  return n;
}

void Engine::end_round() {
  Impl& e = *impl_;
  e.reorder.own_all();
  for (std::size_t i = 0, n = e.ready.size(); i < n; ++i) {
    PacketRef packet = e.ready.pop();
    if (packet.borrowed()) {
      auto copy = e.pool.take();
      if (!copy) {
        ++e.counters.dropped_no_buffer;
        continue;
      }
      std::memcpy(copy->data, packet.data, packet.size);
      copy->size = packet.size;
      packet = *copy;
    }
    e.ready.push(packet);
  }
}

}  // namespace bondd::mlvpn

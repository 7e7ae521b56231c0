// From tun to UDP: queue, choose a link, number, seal in place.
#include <algorithm>
#include <cstring>

#include "bondd/mlvpn/core/engine_impl.h"

namespace bondd::mlvpn {

void Engine::handle_packets(TimePoint now, std::span<const PacketRef> packets) {
  Impl& e = *impl_;
  e.last_now = std::max(e.last_now, now);
  const bool usable = e.scheduler.usable();
  for (const PacketRef& packet : packets) {
    std::uint64_t* dropped = nullptr;
    if (!usable) {
      dropped = &e.counters.dropped_no_link;
    } else if (packet.size == 0 || packet.size > kMaxPayload || packet.borrowed()) {
      dropped = &e.counters.dropped_oversize;
    } else if (!e.brain && e.ingress.full()) {
      dropped = &e.counters.dropped_queue_full;
    }
    if (dropped == nullptr) {
      if (e.brain) {
        e.sender->enqueue(now, packet);
      } else {
        e.ingress.push(packet);
      }
    } else {
      ++*dropped;
      e.pool.give(packet);
    }
  }
}

std::size_t Engine::packet_budget() const {
  const Impl& e = *impl_;
  if (e.brain) return e.sender->budget();
  // With no link up packets are read and dropped: they would be stale later.
  const std::size_t room = e.ingress.capacity() - e.ingress.size();
  const std::size_t free = e.pool.free_buffers();
  // What waits behind holes may take the rest of the pool.
  return std::min(room, free > kControlReserve ? free - kControlReserve : 0);
}

bool Engine::poll_transmit(TimePoint now, Transmit& out) {
  Impl& e = *impl_;
  e.last_now = std::max(e.last_now, now);
  return e.transmit_parting(out) || e.transmit_report(now, out) || e.transmit_control(now, out) ||
         (e.brain ? e.transmit_brain(now, out) : e.transmit_data(now, out));
}

bool Engine::Impl::transmit_parting(Transmit& out) {
  if (parting.empty()) return false;
  const Parting p = parting.pop();
  burst[0] = p.packet;
  out = {p.link, p.path, p.to, std::span(burst).first(1)};
  return true;
}

bool Engine::Impl::transmit_control(TimePoint now, Transmit& out) {
  for (const LinkId id : ids) {
    Link& link = *find(id);
    if (link.control().empty()) continue;
    const LinkId path = link.control().front().path;
    if (places[path].link && places[path].blocked) continue;
    const ControlPacket packet = link.control().front();
    const auto sealed = build_control(now, link, packet);
    if (!sealed) return false;  // the pool is empty; the packet waits
    link.control().pop();
    burst[0] = *sealed;
    out = {id, packet.path, packet.to, std::span(burst).first(1)};
    return true;
  }
  return false;
}

std::optional<PacketRef> Engine::Impl::build_control(TimePoint now, Link& link, const ControlPacket& packet) {
  auto buffer = pool.take();
  if (!buffer) return std::nullopt;
  std::memcpy(buffer->data, packet.body.data(), packet.size);
  const Header header = link.next_header(now, packet.type, packet.size + kMacSize);
  std::uint8_t* datagram = buffer->data - kOverhead;
  render_header(header, datagram);
  BoxJob job{datagram + kHeaderSize, packet.size, header.flow_id, header.seq, false};
  // While a new key is offered nobody knows which one a silent peer has: AUTH
  // tries both in turn.
  const bool is_auth = packet.type == PacketType::kAuth;
  if (keys.offering() && (packet.new_key || (is_auth && (offer_turn++ & 1) != 0))) {
    keys.seal_offered({&job, 1});
  } else {
    keys.seal({&job, 1});
  }
  buffer->data = datagram;
  buffer->size = static_cast<std::uint32_t>(kOverhead + packet.size);
  link.on_sent(now, packet.type, buffer->size);
  sender->sent_control(now, link.id(), header.seq, buffer->size);
  return buffer;
}

// Takes from the queue as many packets as one link may send now and one call
// may carry: equal in size, the last may be shorter.
bool Engine::Impl::transmit_data(TimePoint now, Transmit& out) {
  if (ingress.empty()) return false;
  const auto grant = scheduler.choose(now);
  if (!grant) return false;
  Link& link = *find(grant->link);
  const auto to = link.destination();
  if (!to) return false;
  const std::size_t front = config.clear_data ? kHeaderSize : kOverhead;
  const std::size_t limit = std::min(grant->bytes, kMaxBurstBytes);
  const std::uint32_t size = ingress.front().size;
  std::size_t n = 0, bytes = 0;
  while (n < kBatch && !ingress.empty()) {
    const std::uint32_t next = ingress.front().size;
    if (n > 0 && (next > size || bytes + next + front > limit)) break;
    PacketRef packet = ingress.pop();
    const Header base = link.next_header(now, PacketType::kData, next + front - kHeaderSize);
    Header header = base;
    header.data_seq = data_seq++;
    std::uint8_t* datagram = packet.data - front;
    render_header(header, datagram);
    jobs[n] = {datagram + kHeaderSize, next, header.flow_id, header.seq, false};
    burst[n++] = {datagram, static_cast<std::uint32_t>(next + front), packet.index};
    bytes += next + front;
    link.on_sent(now, PacketType::kData, next + front);
    if (next < size) break;
  }
  if (!config.clear_data) keys.seal(std::span(jobs).first(n));
  scheduler.sent(now, grant->link, bytes, n);
  out = {grant->link, grant->link, *to, std::span(burst).first(n)};
  return true;
}

void Engine::path_blocked(TimePoint now, LinkId path) {
  impl_->places[path].blocked = true;
  impl_->scheduler.set_blocked(path, true);
  impl_->sync(now);
}

void Engine::path_writable(TimePoint now, LinkId path) {
  impl_->places[path].blocked = false;
  impl_->scheduler.set_blocked(path, false);
  impl_->sync(now);
}

void Engine::path_failed(TimePoint now, LinkId path, const std::string& why) {
  if (Link* link = impl_->find(path)) {
    link->on_path_failed(now, why, impl_->surroundings(path));
    impl_->sync(now);
  }
}

}  // namespace bondd::mlvpn

// From tun to UDP: queue, choose a link, number, seal in place.
#include <algorithm>
#include <cstring>

#include "bondd/mlvpn/core/engine_impl.h"

namespace bondd::mlvpn {
namespace {
constexpr std::size_t kTrainLength = 32, kFirstTrain = 8, kTrainPacket = 1400;
constexpr Duration kTrainQuiet = std::chrono::milliseconds(1400);
}  // namespace

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
    }
    if (dropped == nullptr) {
      if (e.brain) {
        e.sender->enqueue(now, packet);
      } else {
        e.scheduler.enqueue(now, packet);
      }
    } else {
      ++*dropped;
      e.pool.give(packet);
    }
  }
}

// More than the queues' limits let wait, which drop by flow: what is not read waits in the
// device, small packets behind bulk.
std::size_t Engine::packet_budget() const {
  const Impl& e = *impl_;
  // For what is received, and for sealing.
  const std::size_t reserve = std::min<std::size_t>(1024, e.pool.buffers() / 4);
  const std::size_t free = e.pool.free_buffers();
  return free > reserve ? free - reserve : 0;
}

bool Engine::poll_transmit(TimePoint now, Transmit& out) {
  Impl& e = *impl_;
  e.last_now = std::max(e.last_now, now);
  return e.transmit_parting(out) || e.transmit_report(now, out) || e.transmit_control(now, out) ||
         e.transmit_notice(now, out) ||
         (e.brain ? e.transmit_brain(now, out) : e.transmit_data(now, out) || e.transmit_train(now, out));
}

// Datagrams that the peer ignores (an upstream one: a bondd is asked otherwise), as long
// as any, sent at once.
bool Engine::Impl::transmit_train(TimePoint now, Transmit& out) {
  const auto wanted = scheduler.train_wanted(now);
  if (!wanted || pool.free_buffers() < kControlReserve + kTrainLength) return false;
  Link& link = *find(wanted->link);
  const std::size_t length = wanted->first ? kFirstTrain : kTrainLength;
  const auto to = link.destination();
  if (!to || link.peer()) return false;
  static constexpr std::array<std::uint8_t, kTrainPacket> kNothing{};
  std::size_t n = 0, bytes = 0;
  for (; n < length; ++n) {
    const bool last = n + 1 == length;  // asks for an answer
    const auto sealed = seal_extension(now, link, last ? PacketType::kKeepalive : PacketType::kPadding,
                                       std::span(kNothing).first(last ? 0 : kTrainPacket));
    if (!sealed) break;
    burst[n] = *sealed;
    bytes += sealed->size + kOutside;
  }
  if (n == 0) return false;
  link.keep_quiet(now, kTrainQuiet);
  scheduler.train_sent(now, link.id(), bytes);
  out = {link.id(), link.id(), *to, std::span(burst).first(n)};
  return true;
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
  buffer->size = packet.size;
  const bool offered = packet.new_key && keys.offering();
  const Layout layout = offered ? Layout::kPassword : layout_of(link, packet.type);
  const Header header = header_for(now, link, packet.type, packet.size, layout);
  BoxJob job;
  const PacketRef datagram = frame(header, *buffer, layout, job);
  if (offered) {
    keys.seal_offered({&job, 1});
  } else {
    seal(link, layout, {&job, 1}, {&datagram, 1});
  }
  link.on_sent(now, packet.type, datagram.size);
  // The peer reports the numbers of the session, or of the password's key where there is none.
  if (in_session(layout) == (link.session() != nullptr))
    sender->sent_control(now, link.id(), header.seq, datagram.size);
  return datagram;
}

// As many packets as leave by one link and one call may carry: equal in size, the
// last may be shorter.
bool Engine::Impl::transmit_data(TimePoint now, Transmit& out) {
  const auto first = scheduler.next(now);
  if (!first) return false;
  Link& link = *find(first->link);
  const auto to = link.destination();
  if (!to) return false;
  const Layout layout = layout_of(link, PacketType::kData);
  const std::size_t front = front_of(layout);
  const std::uint32_t size = first->packet.size;
  std::size_t n = 0, bytes = 0;
  for (auto pick = first; pick && n < kBatch; pick = scheduler.next(now)) {
    const std::uint32_t length = pick->packet.size;
    if (pick->link != first->link || length > size || bytes + length + front > kMaxBurstBytes) break;
    Header header = header_for(now, link, PacketType::kData, length, layout);
    header.data_seq = pick->data_seq;
    header.reorder = pick->reorder;
    burst[n] = frame(header, pick->packet, layout, jobs[n]);
    ++n;
    bytes += length + front;
    link.on_sent(now, PacketType::kData, length + front);
    scheduler.take(now, length + front);
    if (length < size) break;
  }
  seal(link, layout, std::span(jobs).first(n), std::span(burst).first(n));
  out = {link.id(), link.id(), *to, std::span(burst).first(n)};
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

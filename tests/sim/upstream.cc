#include "tests/sim/upstream.h"

#include <algorithm>
#include <utility>

namespace bondd::sim {
namespace {

using namespace std::chrono_literals;
using mlvpn::test::Bytes;
using mlvpn::test::PeerPacket;

constexpr std::size_t kPool = 512;
constexpr Duration kTick = 1s;
constexpr Duration kTimeout = 60s;    // the default
constexpr std::uint64_t kTickOf = 1;  // + link: tokens below 8
constexpr std::uint64_t kDrainKind = 8;

std::uint16_t wire_ms(TimePoint now) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  const auto t = static_cast<std::uint16_t>(ms);
  return t == 0xffff ? std::uint16_t{0} : t;
}

}  // namespace

// --------------------------------------------------------------- reordering

UpstreamReorder::UpstreamReorder(std::size_t size, std::function<void(Packet)> deliver)
    : size_(size), deliver_(std::move(deliver)), ring_(size, pool_.end()) {}

void UpstreamReorder::release(Entry entry) {
  deliver_(std::move(entry->packet));
  pool_.erase(entry);
}

void UpstreamReorder::skip(std::uint64_t numbers) {
  for (std::uint64_t i = 0; i < numbers; ++i, ++min_) {
    Entry& entry = ring_[min_ % size_];
    if (entry == pool_.end()) continue;
    release(entry);
    entry = pool_.end();
  }
}

void UpstreamReorder::insert(std::uint64_t seq, Packet packet) {
  if (pool_.size() == kPool) {  // leaked full: everything passes by
    deliver_(std::move(packet));
    return;
  }
  if (!started_) {
    started_ = true;
    min_ = seq;
  }
  const std::uint64_t offset = seq - min_;
  if (offset >= 2 * size_) {
    pool_.push_back({packet, true});
    deliver_(std::move(packet));
    return;
  }
  if (offset >= size_) skip(offset + 1 - size_);
  Entry& slot = ring_[seq % size_];
  // A duplicate replaces the pointer; the older entry stays in the pool.
  slot = pool_.insert(pool_.end(), {std::move(packet), false});
  while (ring_[min_ % size_] != pool_.end()) skip(1);
}

void UpstreamReorder::flush() {
  for (Held& held : pool_) deliver_(std::move(held.packet));
  pool_.clear();
  std::ranges::fill(ring_, pool_.end());
  started_ = false;
}

// ------------------------------------------------------------------ the end

UpstreamEnd::UpstreamEnd(EventQueue& events, bool server, std::size_t reorder, std::uint64_t seed,
                         PacketSink& host)
    : events_(events),
      server_(server),
      host_(host),
      reorder_size_(reorder),
      reorder_(std::max<std::size_t>(reorder, 1), [this](Packet p) { delivered_.push_back(std::move(p)); }),
      drain_(events, *this, kDrainKind) {
  for (std::size_t i = 0; i < 2; ++i) {
    links_[i].flow = static_cast<std::uint32_t>(0x9e3779b9U * (seed * 4 + i + 1));
    events.post(events.now(), *this, kTickOf + i);
  }
}

void UpstreamEnd::connect(PacketSink& a, PacketSink& b) {
  links_[0].out = &a;
  links_[1].out = &b;
}

void UpstreamEnd::on_event(TimePoint now, std::uint64_t token) {
  if (Timer::kind_of(token) == kDrainKind) {
    if (drain_.due(now, token)) reorder_.flush();
  } else {
    tick(now, links_[token - kTickOf]);
    drain_after_ = drain_interval();
    events_.post(now + kTick, *this, token);
  }
  for (Packet& packet : std::exchange(delivered_, {})) host_.receive(now, std::move(packet));
}

void UpstreamEnd::tick(TimePoint now, Link& link) {
  if (link.state == State::kUp) {
    if (link.last_keepalive_rx + kTimeout < now) {
      down(link);
    } else if (now > link.next_keepalive) {
      link.control.push_back(mlvpn::test::kKeepalive);
      link.next_keepalive = now + 1s;
    }
  } else if (!server_) {
    link.control.push_back(mlvpn::test::kAuth);
    link.state = State::kAuthSent;
  }
  while (!link.control.empty()) write_control(now, link);
}

void UpstreamEnd::up(TimePoint now, Link& link) {
  link.state = State::kUp;
  link.next_keepalive = now + 1s;
  link.last_keepalive_rx = link.last_reply = now;
  for (Link& l : links_) l.turn = 0;
  const auto is_up = [](const Link& l) { return l.state == State::kUp; };
  if (std::ranges::count_if(links_, is_up) == 1) reorder_.flush();
}

void UpstreamEnd::down(Link& link) {
  link.state = State::kDisconnected;
  link.control.clear();
  for (Link& l : links_) l.turn = 0;
  reorder_.flush();
}

void UpstreamEnd::write_control(TimePoint now, Link& link) {
  const int type = link.control.front();
  link.control.pop_front();
  Bytes text;
  if (type == mlvpn::test::kAuth) text = mlvpn::test::text("AU");
  if (type == mlvpn::test::kAuthOk) text = mlvpn::test::text("OK");
  send(now, link, type, std::move(text));
}

void UpstreamEnd::send(TimePoint now, Link& link, int type, Bytes text) {
  PeerPacket packet;
  packet.type = type;
  packet.flow = link.flow;
  packet.seq = link.seq++;
  if (type == mlvpn::test::kData) packet.data_seq = data_seq_++;
  packet.timestamp = wire_ms(now);
  if (link.stored != 0xffff && now - link.stored_at < 1s) {
    const auto held = std::chrono::duration_cast<std::chrono::milliseconds>(now - link.stored_at).count();
    packet.timestamp_reply = static_cast<std::uint16_t>(link.stored + held);
  }
  link.stored = 0xffff;
  packet.text = std::move(text);
  link.out->receive(now, mlvpn::test::encode(packet));
}

// The turns by weight, all weights 1: the smallest counter, and it starts again at 100.
void UpstreamEnd::receive(TimePoint now, Packet packet) {
  Link* chosen = nullptr;
  for (Link& link : links_) {
    if (link.state == State::kUp && (chosen == nullptr || link.turn < chosen->turn)) chosen = &link;
  }
  if (chosen == nullptr) return;
  for (Link& link : links_) {
    if (link.turn > 0) --link.turn;
  }
  chosen->turn = 100;
  if (!chosen->control.empty()) write_control(now, *chosen);
  send(now, *chosen, mlvpn::test::kData, std::move(packet));
}

void UpstreamEnd::on_timestamps(TimePoint now, Link& link, const PeerPacket& packet) {
  if (packet.timestamp != 0xffff) {
    link.stored = packet.timestamp;
    link.stored_at = now;
  }
  if (packet.timestamp_reply == 0xffff) return;
  const double r = static_cast<std::uint16_t>(wire_ms(now) - packet.timestamp_reply);
  if (r >= 5000) return;
  if (!link.has_rtt) {
    link.has_rtt = true;
    link.srtt = r;
    link.rttvar = r / 2;
    return;
  }
  link.rttvar = 0.75 * link.rttvar + 0.25 * std::abs(link.srtt - r);
  link.srtt = 0.875 * link.srtt + 0.125 * r;
}

Duration UpstreamEnd::drain_interval() const {
  double most = 0;
  for (const Link& link : links_) {
    if (link.state == State::kUp && link.has_rtt) most = std::max(most, link.srtt + 4 * link.rttvar);
  }
  return most > 0 ? Duration(static_cast<std::int64_t>(2.2e6 * most)) : Duration(800ms);
}

void UpstreamEnd::receive_datagram(TimePoint now, mlvpn::LinkId line, Packet& datagram,
                                   const mlvpn::Endpoint&) {
  auto packet = mlvpn::test::decode(datagram);
  if (!packet) return;
  Link& link = links_[line];
  on_timestamps(now, link, *packet);
  switch (packet->type) {
    case mlvpn::test::kAuth:
    case mlvpn::test::kAuthOk:
      if (server_) {
        link.control.push_back(mlvpn::test::kAuthOk);
        up(now, link);
        while (!link.control.empty()) write_control(now, link);
      } else if (link.state == State::kAuthSent) {
        up(now, link);
      }
      break;
    case mlvpn::test::kKeepalive:
      if (link.state != State::kUp) break;
      link.last_keepalive_rx = now;
      if (now > link.last_reply + 1s) {
        link.control.push_back(mlvpn::test::kKeepalive);  // leaves with DATA or at the tick
        link.last_reply = now;
        link.next_keepalive = now + 1s;
      }
      break;
    case mlvpn::test::kDisconnect:
      if (link.state == State::kUp) down(link);
      break;
    case mlvpn::test::kData:
      if (link.state != State::kUp) break;
      if (reorder_size_ == 0 || !packet->reorder) {
        delivered_.push_back(std::move(packet->text));
        break;
      }
      reorder_.insert(packet->data_seq, std::move(packet->text));
      if (reorder_.holding()) drain_.set(now + drain_after_);
      break;
    default:  // counted and ignored
      break;
  }
  for (Packet& p : std::exchange(delivered_, {})) host_.receive(now, std::move(p));
}

}  // namespace bondd::sim

#include "bondd/control/liveness.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "bondd/control/liveness_times.h"

namespace bondd::control {
namespace {

using std::chrono::duration_cast;
using std::chrono::microseconds;

std::uint32_t micros(TimePoint now) {
  const auto us = static_cast<std::uint32_t>(duration_cast<microseconds>(now.time_since_epoch()).count());
  return us == 0 ? 1 : us;  // 0 says "none"
}

// Serial number arithmetic (RFC 1982): a is newer than b, also across the wrap.
bool newer(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::int32_t>(a - b) > 0;
}

}  // namespace

Liveness::Liveness(const LivenessOptions& options, TimePoint now)
    : options_(options), next_tick_(now), next_round_(now) {
  set_arp_interval(options.arp_interval);
}

void Liveness::set_arp_interval(Duration arp_interval) {
  options_.arp_interval = arp_interval;
  interval_ = std::clamp<Duration>(arp_interval / 4, kMinInterval, kMaxInterval);
}

Liveness::Path* Liveness::find(const std::string& tap) {
  const auto found =
      std::find_if(paths_.begin(), paths_.end(), [&](const Path& p) { return p.tunnel.tap == tap; });
  return found == paths_.end() ? nullptr : &*found;
}

const Liveness::Path* Liveness::find(const std::string& tap) const {
  return const_cast<Liveness*>(this)->find(tap);
}

void Liveness::set_tunnels(TimePoint now, const std::vector<Tunnel>& tunnels) {
  std::vector<Path> before = std::move(paths_);
  paths_.clear();
  tunnels_ = tunnels;
  std::uint64_t used = 0;
  std::vector<std::size_t> fresh;
  for (const Tunnel& tunnel : tunnels) {
    if (paths_.size() == kMaxTunnels) break;
    const auto old =
        std::find_if(before.begin(), before.end(), [&](const Path& p) { return p.tunnel.tap == tunnel.tap; });
    if (old != before.end()) {
      paths_.push_back(std::move(*old));
      used |= 1ULL << paths_.back().number;
    } else {
      fresh.push_back(paths_.size());
      Path path;
      path.since = path.started = now;
      path.hold = kFirstHold;
      path.restart_pause = kFirstRestart;
      path.restart_at = now + kFirstRestart;
      paths_.push_back(std::move(path));
    }
    paths_.back().tunnel = tunnel;
  }
  for (const std::size_t i : fresh) {
    paths_[i].number = static_cast<unsigned>(std::countr_one(used));
    used |= 1ULL << paths_[i].number;
  }
  evaluate(now);
}

// What may be lost and late on this line by chance.
Duration Liveness::silence_limit(const Path& path) const {
  const double loss = std::clamp(path.loss, kLeastLoss, 0.9);
  const double missed =
      std::max<double>(kLeastMissed, std::ceil(std::log(kFalseAlarm) / std::log(loss) - 1e-9));
  const auto chance = Duration(std::llround((missed + kSlack) * static_cast<double>(interval_.count())));
  return std::min<Duration>(chance + kJitters * path.jitter, kMostIntervals * interval_);
}

Duration Liveness::silence_limit(const std::string& tap) const {
  const Path* const path = find(tap);
  return path != nullptr ? silence_limit(*path) : Duration{};
}

bool Liveness::heard(TimePoint now, const Path& path) const {
  return path.heard_ever && now - path.last_rx <= silence_limit(path);
}

// How long nothing at all may be heard from a peer that is there.
Duration Liveness::alive_gap() const {
  Duration jitter = kMaxInterval;
  for (const Path& path : paths_) {
    if (path.heard_ever) jitter = std::min(jitter, path.jitter);
  }
  return 2 * interval_ + kJitters * jitter;
}

bool Liveness::peer_alive(TimePoint now) const {
  return peer_.frame_ever && now - peer_.last_frame <= alive_gap();
}

// Too long without a frame, while the peer was heard elsewhere. When no tunnel is heard,
// that says nothing about this one in particular (the peer may pause): it is given more time.
// So is a tunnel whose openvpn waits for a processor at either end.
bool Liveness::silent(TimePoint now, const Path& path, bool alive) const {
  if (now - path.last_rx > kMostIntervals * interval_) return true;
  if (!alive) return false;
  return now - std::max({path.last_rx, peer_.alive_since, path.last_stuck}) > silence_limit(path);
}

bool Liveness::peer_bit(std::uint64_t bits, const Path& path) const {
  return path.peer_number && (bits >> *path.peer_number & 1U) != 0;
}

// What is read right after a restart still came through the openvpn before it.
bool Liveness::of_the_last(TimePoint now, const Path& path) const {
  return now - path.started < kOldFrames;
}

void Liveness::note_frame(TimePoint now, Path& path) {
  path.heard_ever = true;
  path.last_rx = now;
  path.restart_pause = kFirstRestart;
  path.restart_at = now + kFirstRestart;
  if (!peer_.frame_ever) peer_.first_frame = now;
  if (!peer_alive(now)) peer_.alive_since = now;
  peer_.frame_ever = true;
  peer_.last_frame = now;
}

void Liveness::set_members(TimePoint now, const std::set<std::string>& members) {
  bool changed = false;
  for (Path& path : paths_) {
    const bool was = std::exchange(path.member, members.contains(path.tunnel.tap));
    changed = changed || was != path.member;
  }
  if (changed) evaluate(now);
}

PeerUse Liveness::peer_use(const Path& path) const {
  if (!peer_.probes || !peer_.member || !path.peer_number) return PeerUse::kUnknown;
  return peer_bit(*peer_.member, path) ? PeerUse::kUses : PeerUse::kLeft;
}

PeerUse Liveness::peer_use(const std::string& tap) const {
  const Path* const path = find(tap);
  return path == nullptr ? PeerUse::kUnknown : peer_use(*path);
}

bool Liveness::is_without_carrier(const Path& path) const {
  return path.state == TunnelState::kJoining ||
         (path.did_not_join && path.member && dead_.contains(path.tunnel.tap));
}

std::set<std::string> Liveness::joining() const {
  std::set<std::string> taps;
  for (const Path& path : paths_) {
    if (is_without_carrier(path)) taps.insert(path.tunnel.tap);
  }
  return taps;
}

void Liveness::handle_counters(TimePoint now, const std::string& tap, std::uint64_t rx_packets,
                               std::uint64_t tx_packets) {
  Path* const path = find(tap);
  if (path == nullptr) return;
  forgive_our_own_delay(now);
  if (path->rx_packets && *path->rx_packets != rx_packets && !of_the_last(now, *path)) note_frame(now, *path);
  if (path->tx_packets && *path->tx_packets != tx_packets) {
    const std::uint64_t taken = tx_packets - *path->tx_packets;
    const std::uint64_t own = std::min(taken, path->own_unread);
    path->own_unread -= own;
    path->data_packets += taken - own;
    path->unread_since = path->own_unread > 0 ? std::optional(now) : std::nullopt;
  }
  path->rx_packets = rx_packets;
  path->tx_packets = tx_packets;
}

// Whose openvpn does not read its tap: it is kept from running, so it cannot hear either.
// Only right after the counters were read: until then a probe that was taken looks unread.
void Liveness::note_stuck(TimePoint now) {
  for (Path& path : paths_) {
    path.stuck = path.unread_since && now - *path.unread_since > interval_ / 2;
    if (path.stuck) path.last_stuck = now;
  }
}

// Loss from the gaps in the numbers on this tunnel, jitter as in RFC 3550, the round
// trip from our own echoed clock.
void Liveness::measure(TimePoint now, Path& path, const Probe& probe) {
  const std::uint32_t gap = probe.tunnel_sequence - path.next_sequence;
  const bool first = path.probes_seen++ == 0 || gap > 64;  // after an outage, or started anew
  const auto count = [&](double lost) {
    path.loss += (lost - path.loss) / std::min(100U, path.probes_seen + 20);
  };
  if (!first && path.state != TunnelState::kDown) {
    for (std::uint32_t i = 0; i < gap; ++i) count(1);
  }
  count(0);
  path.next_sequence = probe.tunnel_sequence + 1;

  // Of wrapping clocks only the difference means something.
  const Duration transit = microseconds(static_cast<std::int32_t>(micros(now) - probe.sent_us));
  if (!first && path.transit) {
    const Duration moved = transit > *path.transit ? transit - *path.transit : *path.transit - transit;
    // In a busy tunnel probes are rare, and its queue may have grown meanwhile.
    const auto rounds = std::max<std::int64_t>(1, (now - path.last_probe) / interval_);
    if (moved < seconds(10)) path.jitter += (moved / rounds - path.jitter) / 16;
  }
  path.transit = transit;
  path.peer_sent_us = probe.sent_us;
  path.transit_us = micros(now) - probe.sent_us;
  path.last_probe = now;

  if (probe.echo_us == 0) return;
  const auto rtt = Duration(microseconds(micros(now) - probe.echo_us - probe.held_us));
  if (rtt > seconds(60)) return;
  path.rtt = path.rtt ? *path.rtt + (rtt - *path.rtt) / 8 : rtt;
  note_transit_there(now, path, probe.transit_us);
}

// Of the line without a queue: not while we fill it, and the least of a window.
void Liveness::note_transit_there(TimePoint now, Path& path, std::uint32_t transit_us) {
  if (path.busy) return;
  if (now - path.least_since > kTransitWindow && path.transits_in_window >= kTransitsForSure) {
    path.least_before = path.least_there;
    path.least_there.reset();
    path.least_since = now;
    path.transits_in_window = 0;
  }
  ++path.transits_in_window;
  if (!path.least_there || newer(*path.least_there, transit_us)) path.least_there = transit_us;
}

std::optional<std::uint32_t> Liveness::transit_there(const Path& path) const {
  const bool sure = path.least_before || path.transits_in_window >= kTransitsForSure;
  if (!sure) return std::nullopt;
  if (!path.least_there || !path.least_before) return path.least_there;
  return newer(*path.least_there, *path.least_before) ? path.least_before : path.least_there;
}

std::optional<Duration> Liveness::behind(const Path& path) const {
  const auto own = transit_there(path);
  if (!own) return std::nullopt;
  std::uint32_t soonest = *own;
  for (const Path& other : paths_) {
    const auto there = transit_there(other);
    if (there && other.state == TunnelState::kUp && newer(soonest, *there)) soonest = *there;
  }
  return microseconds(*own - soonest);
}

void Liveness::handle_probe(TimePoint now, const std::string& tap, std::span<const std::uint8_t> payload) {
  Path* const path = find(tap);
  const std::optional<Probe> probe = parse_probe(payload);
  if (path == nullptr || !probe || of_the_last(now, *path)) return;
  forgive_our_own_delay(now);
  if (probe->role == static_cast<std::uint8_t>(options_.role)) return;  // our own, come back by a loop
  if (probe->instance == peer_.previous_instance) return;               // a late one of before its restart
  const bool anew = probe->instance != peer_.instance;
  if (anew) {
    peer_.previous_instance = peer_.instance;
    peer_.instance = probe->instance;
    for (Path& each : paths_) {
      each.probes_seen = 0;
      each.peer_number.reset();
      each.peer_was_ready = false;
    }
  }
  note_frame(now, *path);
  path->peer_number = probe->tunnel;
  // A late one, overtaken by its successor, says nothing new about this tunnel.
  if (path->probes_seen == 0 || !newer(path->next_sequence, probe->tunnel_sequence)) {
    measure(now, *path, *probe);
  }
  peer_.probes = true;
  peer_.last_probe = now;
  if (anew || newer(probe->sequence, peer_.sequence)) {
    peer_.sequence = probe->sequence;
    peer_.hears = probe->hears;
    peer_.ready = probe->ready;
    peer_.fresh = probe->fresh;
    peer_.member = probe->member;
    for (Path& each : paths_) {
      if (peer_bit(probe->stuck, each)) each.last_stuck = now;
    }
  }
  evaluate(now);
}

void Liveness::handle_restart(TimePoint now, const std::string& tap, const std::string& reason) {
  Path* const path = find(tap);
  if (path == nullptr) return;
  path->started = now;
  path->restart_at = std::max(path->restart_at, now + kRestartChance);
  path->heard_ever = false;
  path->probes_seen = 0;
  path->good_since.reset();
  path->agreed_at.reset();
  path->ready = path->peer_was_ready = false;
  path->jitter = {};
  path->rx_packets.reset();
  path->own_unread = 0;
  path->unread_since.reset();
  path->stuck = false;
  path->rtt.reset();
  path->least_there.reset();
  path->least_before.reset();
  path->transits_in_window = 0;
  path->transit.reset();
  if (path->state == TunnelState::kUp || path->state == TunnelState::kJoining)
    change(now, *path, TunnelState::kDown, reason);
  if (path->state == TunnelState::kDown) path->reason = reason;
  evaluate(now);
}

void Liveness::set_use(TimePoint now, const std::set<std::string>& quiet, const std::set<std::string>& held) {
  bool changed = false;
  for (Path& path : paths_) {
    path.quiet = quiet.contains(path.tunnel.tap);
    if (path.quiet) {
      path.own_unread = 0;  // nothing is handed in, so openvpn leaves nothing lying
      path.unread_since.reset();
    }
    const bool was_held = std::exchange(path.held, held.contains(path.tunnel.tap));
    changed = changed || was_held != path.held;
  }
  if (changed) evaluate(now);
}

// When this process itself was kept from running, silence proves nothing about the lines.
void Liveness::forgive_our_own_delay(TimePoint now) {
  const Duration late = now - next_tick_;
  if (late < interval_) return;
  for (Path& path : paths_) path.last_rx = std::min(now, path.last_rx + late);
  peer_.last_frame = std::min(now, peer_.last_frame + late);
  next_tick_ = now;
}

void Liveness::handle_timeout(TimePoint now) {
  if (now < next_tick_) return;
  forgive_our_own_delay(now);
  note_stuck(now);
  evaluate(now);
  if (now >= next_round_) {
    const Duration length = is_young(now) ? interval_ / kYoungRounds : interval_;
    next_round_ = std::max(next_round_ + length, now + length / 2);
    queue_round();
  }
  next_tick_ = next_deadline(now);
}

// A tunnel has just begun to carry: its delay is wanted before the first flow starts.
bool Liveness::is_young(TimePoint now) const {
  return std::any_of(paths_.begin(), paths_.end(), [&](const Path& path) {
    return path.heard_ever && !path.least_before && path.transits_in_window < kTransitsForSure &&
           (path.state == TunnelState::kStarting ||
            (path.state == TunnelState::kUp && now - path.since < kYoung));
  });
}

// The next round of probes, or the moment at which a silence would be too long, or a return agreed.
TimePoint Liveness::next_deadline(TimePoint now) const {
  TimePoint next = next_round_;
  for (const Path& path : paths_) {
    if (path.state == TunnelState::kUp)
      next = std::min(next, path.last_rx + silence_limit(path) + interval_ / 64);
    if (path.agreed_at) next = std::min(next, *path.agreed_at);
    if (path.state == TunnelState::kJoining) next = std::min(next, path.join_until);
  }
  return std::max(next, now + interval_ / kTicksPerRound);
}

// Which tunnels get a probe in this round. Data is as good a sign of life as a probe, and news
// goes out at once, so a tunnel that carries and is busy is left alone but for the figures
// of its round trip and loss: probes cost what they tell about, half a percent of a slow line.
void Liveness::queue_round() {
  ++round_;
  for (Path& path : paths_) {
    const bool its_turn = (round_ + path.number) % kBusyRounds == 0;
    path.busy = path.data_packets >= kBusyPackets;
    path.data_packets = 0;
    path.queued |= path.state != TunnelState::kUp || !path.busy || loud_rounds_ > 0 || its_turn;
  }
  if (loud_rounds_ > 0) --loud_rounds_;
}

std::uint64_t Liveness::hears_bits(TimePoint now) const {
  std::uint64_t bits = 0;
  const bool alive = peer_alive(now);
  for (const Path& path : paths_) {
    // A tunnel that joins is silent at both ends.
    const bool heard = path.state == TunnelState::kJoining || !silent(now, path, alive);
    bits |= static_cast<std::uint64_t>(path.heard_ever && heard) << path.number;
  }
  return bits;
}

std::uint64_t Liveness::ready_bits() const {
  std::uint64_t bits = 0;
  for (const Path& path : paths_) bits |= static_cast<std::uint64_t>(path.ready) << path.number;
  return bits;
}

std::uint64_t Liveness::stuck_bits() const {
  std::uint64_t bits = 0;
  for (const Path& path : paths_) bits |= static_cast<std::uint64_t>(path.stuck) << path.number;
  return bits;
}

std::uint64_t Liveness::member_bits() const {
  std::uint64_t bits = 0;
  for (const Path& path : paths_) bits |= static_cast<std::uint64_t>(path.member) << path.number;
  return bits;
}

// The peer waits for news: they go out at once and on all tunnels, not with the next round.
void Liveness::announce(TimePoint now) {
  const Announced latest{hears_bits(now), ready_bits(), stuck_bits(), member_bits()};
  if (latest == announced_) return;
  announced_ = latest;
  loud_rounds_ = kLoudRounds;
  for (Path& path : paths_) path.queued = true;
}

std::optional<Liveness::Transmit> Liveness::poll_transmit(TimePoint now) {
  const auto path = std::find_if(paths_.begin(), paths_.end(), [&](const Path& p) {
    return p.queued && !p.quiet && !is_without_carrier(p);
  });
  if (path == paths_.end()) return std::nullopt;
  path->queued = false;
  if (path->tx_packets) {
    path->own_unread = std::min(path->own_unread + 1, kUnreadMax);
    if (!path->unread_since) path->unread_since = now;
  }
  Probe probe;
  probe.role = static_cast<std::uint8_t>(options_.role);
  probe.tunnel = static_cast<std::uint8_t>(path->number);
  probe.instance = options_.instance;
  probe.sequence = ++sequence_;
  probe.tunnel_sequence = path->sequence++;
  probe.sent_us = micros(now);
  if (path->probes_seen > 0 && now - path->last_probe < seconds(60)) {
    probe.echo_us = path->peer_sent_us;
    probe.transit_us = path->transit_us;
    probe.held_us = static_cast<std::uint32_t>(duration_cast<microseconds>(now - path->last_probe).count());
  }
  probe.hears = hears_bits(now);
  probe.ready = ready_bits();
  probe.stuck = stuck_bits();
  probe.member = member_bits();
  for (const Path& each : paths_) {
    probe.fresh |= static_cast<std::uint64_t>(!each.heard_ever) << each.number;
  }
  return Transmit{path->tunnel.tap, render_probe(probe)};
}

std::optional<TunnelChange> Liveness::poll_change() {
  if (changes_.empty()) return std::nullopt;
  TunnelChange first = std::move(changes_.front());
  changes_.erase(changes_.begin());
  return first;
}

// We talk to an openvpn that is another one now: told on a tunnel that is heard, or guessed
// when all have been silent.
bool Liveness::lost_session(TimePoint now, const Path& path) const {
  if (!options_.sessions || !path.heard_ever) return false;
  if (now - peer_.last_frame > kSessionsLost) return true;
  return peer_bit(peer_.fresh, path) && now - path.last_rx > kLeastMissed * interval_;
}

std::optional<std::string> Liveness::poll_restart(TimePoint now) {
  if (options_.role != model::Role::kClient) return std::nullopt;
  for (Path& path : paths_) {
    if (now < path.restart_at && !lost_session(now, path)) continue;
    path.heard_ever = false;  // nothing of the next session
    path.restart_at = now + path.restart_pause;
    path.restart_pause = std::min(path.restart_pause * 2, kMaxRestart);
    return path.tunnel.tap;
  }
  return std::nullopt;
}

TunnelView Liveness::view(TimePoint now, const std::string& tap) const {
  const Path* const path = find(tap);
  if (path == nullptr) return {};
  TunnelView out;
  out.state = path->state;
  out.since = path->since;
  out.heard = heard(now, *path);
  out.heard_by_peer = peer_bit(peer_.hears, *path);
  if (path->heard_ever) out.heard_ms_ago = to_ms(now - path->last_rx);
  if (path->state == TunnelState::kStarting) out.reason = "no answer from the peer yet";
  if (path->state == TunnelState::kDown) out.reason = path->reason;
  if (path->rtt && out.heard) out.rtt_ms = to_ms(*path->rtt);
  out.behind = behind(*path);
  if (path->probes_seen > 0 && out.heard) out.loss_percent = path->loss < 0.0005 ? 0.0 : path->loss * 100;
  return out;
}

}  // namespace bondd::control

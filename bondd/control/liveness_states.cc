// What becomes of a tunnel: which state it has, when it changes, and which taps belong out of the bond.
#include <fmt/format.h>

#include <algorithm>

#include "bondd/control/liveness.h"
#include "bondd/control/liveness_times.h"

namespace bondd::control {
namespace {

constexpr const char* kHeld = "out of use";

std::string in_seconds(Duration d) {
  return fmt::format("{:.1f} s", std::chrono::duration<double>(d).count());
}

}  // namespace

void Liveness::change(TimePoint now, Path& path, TunnelState to, std::string reason) {
  if (path.state == to) return;
  if (to == TunnelState::kDown) {
    const bool flaps = path.went_down && now - path.since < std::max(kFlapping, 2 * path.hold);
    path.hold = flaps ? std::min(path.hold * 2, kMaxHold) : kFirstHold;
    path.went_down = now;
    path.peer_was_ready = false;
  }
  path.did_not_join = path.state == TunnelState::kJoining && to == TunnelState::kDown;
  changes_.push_back({path.tunnel.tap, path.tunnel.wan, path.state, to, reason});
  path.state = to;
  path.reason = std::move(reason);
  path.since = now;
  path.good_since.reset();
  path.agreed_at.reset();
  path.gives_up.reset();
  path.ready = to != TunnelState::kDown;
}

// Empty: it carries.
std::string Liveness::why_down(TimePoint now, const Path& path, bool alive) const {
  if (!path.heard_ever) return "nothing heard from the peer";
  if (silent(now, path, alive)) {
    return fmt::format("nothing heard from the peer for {}", in_seconds(now - path.last_rx));
  }
  if (!peer_bit(peer_.hears, path)) return "the peer hears nothing from here";
  if (path.peer_was_ready && !peer_bit(peer_.ready, path)) return "the peer stopped using it";
  return {};
}

bool Liveness::another_carries(const Path& path) const {
  return std::any_of(paths_.begin(), paths_.end(),
                     [&](const Path& other) { return &other != &path && other.state == TunnelState::kUp; });
}

void Liveness::take_back(TimePoint now, Path& path) {
  path.last_rx = std::max(path.last_rx, now);  // what joins is silent, at both ends
  path.peer_was_ready = peer_bit(peer_.ready, path);
  const std::string away = path.went_down ? in_seconds(now - *path.went_down) : std::string("a while");
  change(now, path, TunnelState::kUp, fmt::format("heard both ways again after {}", away));
}

// From "down" to "joining" (or to "up", while no other tunnel could bring the news): both ends have heard
// each other for the hold time, and say so. Who is ready stays so through a short silence: the other end may
// join already.
void Liveness::judge_return(TimePoint now, Path& path, const std::string& why) {
  const bool recent = path.ready && !path.held && now - path.last_rx <= kMostIntervals * interval_;
  if (!recent && !(why.empty() && heard(now, path))) {
    path.good_since.reset();
    path.agreed_at.reset();
    path.ready = false;
    return;
  }
  if (!path.good_since) path.good_since = now;
  const bool was_ready = path.ready;
  path.ready = now - *path.good_since >= path.hold;
  if (!path.ready || !peer_bit(peer_.ready, path)) {
    path.agreed_at.reset();
    return;
  }
  if (peer_use(path) != PeerUse::kUnknown && another_carries(path)) {
    path.join_until = now + kJoinMost;
    return change(now, path, TunnelState::kJoining, "heard both ways again, joins the bond");
  }
  // Without its word the end that learns of it first waits half a round trip, so that both use it at once.
  if (!path.agreed_at) path.agreed_at = was_ready ? now : now + path.rtt.value_or(Duration{}) / 2;
  if (now >= *path.agreed_at) take_back(now, path);
}

// Who gives up says so, and takes what comes until the other end has heard that, and its tap has left: it may
// have found both in their bonds just now, and sends.
void Liveness::judge_joining(TimePoint now, Path& path) {
  const bool late = now >= path.join_until;
  const bool peer_ready = peer_bit(peer_.ready, path);
  const bool peer_uses = peer_use(path) == PeerUse::kUses;
  if (!path.held && peer_ready && (!another_carries(path) || (!late && path.member && peer_uses)))
    return take_back(now, path);
  if (!path.held && peer_ready && !late) return;
  path.ready = false;
  if (!path.gives_up) path.gives_up = now;
  if ((peer_ready || peer_uses) && now < *path.gives_up + kGiveUpMost) return;
  change(now, path, TunnelState::kDown,
         path.held ? kHeld
         : late    ? "the two ends could not take it into their bonds at once"
                   : "the peer stopped using it");
}

void Liveness::judge(TimePoint now, Path& path, bool alive) {
  const std::string why = path.held ? kHeld : why_down(now, path, alive);
  switch (path.state) {
    case TunnelState::kStarting: {
      const bool other_carries = std::any_of(paths_.begin(), paths_.end(), [&](const Path& other) {
        return other.state == TunnelState::kUp && now - other.since >= kStartGrace;
      });
      if (why.empty()) {
        change(now, path, TunnelState::kUp, "heard both ways");
      } else if (other_carries && now - path.started >= kStartGrace) {
        change(now, path, TunnelState::kDown, why);
      }
      break;
    }
    case TunnelState::kUp:
      path.peer_was_ready |= peer_bit(peer_.ready, path);
      if (!why.empty()) change(now, path, TunnelState::kDown, why);
      break;
    case TunnelState::kDown:
      if (!path.heard_ever || !heard(now, path)) path.reason = why;
      judge_return(now, path, why);
      break;
    case TunnelState::kJoining:
      judge_joining(now, path);
      break;
  }
}

// No bondd at the other end: what comes out of the tunnel is all there is to go by, and its
// ARP requests come every ARP interval. For the status only; nothing leaves the bond.
void Liveness::judge_without_probes(TimePoint now, Path& path) {
  const Duration limit = std::max<Duration>(3 * options_.arp_interval, kQuietWithoutProbes);
  if (path.heard_ever && now - path.last_rx <= limit) {
    change(now, path, TunnelState::kUp, "heard; the peer sends no probes, the kernel's ARP monitor decides");
  } else if (path.heard_ever) {
    change(now, path, TunnelState::kDown,
           fmt::format("nothing heard from the peer for {}", in_seconds(limit)));
  }
}

void Liveness::evaluate(TimePoint now) {
  if (peer_.probes && now - peer_.last_probe > kProbesStopped) {
    const bool frames = std::any_of(paths_.begin(), paths_.end(), [&](const Path& p) {
      return p.heard_ever && p.last_rx > peer_.last_probe + kNoProbesAfter;
    });
    if (frames) peer_ = Peer{};
  }
  if (peer_.probes) {
    const bool alive = peer_alive(now);
    for (Path& path : paths_) judge(now, path, alive);
  } else if (peer_.frame_ever && now - peer_.first_frame >= kNoProbesAfter) {
    for (Path& path : paths_) judge_without_probes(now, path);
  }
  choose_dead();
  announce(now);
}

// When the last living tunnel dies too, all stays as it is: whichever comes back first
// finds the bond with something in it.
void Liveness::choose_dead() {
  std::set<std::string> down;
  for (const Path& path : paths_) {
    if (path.state == TunnelState::kDown) down.insert(path.tunnel.tap);
  }
  if (!peer_.probes) down.clear();
  if (!down.empty() && down.size() == paths_.size()) {
    std::erase_if(dead_, [&](const std::string& tap) { return !down.contains(tap); });
    if (dead_.size() == paths_.size()) dead_.clear();
    return;
  }
  dead_ = std::move(down);
}

}  // namespace bondd::control

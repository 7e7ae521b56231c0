// Which tunnels carry, told from our own probes. Pure: bytes, counters and time in;
// probes, the next deadline and the set of dead tunnels out.
//
// Both ends send a small frame on every tap, in every state. It says which tunnels its sender
// hears, so that a tunnel that is silent in one direction only is known to both ends:
//
//          tap 1  ---- probe: "I hear you on 1, not on 2" --->
//   office                                                     VPS
//          tap 2  ---- (lost) ------------------------- x
//
// A tunnel carries while we hear the peer on it (any frame counts, so that a queue full of
// data is not taken for death) and the peer says, on any tunnel, that it hears us there.
// Silence is judged against the line: the probes that may be lost in a row by chance, and its
// jitter. Coming back takes a second of both ends hearing each other, more if it flaps.
//
// What comes out of a tap that is not in the bond is lost, and the two ends change their bonds at
// different moments. So each end says which of its taps are in the bond, and sends nothing by a
// tunnel that returns (kJoining: its tap is in the bond without carrier, so that the bond takes what
// arrives and sends nothing) before the other end's tap is in its bond, too.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/units.h"
#include "bondd/control/tunnel_probe.h"
#include "bondd/model/config.h"

namespace bondd::control {

struct Tunnel {
  std::string tap;
  std::string wan;
  auto operator<=>(const Tunnel&) const = default;
};

struct LivenessOptions {
  model::Role role = model::Role::kClient;
  Duration arp_interval = std::chrono::milliseconds(300);  // bond.arp_interval; probes go four times as often
  std::uint32_t instance = 1;                              // random, not 0
  bool sessions = false;  // TLS: an openvpn that was started anew cannot read what the other one sends
};

enum class TunnelState : std::uint8_t {
  kStarting,  // nothing heard yet; may be used
  kUp,        // carries
  kDown,      // carried, or was tried long enough, and does not
  kJoining,   // comes back: to be in the bond without carrier until the other end's tap is in its bond
};

struct TunnelView {
  TunnelState state = TunnelState::kStarting;
  std::string reason;  // for the admin, empty when up: "nothing heard for 0.4 s"
  bool heard = false, heard_by_peer = false;
  std::optional<double> rtt_ms, loss_percent;  // loss of what the peer sends
  std::optional<double> heard_ms_ago;          // since the last frame of the peer
  // How much later than by the soonest tunnel that carries arrives what we send, while no queue of ours
  // stands before it: the least of two to four seconds without much traffic.
  std::optional<Duration> behind;
  TimePoint since;  // of the state
};

// Whether the other end's tap is in its bond.
enum class PeerUse : std::uint8_t { kUnknown, kUses, kLeft };

// A change of state, for the log.
struct TunnelChange {
  std::string tap, wan;
  TunnelState from = TunnelState::kStarting, to = TunnelState::kStarting;
  std::string reason;
};

class Liveness {
 public:
  Liveness(const LivenessOptions& options, TimePoint now);

  // Of bond.arp_interval as it is now: how often probes go, and how long a silence may be.
  void set_arp_interval(Duration arp_interval);
  // The tunnels in the plan's order; who was there before keeps its state. More than
  // kMaxTunnels: the rest is not watched and never dead.
  void set_tunnels(TimePoint now, const std::vector<Tunnel>& tunnels);
  [[nodiscard]] const std::vector<Tunnel>& tunnels() const { return tunnels_; }

  // `quiet`: taps that cannot send now, so no probes are made for them. `held`: taps that this end shall not
  // use; the other end is told so, and stops using them too. One that is no longer among them comes back as
  // after a silence: both ends agree on the moment.
  void set_use(TimePoint now, const std::set<std::string>& quiet, const std::set<std::string>& held);

  // Taps that are in this end's bond now. The other end is told.
  void set_members(TimePoint now, const std::set<std::string>& members);
  // By the newest probe. kUnknown: no probe came, or the other end does not tell.
  [[nodiscard]] PeerUse peer_use(const std::string& tap) const;
  // Taps in kJoining, and those that come from there and are not out of the bond yet: to be without carrier.
  [[nodiscard]] std::set<std::string> joining() const;

  // Bytes after the Ethernet header of a frame with kProbeEtherType that came in on `tap`.
  void handle_probe(TimePoint now, const std::string& tap, std::span<const std::uint8_t> payload);
  // The tap's counters, read now: packets out of the tunnel (rx) and into it (tx).
  void handle_counters(TimePoint now, const std::string& tap, std::uint64_t rx_packets,
                       std::uint64_t tx_packets);
  // Its openvpn has ended, or was started anew: it does not carry until it is heard again.
  void handle_restart(TimePoint now, const std::string& tap,
                      const std::string& reason = "its openvpn was started anew");
  // Call it at poll_timeout(), after what the sockets and counters have was handed in.
  void handle_timeout(TimePoint now);
  [[nodiscard]] TimePoint poll_timeout() const { return next_tick_; }

  // Probes to send now, at most one per tap and turn.
  struct Transmit {
    std::string tap;
    std::array<std::uint8_t, kProbeSize> payload{};
  };
  std::optional<Transmit> poll_transmit(TimePoint now);
  std::optional<TunnelChange> poll_change();
  // A tunnel whose openvpn should be started anew: the server's was, so that it does not know
  // the session, or the client heard nothing for so long that this, or a new NAT entry, may help.
  std::optional<std::string> poll_restart(TimePoint now);

  // Taps that belong out of the bond now, for Facts::dead. Never all of them, and none when
  // the peer sends no probes (no bondd there): then the kernel's ARP monitor decides.
  [[nodiscard]] const std::set<std::string>& dead() const { return dead_; }
  // An unknown tap counts as starting.
  [[nodiscard]] TunnelView view(TimePoint now, const std::string& tap) const;
  // The peer speaks this protocol, as far as known.
  [[nodiscard]] bool peer_probes() const { return peer_.probes; }
  // After how long a silence this tunnel counts as dead now.
  [[nodiscard]] Duration silence_limit(const std::string& tap) const;

 private:
  // In the order of its meaning, not of sizes: there are a dozen of them.
  // NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
  struct Path {
    Tunnel tunnel;
    unsigned number = 0;  // in our probes; stays while the tunnel is there
    TunnelState state = TunnelState::kStarting;
    std::string reason;
    TimePoint since, started;  // of the state; of the openvpn

    // Receiving.
    bool heard_ever = false;
    bool quiet = false, held = false;  // see set_use()
    bool member = false;               // see set_members()
    TimePoint last_rx, last_probe;
    std::optional<std::uint64_t> rx_packets;
    std::optional<unsigned> peer_number;
    std::uint32_t peer_sent_us = 0, next_sequence = 0;
    std::optional<Duration> rtt, transit;
    std::uint32_t transit_us = 0;                            // what the peer sends, as in Probe
    std::optional<std::uint32_t> least_there, least_before;  // what we send, in this window and the last
    TimePoint least_since;
    unsigned transits_in_window = 0;
    Duration jitter{};
    double loss = 0;
    unsigned probes_seen = 0;

    // Sending.
    std::uint32_t sequence = 0;
    std::optional<std::uint64_t> tx_packets;
    std::uint64_t own_unread = 0;           // probes that openvpn has not taken off the tap yet
    std::optional<TimePoint> unread_since;  // and it took nothing since then
    bool stuck = false;                     // as of the last reading of the counters
    TimePoint last_stuck;                   // at either end
    std::uint64_t data_packets = 0;         // others that went into it in this round
    bool busy = false;                      // many of them, in the last round
    bool queued = false;                    // a probe is to be sent

    // Coming back.
    std::optional<TimePoint> good_since, agreed_at;
    TimePoint join_until;
    std::optional<TimePoint> gives_up;  // while it joins: waits for the other end's tap to leave
    bool did_not_join = false;          // down, and came from there: a pass may still be to take it out
    bool ready = false, peer_was_ready = false;
    Duration hold{};
    std::optional<TimePoint> went_down;
    TimePoint restart_at;
    Duration restart_pause{};
  };
  struct Peer {
    bool probes = false;
    std::uint32_t instance = 0, previous_instance = 0, sequence = 0;
    std::uint64_t hears = 0, ready = 0, fresh = 0;
    std::optional<std::uint64_t> member;
    TimePoint last_probe, first_frame, last_frame;
    TimePoint alive_since;  // heard on some tunnel or other without a pause
    bool frame_ever = false;
  };

  struct Announced {
    std::uint64_t hears = 0, ready = 0, stuck = 0, member = 0;
    bool operator==(const Announced&) const = default;
  };

  Path* find(const std::string& tap);
  [[nodiscard]] const Path* find(const std::string& tap) const;
  [[nodiscard]] Duration silence_limit(const Path& path) const;
  [[nodiscard]] bool heard(TimePoint now, const Path& path) const;
  [[nodiscard]] Duration alive_gap() const;
  [[nodiscard]] bool peer_alive(TimePoint now) const;
  [[nodiscard]] bool silent(TimePoint now, const Path& path, bool alive) const;
  [[nodiscard]] bool peer_bit(std::uint64_t bits, const Path& path) const;
  void measure(TimePoint now, Path& path, const Probe& probe);
  void note_transit_there(TimePoint now, Path& path, std::uint32_t transit_us);
  [[nodiscard]] std::optional<std::uint32_t> transit_there(const Path& path) const;
  [[nodiscard]] std::optional<Duration> behind(const Path& path) const;
  void note_frame(TimePoint now, Path& path);
  [[nodiscard]] bool of_the_last(TimePoint now, const Path& path) const;
  void forgive_our_own_delay(TimePoint now);
  void queue_round();
  [[nodiscard]] bool is_young(TimePoint now) const;
  [[nodiscard]] TimePoint next_deadline(TimePoint now) const;
  void evaluate(TimePoint now);
  void judge(TimePoint now, Path& path, bool alive);
  void judge_without_probes(TimePoint now, Path& path);
  [[nodiscard]] std::string why_down(TimePoint now, const Path& path, bool alive) const;
  void judge_return(TimePoint now, Path& path, const std::string& why);
  void judge_joining(TimePoint now, Path& path);
  void take_back(TimePoint now, Path& path);
  [[nodiscard]] bool another_carries(const Path& path) const;
  [[nodiscard]] PeerUse peer_use(const Path& path) const;
  [[nodiscard]] bool is_without_carrier(const Path& path) const;
  void change(TimePoint now, Path& path, TunnelState to, std::string reason);
  void announce(TimePoint now);
  void choose_dead();
  [[nodiscard]] std::uint64_t hears_bits(TimePoint now) const;
  [[nodiscard]] std::uint64_t ready_bits() const;
  [[nodiscard]] std::uint64_t stuck_bits() const;
  [[nodiscard]] std::uint64_t member_bits() const;
  void note_stuck(TimePoint now);
  [[nodiscard]] bool lost_session(TimePoint now, const Path& path) const;

  LivenessOptions options_;
  Duration interval_{};  // between two rounds of probes
  std::vector<Tunnel> tunnels_;
  std::vector<Path> paths_;  // of tunnels_, in their order
  Peer peer_;
  std::set<std::string> dead_;
  std::vector<TunnelChange> changes_;
  TimePoint next_tick_, next_round_;
  std::uint32_t sequence_ = 0;
  Announced announced_;
  unsigned round_ = 0, loud_rounds_ = 0;
};

}  // namespace bondd::control

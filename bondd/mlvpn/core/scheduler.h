// Which packet leaves next, by which link and when, towards a peer that reports
// nothing (upstream). Between two bondd, Sender does this and more.
//
//   ingress --number--> stage of a link --pacer--> wire
//
// What there is to go by are the timestamp echoes: one says that everything sent
// up to a round trip ago has left the line, and how long it queued there. So:
//
// * Each link is paced at what it delivers (RateControl), an echo being taken for
//   the confirmation of all that was sent a round trip before it. A given rate is
//   an upper bound.
// * A packet goes where it arrives first. A slow link gets a packet only when the
//   faster ones cannot carry all that waits before that packet would be there;
//   they get their share numbered first, so that packets arrive nearly in order.
// * With a weight given for every link that can be used, their bytes follow the
//   weights instead, in bursts that last about as long on every link.
//
// Links are taken in tiers: healthy ones first, fallback_only links only when
// none of these is left, lossy and slow ones only after that, silent ones last:
// as long as any session is up, there is a link.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "bondd/mlvpn/core/packet.h"
#include "bondd/mlvpn/core/rate_control.h"
#include "bondd/mlvpn/core/ring.h"
#include "bondd/mlvpn/core/types.h"

namespace bondd::mlvpn {

class Scheduler {
 public:
  enum class Tier : std::uint8_t { kNormal, kFallback, kSpared, kSilent, kUnusable };

  // A packet and its place in the endpoint's count of DATA.
  struct Pick {
    LinkId link = 0;
    PacketRef packet;
    std::uint64_t data_seq = 0;
  };

  // Takes packets from `ingress`, which the engine fills.
  explicit Scheduler(Ring<PacketRef>& ingress) : ingress_(ingress) {}

  // The link's standing. `weight` 0: by capacity. `rate` 0: not known. Call when
  // something changed.
  void set(TimePoint now, LinkId link, Tier tier, double weight, Rate rate);
  void remove(LinkId link);
  void set_blocked(LinkId link, bool blocked);
  // A timestamp echo came over the link: its round trip.
  void on_echo(TimePoint now, LinkId link, Duration rtt);

  // The packet that is to leave now, nothing when none may. The same until it is
  // taken; `bytes` is what it costs on the wire.
  std::optional<Pick> next(TimePoint now);
  void take(TimePoint now, std::size_t bytes);
  // When `next` may yield something again though it did not now; empty when only
  // an event (a session, a writable socket, a packet) can change that.
  [[nodiscard]] std::optional<TimePoint> next_time(TimePoint now) const;

  // Whether any link has a session, so that packets are worth keeping.
  [[nodiscard]] bool usable() const { return best_tier() != Tier::kUnusable; }
  // Packets that are numbered and wait for their link.
  [[nodiscard]] std::size_t staged() const { return staged_packets_; }
  // How many packets should wait altogether: what the links carry in a round trip
  // and a little more.
  [[nodiscard]] std::size_t queue_limit() const;
  // Percent of the sent bytes of the recent past.
  [[nodiscard]] double share(LinkId link) const;
  // What the link is believed to carry; 0 before anything is known.
  [[nodiscard]] Rate capacity(LinkId link) const;
  // Takes one packet that waits, staged ones first (for another sender).
  std::optional<PacketRef> surrender();

 private:
  struct Confirmed {       // what an echo said
    TimePoint at, sent;    // when it came, and when that packet had left
    double delivered = 0;  // bytes, by then
  };
  struct Mark {  // what was sent by then
    TimePoint sent;
    double total = 0;  // bytes sent so far
    Confirmed before;  // a while before this was sent: the rate is measured from there
    bool idle = false;
  };
  struct Staged {
    PacketRef packet;
    std::uint64_t data_seq = 0;
  };
  struct Lane {
    LinkId id = 0;
    bool blocked = false;
    bool was_full = false;  // the window, not the pacer, held it back
    Tier tier = Tier::kUnusable;
    double weight = 0;
    Rate bound;
    RateControl control;
    std::deque<Mark> marks;
    std::deque<std::pair<TimePoint, double>> flight;  // when, and the total then
    double total = 0;                                 // bytes sent
    double delivered = 0;                             // of these, confirmed by echoes
    double landed = 0;                                // not on the way any more
    Confirmed newest, step, older;                    // the last two at least kStep apart
    TimePoint busy_since;
    TimePoint next_send;
    std::deque<Staged> staged;
    double staged_bytes = 0;
    double vtime = 0;
    double recent = 0;  // bytes sent, halved now and then

    [[nodiscard]] double in_flight() const { return total - landed; }
  };

  [[nodiscard]] Lane* find(LinkId link) const;
  [[nodiscard]] Tier best_tier() const;
  [[nodiscard]] bool by_weight(Tier tier) const;
  [[nodiscard]] double leeway(const Lane& lane) const;
  [[nodiscard]] double pace(const Lane& lane) const;
  [[nodiscard]] double window(const Lane& lane) const;
  [[nodiscard]] double rate_of(const Lane& lane) const;
  [[nodiscard]] bool window_open(const Lane& lane) const;
  [[nodiscard]] bool ready(const Lane& lane, TimePoint now) const;
  [[nodiscard]] double arrival_ms(const Lane& lane, TimePoint now) const;
  Lane* soonest(Tier tier, TimePoint now) const;
  std::optional<Pick> next_by_weight(Tier tier, TimePoint now);
  std::optional<Pick> next_by_arrival(Tier tier, TimePoint now);
  std::optional<Pick> from_stage(Lane& lane);
  Staged number();
  void restage(Lane& lane);
  void expire(Lane& lane, TimePoint now) const;

  Ring<PacketRef>& ingress_;
  std::deque<Staged> returned_;  // numbered, their link is gone: next of all
  std::array<std::unique_ptr<Lane>, kMaxLinks> lanes_;
  std::size_t count_ = 0;
  std::size_t staged_packets_ = 0;
  std::uint64_t data_seq_ = 0;
  std::optional<Pick> pick_;
  double vclock_ = 0;  // virtual time of the last choice by weight
  double recent_total_ = 0;
  LinkId last_link_ = 0;
  TimePoint last_at_;
};

}  // namespace bondd::mlvpn

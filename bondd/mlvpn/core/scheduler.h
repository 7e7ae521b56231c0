// Which link the next packets leave by, and when.
//
// By bytes, in proportion to the links' weights: each link has a virtual time
// that advances by bytes / weight, and the one furthest behind is next. A burst
// lasts about as long on every link (kBurstTime), so that a slow line gets few
// packets at once. A link with a known rate is paced by a token bucket at that
// rate; where none is known, the socket's own buffer is the limit.
//
// Links are taken in tiers: healthy ones first, fallback_only links only when
// none of these is left, lossy and slow ones only after that, silent ones last:
// as long as any session is up, there is a link.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "bondd/mlvpn/core/types.h"

namespace bondd::mlvpn {

class Scheduler {
 public:
  enum class Tier : std::uint8_t { kNormal, kFallback, kSpared, kSilent, kUnusable };

  struct Grant {
    LinkId link = 0;
    std::size_t bytes = 0;  // of UDP payload; one packet more than that is never sent
  };

  // The link's standing. `weight` > 0 in any unit, the same for all; `rate` 0 is
  // not known. Call when something changed; cheap.
  void set(TimePoint now, LinkId link, Tier tier, double weight, Rate rate);
  void remove(LinkId link);
  void set_blocked(LinkId link, bool blocked);

  // The link for the next burst; nothing when none may send now.
  std::optional<Grant> choose(TimePoint now);
  void sent(TimePoint now, LinkId link, std::size_t bytes, std::size_t packets);
  // When `choose` may yield something again though it did not now; empty when
  // only an event (a session, a writable socket) can change that.
  [[nodiscard]] std::optional<TimePoint> next_time(TimePoint now) const;

  // Whether any link has a session, so that packets are worth keeping.
  [[nodiscard]] bool usable() const { return best_tier() != Tier::kUnusable; }
  // Percent of the sent bytes of the recent past.
  [[nodiscard]] double share(LinkId link) const;

 private:
  struct Lane {
    bool present = false, blocked = false;
    Tier tier = Tier::kUnusable;
    double weight = 1;
    Rate rate;
    double vtime = 0;
    double tokens = 0;  // bytes; may go below 0 by one packet
    TimePoint filled;
    double recent = 0;  // bytes sent, halved now and then
  };

  [[nodiscard]] Tier best_tier() const;
  [[nodiscard]] static double burst_bytes(const Lane& lane);
  static void refill(Lane& lane, TimePoint now);

  std::array<Lane, 256> lanes_{};
  std::array<LinkId, kMaxLinks> ids_{};
  std::size_t count_ = 0;
  double vclock_ = 0;  // virtual time of the last choice
  double recent_total_ = 0;
};

}  // namespace bondd::mlvpn

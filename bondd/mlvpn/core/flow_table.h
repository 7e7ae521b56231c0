// Which of the peer's flows a link listens to. A flow is one run of the peer's
// process on this link: a random id and growing sequence numbers, both bound
// into every MAC. The key never changes over restarts, so an old recording
// opens for ever; what tells it from the living peer is kept here.
//
//   current    the flow that is believed; it has a replay window
//   previous   the one before: if it goes on speaking while the current one is
//              silent it was no straggler: it becomes current again (the AUTH of
//              the other was a recording). An original peer's stragglers still pass
//   candidate  a new flow that said AUTH while the current one was alive
//   retired    ids that were replaced: replays, but that it may say AUTH and prove itself
//
// A flow has a rank, and gives way to one of less only when it was silent for long:
//
//   kProven    showed a number that we made for it: no recording can
//   kBondd     its numbers start at a time base, so a newer flow is known for one
//   kOriginal  any other
//   kSession   all of it comes under keys of the link's own: no static packet is part of it
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "bondd/mlvpn/core/capability.h"
#include "bondd/mlvpn/core/replay.h"
#include "bondd/mlvpn/core/types.h"

namespace bondd::mlvpn {

enum class FlowRank : std::uint8_t { kOriginal, kBondd, kProven, kSession };

struct PeerFlow {
  std::uint32_t id = 0;
  FlowRank rank = FlowRank::kOriginal;
  ReplayWindow window;  // of packets with a MAC
  Endpoint peer;        // sender of the newest packet
  TimePoint heard;      // arrival of the newest packet
  std::optional<Announcement> announcement;
  // Clear DATA says nothing that can be believed: its numbers have a window of their own.
  ReplayWindow clear;
  TimePoint clear_newest_at;

  // The highest number seen.
  [[nodiscard]] std::uint64_t newest() const { return std::max(window.newest(), clear.newest()); }
};

class FlowTable {
 public:
  enum class Place : std::uint8_t { kCurrent, kPrevious, kCandidate, kUnknown, kRetired, kReplay };

  // Where a packet belongs, before anything was decrypted.
  // `in_session`: it came under session keys, and such a flow is found by no other packet.
  [[nodiscard]] Place find(std::uint32_t flow_id, std::uint64_t seq, bool in_session = false) const;
  // Whether the flow spoke on this link, ever (of the last 64).
  [[nodiscard]] bool knows(std::uint32_t flow_id) const;

  struct Accepted {
    bool fresh = false;   // not a duplicate
    bool newest = false;  // newer than all before it in its flow
    bool moved = false;   // the flow's peer address changed: only a newest packet may do that
    bool forged = false;  // clear DATA before it had numbers that the peer never sent
  };
  // After its MAC was checked: marks the number.
  Accepted accept(TimePoint now, Place place, std::uint64_t seq, const Endpoint& from, bool is_auth);
  // Clear DATA of the current flow, from its address: marks the number where it moves nothing.
  Accepted accept_clear(TimePoint now, std::uint64_t seq);

  // A packet of the previous flow that is newer than all before, while the current flow was
  // silent or is of lower rank: the previous one is the living one. True when it was taken back.
  bool take_back(TimePoint now);

  // An unknown flow said AUTH (or AUTH_OK), its MAC was right. kSwitched: it is
  // current now. kWaits: it is the candidate. kRefused: a recording.
  enum class Verdict : std::uint8_t { kSwitched, kWaits, kRefused };
  struct Proposal {
    std::uint32_t flow_id = 0;
    std::uint64_t seq = 0;
    Endpoint from;
    std::optional<Announcement> announcement;
    bool proven = false;
    bool link_up = false;
    Duration timeout{};  // of the link: then a flow of higher rank is gone
  };
  Verdict propose(TimePoint now, const Proposal& proposal);
  // Session keys were agreed on: this flow is current, and what was is over.
  void begin_session(TimePoint now, std::uint32_t flow_id, const Endpoint& from,
                     const Announcement& announcement);
  // The current flow's peer answered from there what it was asked just now.
  void move_current(const Endpoint& from) { current_->peer = from; }
  // The candidate becomes current when it said more than AUTH, and the current flow has been
  // silent since.
  bool promote_candidate(TimePoint now);
  [[nodiscard]] std::optional<TimePoint> candidate_deadline() const;

  [[nodiscard]] const std::optional<PeerFlow>& current() const { return current_; }

  // A sequence number that starts at a time base (after 2001) and not at 0.
  static bool time_based(std::uint64_t seq) { return seq >= std::uint64_t{1'000'000'000'000'000} << 8; }

 private:
  void replace_current(TimePoint now, const PeerFlow& with);
  void retire(std::uint32_t id);
  [[nodiscard]] bool is_retired(std::uint32_t id) const;

  std::optional<PeerFlow> current_, previous_, candidate_;
  TimePoint candidate_since_;
  bool candidate_spoke_ = false;  // said more than AUTH
  TimePoint switched_at_;
  std::array<std::uint32_t, 64> retired_{};
  std::size_t retired_count_ = 0;  // of all times; the last 64 are kept
};

}  // namespace bondd::mlvpn

// Which of the peer's flows a link listens to. A flow is one run of the peer's
// process on this link: a random id and growing sequence numbers, both bound
// into every MAC. The key never changes over restarts, so an old recording
// opens for ever; what tells it from the living peer is kept here.
//
//   current    the flow that is believed; it has a replay window
//   previous   the one before: its stragglers still pass, and if it goes on
//              speaking while the current one is silent it was no straggler:
//              it becomes current again (the AUTH of the other was a recording)
//   candidate  a new flow that said AUTH while the current one was alive
//   retired    ids that were replaced: replays for good
//
// bondd's own sequence numbers start at a time base and so order its flows: a
// new flow that is not newer than the current one is a recording.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "bondd/mlvpn/core/replay.h"
#include "bondd/mlvpn/core/types.h"

namespace bondd::mlvpn {

struct PeerFlow {
  std::uint32_t id = 0;
  ReplayWindow window;
  Endpoint peer;    // sender of the newest packet
  TimePoint heard;  // arrival of the newest packet
};

class FlowTable {
 public:
  enum class Place : std::uint8_t { kCurrent, kPrevious, kCandidate, kUnknown, kReplay };

  // Where a packet belongs, before anything was decrypted.
  [[nodiscard]] Place find(std::uint32_t flow_id, std::uint64_t seq) const;

  struct Accepted {
    bool fresh = false;   // not a duplicate
    bool newest = false;  // newer than all before it in its flow
    bool moved = false;   // the flow's peer address changed: only a newest packet may do that
  };
  // After its MAC was checked: marks the number.
  Accepted accept(TimePoint now, Place place, std::uint64_t seq, const Endpoint& from);

  // A packet of the previous flow that is newer than all before, while the
  // current flow was silent: the previous one is the living one. True when it
  // was taken back.
  bool take_back(TimePoint now);

  // An unknown flow said AUTH (or AUTH_OK), its MAC was right. kSwitched: it is
  // current now. kWaits: it is the candidate. kRefused: a recording.
  enum class Verdict : std::uint8_t { kSwitched, kWaits, kRefused };
  Verdict propose(TimePoint now, std::uint32_t flow_id, std::uint64_t seq, const Endpoint& from,
                  bool link_up);
  // The candidate becomes current when the current flow has been silent since.
  bool promote_candidate(TimePoint now);
  [[nodiscard]] std::optional<TimePoint> candidate_deadline() const;

  // Whether a DISCONNECT of an unknown flow is of a newer run of the peer.
  [[nodiscard]] bool is_newer_run(std::uint64_t seq) const;

  [[nodiscard]] const std::optional<PeerFlow>& current() const { return current_; }

  // A sequence number that starts at a time base (after 2001) and not at 0.
  static bool time_based(std::uint64_t seq) { return seq >= std::uint64_t{1'000'000'000'000'000} << 8; }

 private:
  void replace_current(const PeerFlow& with);
  void retire(std::uint32_t id);

  std::optional<PeerFlow> current_, previous_, candidate_;
  TimePoint candidate_since_;
  TimePoint switched_at_;
  std::array<std::uint32_t, 64> retired_{};
  std::size_t retired_count_ = 0;  // of all times; the last 64 are kept
};

}  // namespace bondd::mlvpn

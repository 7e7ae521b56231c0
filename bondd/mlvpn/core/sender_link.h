// One link as the sender keeps it, shared by the sender's two halves: sender.cc (what
// leaves, and where) and sender_reports.cc (what becomes of it).
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "bondd/mlvpn/core/sender.h"
#include "bondd/mlvpn/core/wire.h"
#include "bondd/mlvpn/line/path_size.h"

namespace bondd::mlvpn {

inline constexpr auto kPacerSlack = std::chrono::microseconds(400);  // a wake-up sends this much ahead
inline constexpr auto kRepairFor = std::chrono::milliseconds(1500);  // then a packet is nobody's any more
inline constexpr double kLossBefore = 0.005;                         // of a line that has not proved itself
inline constexpr double kLossMemory = 512;                           // packets, of the moving share
inline constexpr unsigned kLossKnown = 100;                          // packets, below which a share is chance
inline constexpr unsigned kLossSettled = 8192;                       // packets: e^-16 of kLossBefore is left
inline constexpr double kCopyLoss = 0.001;                           // from here on spare room carries copies
inline constexpr double kCopyJitterMs = 3;

struct Sender::Link {
  explicit Link(const Tuning& tuning) : rate(tuning) {}
  LinkId id = 0;
  std::uint32_t flow_id = 0;
  bool blocked = false;
  bool usable = false, fallback = false, silent = false;
  Line rate;
  PathSize size;
  std::size_t lost_by_silence = 0;      // the longest datagram of those, if it is long; else 0
  std::deque<Outstanding> outstanding;  // by sequence number, gaps allowed
  std::deque<Data> staged;
  std::size_t staged_bytes = 0;
  double in_flight = 0;  // bytes
  double delivered = 0;
  std::uint32_t newest_arrived_us = 0;
  TimePoint newest_sent{};
  std::uint64_t highest_reported = 0;
  std::uint64_t highest_timed = 0;  // the newest whose arrival told of delay and rate
  bool any_report = false, any_timed = false;
  TimePoint next_send{}, busy_since{};
  TimePoint last_progress{};
  TimePoint next_probe{};
  TimePoint last_control{};
  bool probe_wanted = false;
  bool was_full = false;      // the window, not the pacer, held this link back
  double loss = kLossBefore;  // moving share
  std::uint64_t repaired = 0;
  // Packets that came to count in `loss`, up to the many after which nothing of kLossBefore is left in it.
  unsigned judged = 0;

  // Whether a packet of the tun's, sealed, passes the line, as far as is known.
  [[nodiscard]] bool fits(std::size_t packet) const { return size.fits(packet + kOverhead); }
  [[nodiscard]] std::optional<double> measured_loss() const;
};

}  // namespace bondd::mlvpn

// What a receiver tells the sender about each line, a hundred times a second while data
// flows: which packets came, when the newest came, how much. A bondd peer's packet of
// type FEEDBACK carries it; upstream peers never see one.
//
//   byte  0      version, 1
//         1      number of links n
//         2-3    patience: how long packets from the maker of this report should wait
//                behind a hole, ms (big-endian, as all integers here)
//         4-7    clock: when this was made, us of the receiver's clock, mod 2^32
//   then n times
//         0-3    flow_id of the packets that this record is about: it names the
//                sender's link, whatever either end calls it
//         4      number of gaps g
//         5-12   highest sequence number received of this flow
//         13-16  when the newest came that did not run ahead, us of the receiver's clock,
//                mod 2^32. A packet runs ahead while others are missing below it and fewer
//                than three came above those: its time says nothing about the line
//         17-20  how many numbers below the highest that one is
//         21-24  span: how many numbers below the highest this record speaks for
//         then g times, downwards from the highest: 2 bytes of numbers received, 2 bytes
//         of numbers missing below these
//
// Everything between the gaps was received. Reports repeat what is still missing, so a
// lost one costs nothing but time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "bondd/base/units.h"
#include "bondd/mlvpn/core/types.h"

namespace bondd::mlvpn {

struct Gap {
  std::uint16_t received = 0;  // numbers above the gap, down from the one before
  std::uint16_t missing = 0;
};

struct LinkReport {
  std::uint32_t flow_id = 0;
  std::uint64_t highest = 0;
  std::uint32_t arrived_us = 0;
  std::uint32_t back = 0;  // arrived_us is of the packet `highest - back`
  std::uint32_t span = 0;
  std::vector<Gap> gaps;
};

struct Report {
  std::uint16_t patience_ms = 0;
  std::uint32_t clock_us = 0;
  std::vector<LinkReport> links;
};

std::vector<std::uint8_t> render_report(const Report& report);
// Nothing when the bytes are not exactly one report of version 1. Any bytes are allowed.
std::optional<Report> parse_report(std::span<const std::uint8_t> bytes);

// Microseconds of `now` as reports carry them.
inline std::uint32_t report_clock(TimePoint now) {
  return static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count());
}

// Collects the arrivals of one link and makes its report.
class ArrivalLog {
 public:
  static constexpr std::size_t kWindow = 8192;  // numbers remembered
  static constexpr std::size_t kMaxGaps = 40;   // the newest that a report names

  // An authentic packet with number `seq` came. Returns true when numbers before it have
  // not come (yet).
  bool on_packet(TimePoint now, std::uint64_t seq);
  [[nodiscard]] bool any() const { return any_; }
  [[nodiscard]] LinkReport report(std::uint32_t flow_id, std::size_t most_gaps = kMaxGaps) const;

 private:
  [[nodiscard]] bool has(std::uint64_t seq) const {
    return (bits_[seq / 64 % (kWindow / 64)] >> (seq % 64) & 1) != 0;
  }

  std::vector<std::uint64_t> bits_ = std::vector<std::uint64_t>(kWindow / 64);
  void note_time(TimePoint now, std::uint64_t seq);

  std::uint64_t lowest_ = 0, highest_ = 0;
  std::uint64_t timed_ = 0;  // the newest that did not run ahead
  std::uint32_t arrived_us_ = 0;
  bool any_ = false;
};

// Decides when a report is due: at once when something is missing, else after a few
// milliseconds or many bytes.
class Reporter {
 public:
  // A packet came on `link`. Reports and other packets that nobody waits for an answer
  // to have `eliciting` false.
  void on_packet(TimePoint now, std::uint32_t flow_id, std::uint64_t seq, std::size_t bytes, bool eliciting);
  // The peer begins anew: nothing of before is reported.
  void reset() { logs_.clear(); }
  // What was noted of this flow was no word of the peer.
  void forget(std::uint32_t flow_id) {
    std::erase_if(logs_, [&](const Log& log) { return log.flow_id == flow_id; });
  }

  // The usual time between two reports while data flows, 5 to 25 ms.
  void set_interval(Duration interval) { interval_ = interval; }

  [[nodiscard]] std::optional<TimePoint> next_timeout() const { return due_; }
  // The report of now. `patience` goes into it. It fits one packet: with many lossy links each
  // names fewer gaps, with very many each report is about the next ones of them.
  std::vector<std::uint8_t> make(TimePoint now, Duration patience);

 private:
  struct Log {
    std::uint32_t flow_id;
    TimePoint heard;
    ArrivalLog log;
  };
  std::vector<Log> logs_;
  std::size_t turn_ = 0;  // of the logs, when there are too many for one report
  std::optional<TimePoint> due_;
  TimePoint last_{};
  std::size_t bytes_since_ = 0;
  Duration interval_{std::chrono::milliseconds(10)};
};

}  // namespace bondd::mlvpn

// Which sizes of datagrams pass a line. Some lines drop long ones without a word (a tunnel behind the modem,
// a firewall that drops fragments): RFC 8899 calls that a black hole. It is told by long datagrams that are
// lost while shorter ones sent later arrive; then probes find the longest that passes, and ask now and then
// whether that has changed.
//
//   all ── some long ones lost in a row ──> ask ── probes lost, too ──> search ── the longest is known ──>
//   known
//    |                                                                     ^
//    └── a long row ───────────────────────────────────────────────────────┘
//   From each back to all: one as long as the longest that was lost arrives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "bondd/base/units.h"

namespace bondd::mlvpn {

class PathSize {
 public:
  // All sizes are of UDP payload. The size that every line is taken to carry: RFC 8899, BASE_PLPMTU.
  static constexpr std::size_t kBase = 1200;
  // So many long ones lost in a row are worth a question. Chance on a line that loses 30 %: once in 37.
  static constexpr unsigned kAskRow = 3;
  // So many show that the line is narrow. With 8, a line that jitters by 20 ms and passes packets was taken
  // for one now and then; the first probe shows such a mistake.
  static constexpr unsigned kRow = 16;

  // A datagram arrived.
  void on_confirmed(TimePoint now, std::size_t bytes);
  // One was lost, though later ones arrived.
  void on_lost(TimePoint now, std::size_t bytes);
  // All that the line carried was lost, one of `bytes` among it, and now it answers again.
  void on_answer_after_silence(TimePoint now, std::size_t bytes) { ask(now, bytes); }

  [[nodiscard]] bool is_narrow() const { return state_ == State::kNarrow; }
  [[nodiscard]] bool fits(std::size_t bytes) const { return !is_narrow() || bytes <= passes_; }
  // The longest that is known to pass, while longer ones do not; nothing: all that we send do.
  [[nodiscard]] std::optional<std::size_t> limit() const {
    return is_narrow() ? std::optional(passes_) : std::nullopt;
  }
  // Whether limit() is exact; else it is still searched for.
  [[nodiscard]] bool found() const { return is_narrow() && fails_ - passes_ <= kExact; }

  // The size of the probe that is due, to be sent now; nothing: none is. `trip`: how long an answer takes.
  std::optional<std::size_t> take_probe(TimePoint now, Duration trip);
  // When take_probe() has one; nothing: never.
  [[nodiscard]] std::optional<TimePoint> next_probe() const {
    return state_ == State::kAll ? std::nullopt : std::optional(next_probe_);
  }

 private:
  static constexpr std::size_t kExact = 8;  // bytes: nearer is worth no more probes

  enum class State : std::uint8_t {
    kAll,     // every size passes, as far as is known
    kAsk,     // probes ask whether long ones do; meanwhile they may be sent
    kNarrow,  // they do not: the longest that passes is searched for, or known
  };

  void ask(TimePoint now, std::size_t bytes);
  void begin_search(TimePoint now);
  std::size_t send_probe(TimePoint now, Duration trip);
  void probe_failed(TimePoint now);

  // A row of lost ones.
  unsigned row_ = 0;
  std::size_t longest_lost_ = 0;

  State state_ = State::kAll;
  bool short_passed_ = false;           // since the last question: the line lives
  std::size_t passes_ = 0, fails_ = 0;  // the longest that passes, the shortest that does not
  std::size_t wanted_ = 0;              // the longest that was lost: when it passes there is no limit
  std::size_t probe_ = 0;               // the size that is asked about; 0: none
  unsigned tries_ = 0;
  TimePoint next_probe_{};
  Duration again_{};
};

}  // namespace bondd::mlvpn

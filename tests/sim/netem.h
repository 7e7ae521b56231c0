// The rules of Linux's netem for one direction of a line, and a few of its neighbours in
// tc(8), without a clock of its own: the simulator and the user-space emulator both run them.
//
//   packet -> loss? -> too big? -> policer? -> duplicate? -> limit? -> leaves at
//        no rate:      now + delay                                          (jitter reorders)
//        a rate:       max(last packet's time, now + delay) + size / rate   (order kept)
//        token bucket: as soon after now + delay as it holds the size       (order kept)
//        a recording:  its next chance for so many bytes after now + delay  (order kept)
//   and then, with slots, at the end of the slot; some are late, and passed by others
//
// Sizes are those of the Ethernet frame without FCS, as netem counts them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "bondd/base/error.h"
#include "tests/sim/random.h"
#include "tests/sim/shaper.h"

namespace bondd::sim {

// Both directions of a line; made of one spec they are alike.
struct LineSpecs {
  LineSpecs(const LineSpec& both) : up(both), down(both) {}  // NOLINT: what most lines are
  LineSpecs(LineSpec up_way, LineSpec down_way) : up(std::move(up_way)), down(std::move(down_way)) {}
  LineSpec up, down;
};

// What the line offers from `from` to `to` to packets that it can carry, in Mbit/s; times
// since its recording began. 0 for a line without a limit.
double offered_mbit(const LineSpec& line, Duration from, Duration to);

// Parses "delay 20ms 5ms distribution normal loss 0.5% rate 40mbit limit 100", and
//   duplicate 1%   reorder 2%
//   loss gemodel 2% 40% 70% 0.1%   bursts: to the bad state, back, loss in the bad one, in the good one
//   rate 8mbit burst 16000         a token bucket of so many bytes
//   rate 8mbit police 1000000      what comes faster is lost, but for a burst of so many bytes
//   slot 2ms 8ms                   what comes within that time leaves together
//   mtu 1400                       longer IP packets are lost
//   late 5ms 10%                   so many are that late, and passed by others
//   trace FILE offset 20           a recording, and the second of it to begin at
// FILE is looked up in `directory`. Fails on any other word.
Result<LineSpec> parse_line_spec(std::string_view text, const std::string& directory = ".");

// A queue of packets under netem's rules. Not limited in bytes, only in packets.
template <typename Packet>
class NetemQueue {
 public:
  NetemQueue(const LineSpec& spec, std::uint64_t seed) : spec_(spec), random_(seed), shaper_(spec) {}

  // Takes or drops a packet whose frame has `frame_bytes` bytes. `copy` is only
  // called for a duplicate.
  template <typename Copy>
  void enqueue(TimePoint now, Packet packet, std::size_t frame_bytes, Copy copy) {
    ++offered_;
    const bool too_big = spec_.mtu != 0 && frame_bytes > spec_.mtu + kEthernetHeader;
    if (cut_ || is_lost() || too_big || !shaper_.admits(now, frame_bytes)) {
      ++lost_;
      return;
    }
    if (random_.happens(spec_.duplicate)) put(now, copy(packet), frame_bytes);
    put(now, std::move(packet), frame_bytes);
  }

  // When the next packet leaves; none when the queue is empty.
  std::optional<TimePoint> next_time() const {
    if (queue_.empty()) return std::nullopt;
    return queue_.front().leaves;
  }

  // The next packet that has left by `now`.
  std::optional<Packet> dequeue(TimePoint now) {
    if (queue_.empty() || queue_.front().leaves > now) return std::nullopt;
    Packet packet = std::move(queue_.front().packet);
    queue_.pop_front();
    return packet;
  }

  // From now on every packet is lost without a word, and those under way too.
  void set_cut(bool cut) {
    cut_ = cut;
    if (!cut) return;
    queue_.clear();
    shaper_.forget();
  }
  void set_spec(const LineSpec& spec) {
    spec_ = spec;
    shaper_.set_spec(spec);
  }
  // The recording begins anew, at its offset. Nothing for a line without one.
  void begin(TimePoint now) { shaper_.begin(now); }
  const LineSpec& spec() const { return spec_; }

  std::size_t length() const { return queue_.size(); }
  // How long the last packet waits for those before it, its delay not counted.
  Duration queueing_delay(TimePoint now) const {
    return queue_.empty() ? Duration(0) : std::max(Duration(0), queue_.back().leaves - now - spec_.delay);
  }
  std::uint64_t offered() const { return offered_; }
  std::uint64_t lost() const { return lost_; }
  std::uint64_t overflowed() const { return overflowed_; }

 private:
  struct Entry {
    TimePoint leaves;
    Packet packet;
  };

  void put(TimePoint now, Packet packet, std::size_t frame_bytes) {
    if (queue_.size() >= spec_.limit) {
      ++overflowed_;
      return;
    }
    if (random_.happens(spec_.reorder)) {
      queue_.push_front({now, std::move(packet)});
      return;
    }
    if (!shaper_.has_room(now, frame_bytes)) {
      ++overflowed_;
      return;
    }
    TimePoint leaves = shaper_.leaves(now + sample_delay(now), frame_bytes, random_);
    if (random_.happens(spec_.late_share)) leaves += spec_.late;
    auto at = queue_.end();
    while (at != queue_.begin() && std::prev(at)->leaves > leaves) --at;
    queue_.insert(at, {leaves, std::move(packet)});
  }

  // Gilbert and Elliott's two states in netem's way, or independent losses.
  bool is_lost() {
    if (!spec_.bursts) return random_.happens(spec_.loss);
    const BurstLoss& bursts = *spec_.bursts;
    bad_ = bad_ ? !random_.happens(bursts.to_good) : random_.happens(bursts.to_bad);
    return random_.happens(bad_ ? bursts.loss_when_bad : bursts.loss_when_good);
  }

  Duration sample_delay(TimePoint now) {
    const Duration delay = spec_.delay + shaper_.extra_delay(now);
    if (spec_.jitter.count() == 0) return delay;
    return delay +
           Duration(static_cast<std::int64_t>(random_.normal() * static_cast<double>(spec_.jitter.count())));
  }

  static constexpr std::size_t kEthernetHeader = 14;

  LineSpec spec_;
  Random random_;
  Shaper shaper_;
  std::deque<Entry> queue_;
  bool cut_ = false, bad_ = false;
  std::uint64_t offered_ = 0, lost_ = 0, overflowed_ = 0;
};

}  // namespace bondd::sim

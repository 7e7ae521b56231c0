// The rules of Linux's netem for one direction of a line, without a clock of its
// own: the simulator and the user-space emulator both run them.
//
//   packet -> loss? -> duplicate? -> limit? -> leaves at
//        with a rate:    max(last packet's time, now + delay) + size / rate   (order kept)
//        a recording:    its next chance for so many bytes after now + delay  (order kept)
//        without a rate: now + delay                                         (jitter reorders)
//
// Sizes are those of the Ethernet frame without FCS, as netem counts them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "bondd/base/error.h"
#include "bondd/base/units.h"
#include "tests/sim/random.h"
#include "tests/sim/recording.h"

namespace bondd::sim {

// One direction of a line, in netem's words.
struct LineSpec {
  Duration delay{0};
  Duration jitter{0};                            // deviation of a normal distribution
  double loss = 0;                               // probability, 0 to 1
  double duplicate = 0;                          // probability, 0 to 1
  double reorder = 0;                            // probability that a packet leaves without delay
  Rate rate{};                                   // 0: not limited
  std::size_t limit = 1000;                      // packets, those being delayed included
  std::shared_ptr<const Recording> recording{};  // takes the place of the rate
  Duration offset{0};                            // where in the recording to begin
};

// Both directions of a line; made of one spec they are alike.
struct LineSpecs {
  LineSpecs(const LineSpec& both) : up(both), down(both) {}  // NOLINT: what most lines are
  LineSpecs(LineSpec up_way, LineSpec down_way) : up(std::move(up_way)), down(std::move(down_way)) {}
  LineSpec up, down;
};

// What the line offers from `from` to `to`, in Mbit/s; times since its recording began.
double offered_mbit(const LineSpec& line, Duration from, Duration to);

// Parses "delay 20ms 5ms distribution normal loss 0.5% rate 40mbit limit 100",
// also "duplicate 1%" and "reorder 2%", and "trace FILE offset 20": a recording, and the
// second of it to begin at; FILE is looked up in `directory`. Fails on any other word.
Result<LineSpec> parse_line_spec(std::string_view text, const std::string& directory = ".");

// A queue of packets under netem's rules. Not limited in bytes, only in packets.
template <typename Packet>
class NetemQueue {
 public:
  NetemQueue(const LineSpec& spec, std::uint64_t seed)
      : spec_(spec), random_(seed), chances_(spec.recording, spec.offset) {}

  // Takes or drops a packet whose frame has `frame_bytes` bytes. `copy` is only
  // called for a duplicate.
  template <typename Copy>
  void enqueue(TimePoint now, Packet packet, std::size_t frame_bytes, Copy copy) {
    ++offered_;
    if (cut_ || random_.happens(spec_.loss)) {
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
    if (cut) queue_.clear();
  }
  void set_spec(const LineSpec& spec) {
    spec_ = spec;
    chances_ = Chances(spec.recording, spec.offset);
  }
  // The recording begins anew, at its offset. Nothing for a line without one.
  void begin(TimePoint now) { chances_.begin(now); }
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
    TimePoint leaves = now + sample_delay();
    if (spec_.recording) {
      leaves = chances_.take(leaves, frame_bytes);
      if (!queue_.empty() && queue_.back().leaves > leaves) leaves = queue_.back().leaves;
      queue_.push_back({leaves, std::move(packet)});
      return;
    }
    if (spec_.rate.bits_per_second != 0) {
      if (!queue_.empty() && queue_.back().leaves > leaves) leaves = queue_.back().leaves;
      leaves +=
          Duration(static_cast<std::int64_t>(frame_bytes * 8'000'000'000ULL / spec_.rate.bits_per_second));
      queue_.push_back({leaves, std::move(packet)});
      return;
    }
    auto at = queue_.end();
    while (at != queue_.begin() && std::prev(at)->leaves > leaves) --at;
    queue_.insert(at, {leaves, std::move(packet)});
  }

  Duration sample_delay() {
    if (spec_.jitter.count() == 0) return spec_.delay;
    return spec_.delay +
           Duration(static_cast<std::int64_t>(random_.normal() * static_cast<double>(spec_.jitter.count())));
  }

  LineSpec spec_;
  Random random_;
  Chances chances_;
  std::deque<Entry> queue_;
  bool cut_ = false;
  std::uint64_t offered_ = 0, lost_ = 0, overflowed_ = 0;
};

}  // namespace bondd::sim

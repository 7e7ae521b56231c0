// A recorded line: when it let bytes leave. mahimahi's format: a line of text is a
// millisecond since the start, and each is a chance for 1504 bytes of frames. The
// recording begins again after its last millisecond.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/units.h"

namespace bondd::sim {

class Recording {
 public:
  static constexpr std::uint32_t kChanceBytes = 1504;

  // `chances` are ms since the start, in order. Empty, or all at 0: no recording.
  explicit Recording(std::vector<std::uint32_t> chances) : chances_(std::move(chances)) {}
  // Fails when the file cannot be read, or is not such a list of numbers.
  static Result<std::shared_ptr<const Recording>> load(const std::string& path);

  std::uint64_t period_ms() const { return chances_.back(); }
  // The time of the n-th chance; n may be beyond the first period.
  std::uint64_t chance_ms(std::uint64_t n) const {
    return n / chances_.size() * period_ms() + chances_[n % chances_.size()];
  }
  // How many chances come before `ms`: also the number of the first one that does not.
  std::uint64_t chances_before(std::uint64_t ms) const;

 private:
  std::vector<std::uint32_t> chances_;
};

// The chances of one recorded line that are left, from its `offset` on. A chance that
// nobody waits for is lost; what is left of one goes to the next frame that waited for it.
class Chances {
 public:
  Chances() = default;
  Chances(std::shared_ptr<const Recording> recording, Duration offset)
      : recording_(std::move(recording)), offset_(offset) {}

  // The recording's offset is `now`.
  void begin(TimePoint now);
  // When a frame that is ready to leave at `ready` has left. Begins with the first frame
  // when nobody began.
  TimePoint take(TimePoint ready, std::size_t bytes);

 private:
  std::uint64_t ms_of(TimePoint time) const;
  TimePoint time_of(std::uint64_t chance) const;

  std::shared_ptr<const Recording> recording_;
  Duration offset_{0};
  std::optional<TimePoint> origin_;
  std::uint64_t next_ = 0;
  std::size_t left_ = Recording::kChanceBytes;  // of the next chance
};

}  // namespace bondd::sim

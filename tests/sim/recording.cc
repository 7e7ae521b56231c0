#include "tests/sim/recording.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>

namespace bondd::sim {

using std::chrono::milliseconds;

Result<std::shared_ptr<const Recording>> Recording::load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return failure("cannot read the recording '" + path + "'");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::uint32_t> chances;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    std::uint32_t ms = 0;
    const auto [next, error] = std::from_chars(at, end, ms);
    const bool ordered = chances.empty() || ms >= chances.back();
    if (error != std::errc{} || (next != end && *next != '\n') || !ordered) {
      return failure("'" + path + "', line " + std::to_string(chances.size() + 1) +
                     ": not a millisecond at or after the one before");
    }
    chances.push_back(ms);
    at = next == end ? end : next + 1;
  }
  if (chances.empty() || chances.back() == 0) return failure("the recording '" + path + "' is empty");
  return std::make_shared<const Recording>(std::move(chances));
}

std::uint64_t Recording::chances_before(std::uint64_t ms) const {
  // A chance at the very end of a period comes before those at 0 of the next.
  const std::uint64_t whole = ms == 0 ? 0 : (ms - 1) / period_ms();
  const auto rest = static_cast<std::uint32_t>(ms - whole * period_ms());
  const auto within = std::ranges::lower_bound(chances_, rest) - chances_.begin();
  return whole * chances_.size() + static_cast<std::uint64_t>(within);
}

void Chances::begin(TimePoint now) {
  if (!recording_) return;
  origin_ = now - offset_;
  next_ = recording_->chances_before(ms_of(now));
  left_ = Recording::kChanceBytes;
}

std::uint64_t Chances::ms_of(TimePoint time) const {
  // A chance is taken by what is there when its millisecond begins.
  const auto since = std::chrono::ceil<milliseconds>(time - *origin_).count();
  return since < 0 ? 0 : static_cast<std::uint64_t>(since);
}

TimePoint Chances::time_of(std::uint64_t chance) const {
  return *origin_ + milliseconds(static_cast<std::int64_t>(recording_->chance_ms(chance)));
}

TimePoint Chances::take(TimePoint ready, std::size_t bytes) {
  if (!origin_) begin(ready);
  if (time_of(next_) < ready) {
    next_ = recording_->chances_before(ms_of(ready));
    left_ = Recording::kChanceBytes;
  }
  while (left_ < bytes) {
    bytes -= left_;
    left_ = Recording::kChanceBytes;
    ++next_;
  }
  left_ -= bytes;
  const TimePoint leaves = time_of(next_);
  if (left_ == 0) {
    left_ = Recording::kChanceBytes;
    ++next_;
  }
  return leaves;
}

}  // namespace bondd::sim

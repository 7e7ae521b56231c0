#include "bondd/control/delay_match.h"

#include <algorithm>

namespace bondd::control {
namespace {

using std::chrono::milliseconds;

constexpr auto kPause = std::chrono::seconds(1);
constexpr Duration kWorthIt = milliseconds(1);

// What the line may be off before it is set anew: a millisecond, or a tenth of what it is.
bool worth_it(Duration from, Duration to) {
  if (from == to) return false;
  return to == Duration{} || std::chrono::abs(from - to) >= std::max(kWorthIt, from / 10);
}

}  // namespace

std::vector<DelayMatch::Change> DelayMatch::update(TimePoint now, const std::vector<Line>& lines) {
  if (changed_ && now - *changed_ < kPause) return {};

  Duration latest{}, soonest = Duration::max();
  for (const Line& line : lines) {
    if (!line.carries) continue;
    if (!line.behind) return {};  // soon
    latest = std::max(latest, *line.behind);
    soonest = std::min(soonest, *line.behind);
  }
  const bool too_far_apart = latest - soonest > kMost;

  std::vector<Change> changes;
  for (const Line& line : lines) {
    Duration wanted{};
    if (line.carries && !too_far_apart) wanted = latest - *line.behind;
    if (wanted < kWorthIt) wanted = {};
    Duration& current = delays_[line.tap];
    if (!worth_it(current, wanted)) continue;
    current = wanted;
    changes.push_back({line.tap, wanted});
  }
  if (!changes.empty()) changed_ = now;
  return changes;
}

}  // namespace bondd::control

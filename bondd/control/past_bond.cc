#include "bondd/control/past_bond.h"

#include <algorithm>

namespace bondd::control {
namespace {

// 0: cannot be used.
int worth(const PastBond::Line& line) {
  return !line.way_out ? 0 : line.internet ? 2 : 1;
}

}  // namespace

bool PastBond::leaves(TimePoint now) const {
  const Duration lasted = now - since_;
  return *carries_ ? wan_ != 0 && lasted < sound_for_ : wan_ != 0 || lasted >= silent_for_;
}

unsigned PastBond::update(TimePoint now, bool carries, const std::vector<Line>& lines) {
  if (carries_ != carries) {
    carries_ = carries;
    since_ = now;
  }
  if (!leaves(now)) return wan_ = 0;
  const auto best = std::ranges::max_element(lines, {}, worth);  // the first of equals
  if (best == lines.end() || worth(*best) == 0) return wan_ = 0;
  const bool stays = wan_ != 0 && wan_ <= lines.size() && worth(lines[wan_ - 1]) == worth(*best);
  if (!stays) wan_ = static_cast<unsigned>(best - lines.begin()) + 1;
  return wan_;
}

}  // namespace bondd::control

// Since when each problem holds, and which have lasted long enough to be shown. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "bondd/base/units.h"
#include "bondd/model/problem.h"
#include "bondd/problems/table.h"

namespace bondd::problems {

class Tracker {
 public:
  // What was found now; `wall` is seconds since 1970. What is not found any more is forgotten.
  void update(TimePoint now, std::int64_t wall, const std::vector<Found>& found);
  // Those that have lasted for their patience, worst first, then as they were found.
  [[nodiscard]] std::vector<model::Problem> visible(TimePoint now) const;
  // All that hold, however briefly: for the last words of an end that gives up.
  [[nodiscard]] std::vector<model::Problem> all() const;

 private:
  struct Known {
    Found found;
    TimePoint began;
    std::int64_t since = 0;
  };
  template <typename Shown>
  [[nodiscard]] std::vector<model::Problem> those(Shown shown) const;
  std::vector<Known> known_;
};

}  // namespace bondd::problems

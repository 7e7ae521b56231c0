#include "bondd/problems/tracker.h"

#include <algorithm>

namespace bondd::problems {
namespace {

// The same trouble, though its figures ("no reply for 4 s") may be others by now.
bool same(const Found& a, const Found& b) {
  const bool figures = row(a.code).hop != Hop::kNone || !a.words.wan.empty();
  return a.code == b.code && a.words.wan == b.words.wan && a.words.key == b.words.key &&
         a.words.port == b.words.port && (figures || a.words.detail == b.words.detail);
}

}  // namespace

void Tracker::update(TimePoint now, std::int64_t wall, const std::vector<Found>& found) {
  std::vector<Known> known;
  for (const Found& one : found) {
    const auto before = std::ranges::find_if(known_, [&](const Known& k) { return same(k.found, one); });
    known.push_back(before == known_.end() ? Known{one, now, wall}
                                           : Known{one, before->began, before->since});
  }
  known_ = std::move(known);
}

std::vector<model::Problem> Tracker::visible(TimePoint now) const {
  return those([&](const Known& known) { return now - known.began >= row(known.found.code).patience; });
}

std::vector<model::Problem> Tracker::all() const {
  return those([](const Known&) { return true; });
}

template <typename Shown>
std::vector<model::Problem> Tracker::those(Shown shown) const {
  std::vector<model::Problem> out;
  for (const Known& known : known_) {
    if (!shown(known)) continue;
    const Row& about = row(known.found.code);
    const Words& words = known.found.words;
    out.push_back({std::string(about.name), about.severity, words.wan, render(about.text, words),
                   render(about.remedy, words), known.since});
  }
  std::ranges::stable_sort(out, std::ranges::greater{}, &model::Problem::severity);
  return out;
}

}  // namespace bondd::problems

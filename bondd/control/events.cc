#include "bondd/control/events.h"

#include <fmt/format.h>

#include <algorithm>

namespace bondd::control {
namespace {

using model::Event;
using model::Problem;
using model::SiteStatus;
using model::WanStatus;

const WanStatus* find_wan(const SiteStatus* site, const std::string& name) {
  if (site == nullptr) return nullptr;
  const auto found = std::ranges::find(site->wans, name, &WanStatus::name);
  return found == site->wans.end() ? nullptr : &*found;
}

// The same trouble: its figures may be others by now, not the time when it began.
bool has_problem(const SiteStatus* site, const Problem& problem) {
  return site != nullptr && std::ranges::any_of(site->problems, [&](const Problem& other) {
           return other.code == problem.code && other.wan == problem.wan && other.since == problem.since;
         });
}

void add_wans(const SiteStatus* before, const SiteStatus& after, const Event& blank,
              std::vector<Event>& out) {
  for (const WanStatus& wan : after.wans) {
    const WanStatus* const old = find_wan(before, wan.name);
    if (old != nullptr && old->state == wan.state) continue;
    Event event = blank;
    event.event = "wan";
    event.wan = wan.name;
    if (old != nullptr) event.from = to_string(old->state);
    event.to = to_string(wan.state);
    event.reason = wan.reason;
    out.push_back(std::move(event));
  }
  if (before == nullptr) return;
  for (const WanStatus& wan : before->wans) {
    if (find_wan(&after, wan.name) != nullptr) continue;
    Event event = blank;
    event.event = "wan";
    event.wan = wan.name;
    event.from = to_string(wan.state);
    event.reason = "no longer in the file";
    out.push_back(std::move(event));
  }
}

void add_problems(const SiteStatus* before, const SiteStatus& after, const Event& blank,
                  std::vector<Event>& out) {
  const auto add = [&](const Problem& problem, bool came) {
    Event event = blank;
    event.event = "problem";
    event.wan = problem.wan;
    (came ? event.to : event.from) = problem.code;
    event.reason = problem.text;
    out.push_back(std::move(event));
  };
  for (const Problem& problem : after.problems) {
    if (!has_problem(before, problem)) add(problem, true);
  }
  if (before == nullptr) return;
  for (const Problem& problem : before->problems) {
    if (!has_problem(&after, problem)) add(problem, false);
  }
}

}  // namespace

std::vector<Event> changes(std::int64_t now, const SiteStatus* before, const SiteStatus& after) {
  Event blank;
  blank.time = now;
  blank.site = after.name;
  std::vector<Event> out;
  add_wans(before, after, blank, out);
  if (before == nullptr || before->state != after.state) {
    Event event = blank;
    event.event = "site";
    if (before != nullptr) event.from = to_string(before->state);
    event.to = to_string(after.state);
    const auto up = std::ranges::count(after.wans, model::WanState::kUp, &WanStatus::state);
    event.reason = fmt::format("{} of {} WANs up", up, after.wans.size());
    out.push_back(std::move(event));
  }
  add_problems(before, after, blank, out);
  return out;
}

}  // namespace bondd::control

#include "bondd/control/drained_wans.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

#include "bondd/base/text.h"

namespace bondd::control {
namespace {

Result<> check_name(const std::string& name, const std::vector<model::WanStatus>& wans) {
  std::vector<std::string_view> names;
  for (const model::WanStatus& wan : wans) names.emplace_back(wan.name);
  if (std::ranges::find(names, name) != names.end()) return {};
  const std::string_view meant = likely_meant(name, names);
  return failure(fmt::format("there is no WAN {} in the file; {}", name,
                             meant.empty() ? fmt::format("it has {}", fmt::join(names, ", "))
                                           : fmt::format("did you mean {}?", meant)));
}

}  // namespace

Result<> DrainedWans::drain(const std::string& wan, const std::vector<model::WanStatus>& wans) {
  if (auto known = check_name(wan, wans); !known) return known;
  if (here_.contains(wan)) return {};
  const bool others = std::ranges::any_of(wans, [&](const model::WanStatus& other) {
    return other.name != wan && model::is_heard(other.state) && !here_.contains(other.name) &&
           !there_.contains(other.name);
  });
  if (!others)
    return failure(fmt::format(
        "no other WAN carries traffic now, so {} stays in use; drain it once another is up", wan));
  here_.insert(wan);
  return {};
}

Result<> DrainedWans::restore(const std::string& wan, const std::vector<model::WanStatus>& wans) {
  if (auto known = check_name(wan, wans); !known) return known;
  if (here_.erase(wan) == 0 && there_.contains(wan))
    return failure(fmt::format("{} was drained at the other end; restore it there", wan));
  return {};
}

bool DrainedWans::update(const model::Config& config, const problems::PeerSettings* theirs,
                         const std::vector<model::WanStatus>& wans) {
  std::set<std::string> here;
  there_.clear();
  for (const model::Wan& wan : config.wans) {
    if (here_.contains(wan.name)) here.insert(wan.name);
    const auto* const other = theirs == nullptr ? nullptr : theirs->with_port(wan.port);
    if (other != nullptr && other->drained) there_.insert(wan.name);
  }
  here_ = std::move(here);
  std::set<std::string> now;
  std::ranges::set_union(here_, there_, std::inserter(now, now.end()));
  // Better a drained WAN than none.
  const bool others = std::ranges::any_of(wans, [&](const model::WanStatus& wan) {
    return model::is_heard(wan.state) && !now.contains(wan.name);
  });
  if (!others) now.clear();
  std::set<std::string> now_here = others ? here_ : std::set<std::string>();
  const std::string& wished = alone_here_.empty() ? alone_there_ : alone_here_;
  const auto measured = std::ranges::find(wans, wished, &model::WanStatus::name);
  const std::string alone = measured != wans.end() && model::is_heard(measured->state) ? wished : "";
  if (!alone.empty()) {
    now.clear();
    for (const model::WanStatus& wan : wans) {
      if (wan.name != alone) now.insert(wan.name);
    }
    now_here = alone_here_.empty() ? std::set<std::string>() : now;
  }
  const bool changed = now != now_ || now_here != now_here_ || alone != alone_;
  now_ = std::move(now);
  now_here_ = std::move(now_here);
  alone_ = alone;
  return changed;
}

void DrainedWans::set_alone(const std::string& here, const std::string& there) {
  alone_here_ = here;
  alone_there_ = there;
}

void DrainedWans::explain(const std::string& site, std::vector<model::WanStatus>& wans) const {
  for (model::WanStatus& wan : wans) {
    if (!now_.contains(wan.name)) continue;
    if (!alone_.empty()) {
      // For some seconds: no change of state, which monitors would tell of.
      if (model::is_heard(wan.state) && wan.reason.empty())
        wan.reason = fmt::format("out of use for some seconds: `bondd speedtest` measures {}", alone_);
      if (!here_.contains(wan.name) && !there_.contains(wan.name)) continue;
    }
    const std::string why =
        here_.contains(wan.name)
            ? fmt::format("out of use; `bondd wan {} {} restore` takes it back", site, wan.name)
            : "out of use: drained at the other end";
    if (model::is_heard(wan.state)) {
      wan.state = model::WanState::kDrained;
      wan.reason = why;
    } else {
      wan.reason += (wan.reason.empty() ? "" : "; ") + why;
    }
  }
}

}  // namespace bondd::control

#include "bondd/model/status.h"

#include <algorithm>
#include <array>

#include "bondd/base/names.h"

namespace bondd::model {
namespace {

constexpr std::array<std::string_view, 3> kNames = {"down", "degraded", "up"};

}  // namespace

std::string_view to_string(SiteState state) {
  return kNames.at(static_cast<std::size_t>(state));
}

std::optional<SiteState> parse_site_state(std::string_view text) {
  return value_named<SiteState>(kNames, text);
}

SiteState site_state(const std::vector<WanStatus>& wans) {
  const auto up = std::ranges::count(wans, WanState::kUp, &WanStatus::state);
  if (up == 0) return SiteState::kDown;
  return up == std::ssize(wans) ? SiteState::kUp : SiteState::kDegraded;
}

}  // namespace bondd::model

#include "bondd/model/wan_status.h"

#include <array>

#include "bondd/base/names.h"

namespace bondd::model {
namespace {

constexpr std::array<std::string_view, kWanStates> kNames = {"down",  "waiting", "starting", "up",
                                                             "lossy", "slow",    "silent",   "drained"};

constexpr std::array<std::string_view, kProtections> kProtectionNames{"", "password", "session-keys"};

}  // namespace

std::string_view to_string(WanState state) {
  return kNames.at(static_cast<std::size_t>(state));
}

std::optional<WanState> parse_wan_state(std::string_view text) {
  return value_named<WanState>(kNames, text);
}

std::string_view to_string(Protection protection) {
  return kProtectionNames[static_cast<std::size_t>(protection)];
}

std::optional<Protection> parse_protection(std::string_view text) {
  return value_named<Protection>(kProtectionNames, text);
}

std::set<std::string> heard_names(const std::vector<WanStatus>& wans) {
  std::set<std::string> names;
  for (const WanStatus& wan : wans) {
    if (is_heard(wan.state)) names.insert(wan.name);
  }
  return names;
}

}  // namespace bondd::model

#include "bondd/model/wan_status.h"

#include <array>

namespace bondd::model {
namespace {

constexpr std::array<std::string_view, kWanStates> kNames = {"down",  "waiting", "starting", "up",
                                                             "lossy", "slow",    "silent"};

}  // namespace

std::string_view to_string(WanState state) {
  return kNames.at(static_cast<std::size_t>(state));
}

std::optional<WanState> parse_wan_state(std::string_view text) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == text) return static_cast<WanState>(i);
  }
  return std::nullopt;
}

}  // namespace bondd::model

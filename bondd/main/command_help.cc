#include "bondd/main/command_help.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "bondd/base/text.h"

namespace bondd {
namespace {

// What systemctl, ip, wg-quick and their like call it.
constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kElsewhere = {{
    {"start", "bondd up NAME"},
    {"stop", "bondd down NAME"},
    {"restart", "bondd reload NAME, or down and up"},
    {"apply", "bondd reload NAME"},
    {"list", "bondd status"},
    {"show", "bondd status"},
    {"ls", "bondd status"},
    {"log", "journalctl -u bondd@NAME"},
    {"logs", "journalctl -u bondd@NAME"},
    {"version", "bondd --version"},
    {"genkey", "bondd key NAME"},
}};

std::string meant(std::string_view word, std::span<const std::string> known) {
  const std::vector<std::string_view> candidates(known.begin(), known.end());
  const std::string_view likely = likely_meant(word, candidates);
  return likely.empty() ? "" : fmt::format("; did you mean \"{}\"?", likely);
}

}  // namespace

std::string no_such_command(std::string_view word, std::span<const std::string> commands) {
  const auto* const elsewhere =
      std::ranges::find(kElsewhere, word, [](const auto& entry) { return entry.first; });
  if (elsewhere != kElsewhere.end())
    return fmt::format("there is no command \"{}\"; here it is: {}", word, elsewhere->second);
  return fmt::format("there is no command \"{}\"{}", word, meant(word, commands));
}

std::string no_such_option(std::string_view word, std::span<const std::string> options) {
  return fmt::format("there is no option \"{}\"{}", word, meant(word, options));
}

}  // namespace bondd

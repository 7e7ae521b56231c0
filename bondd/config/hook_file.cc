// The program of [hooks]: there, executable, and nobody else's to change, since bondd runs it with its own
// rights.
#include <fmt/format.h>

#include "bondd/base/text.h"
#include "bondd/config/check.h"

namespace bondd::config {
namespace {

constexpr std::uint32_t kOthersWrite = 0022;
constexpr std::uint32_t kOwnerExecutes = 0100;

}  // namespace

void check_hook_file(const Sections& sections, const model::Config& config, const CheckContext& context,
                     Report& report) {
  if (!sections.hooks.get<std::string>("run")) return;
  const std::string file = config.hooks.run.string();
  const Position at = sections.hooks.at("run");
  const auto facts = context.stat(file);
  const std::string cured = shell_quote(file);
  if (!facts) {
    report.error(at, fmt::format("{} cannot be run: {}", in_quotes(file), facts.error().message));
  } else if (!facts->regular) {
    report.error(at, fmt::format("{} is not a file; name a program or a script", in_quotes(file)));
  } else if ((facts->permissions & kOthersWrite) != 0) {
    report.error(at, fmt::format("{} can be changed by others (mode {:04o}), and bondd would run it; run "
                                 "chmod 755 {}",
                                 in_quotes(file), facts->permissions, cured));
  } else if (!facts->unsafe.empty()) {
    report.error(at, fmt::format("{} is not safe to run: {}", in_quotes(file), facts->unsafe));
  } else if ((facts->permissions & kOwnerExecutes) == 0) {
    report.error(at, fmt::format("{} is not executable; run chmod 755 {}", in_quotes(file), cured));
  }
}

}  // namespace bondd::config

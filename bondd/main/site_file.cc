#include "bondd/main/site_file.h"

#include <fmt/format.h>

#include <cstdio>

namespace bondd {
namespace {

CheckedFile checked_file(const config::Loaded& loaded) {
  CheckedFile checked;
  if (loaded.config) checked.config = *loaded.config;
  for (const config::Diagnostic& one : loaded.diagnostics) {
    if (one.severity != config::Severity::kWarning) continue;
    checked.warnings.push_back(one.message);
    if (!one.of_the_moment) checked.lasting.push_back(one.message);
  }
  return checked;
}

}  // namespace

Result<netlink::Snapshot> look_at_machine() {
  auto rtnl = netlink::make_rtnl();
  if (!rtnl) return tl::make_unexpected(rtnl.error());
  return (*rtnl)->snapshot();
}

void say(std::string_view line) {
  fmt::print(stderr, "{}\n", line);
}

void say_error(const Error& error) {
  say(fmt::format("bondd: {}", error.message));
}

std::optional<SiteFile> find_site_file(const std::string& argument) {
  auto path = config::resolve_site_file(argument);
  if (!path) {
    say_error(path.error());
    return std::nullopt;
  }
  auto site = config::site_name(*path);
  if (!site) {
    say_error(site.error());
    return std::nullopt;
  }
  return SiteFile{*path, *site};
}

std::optional<CheckedFile> load_site_file(const std::filesystem::path& path, config::Purpose purpose) {
  config::Loaded loaded = config::load(path, config::SystemContext(look_at_machine), purpose);
  for (const config::Diagnostic& diagnostic : loaded.diagnostics) say(config::to_string(diagnostic));
  CheckedFile checked = checked_file(loaded);
  if (!loaded.config) {
    const auto errors = loaded.diagnostics.size() - checked.warnings.size();
    say(fmt::format("{}: {} error{}, {} warning{}", path.native(), errors, errors == 1 ? "" : "s",
                    checked.warnings.size(), checked.warnings.size() == 1 ? "" : "s"));
    return std::nullopt;
  }
  return checked;
}

Result<CheckedFile> read_site_file(const std::filesystem::path& path) {
  const config::Loaded loaded = config::load(path, config::SystemContext(look_at_machine));
  if (loaded.config) return checked_file(loaded);
  std::string all;
  for (const config::Diagnostic& diagnostic : loaded.diagnostics) {
    all += fmt::format("{}{}", all.empty() ? "" : "\n", config::to_string(diagnostic));
  }
  return failure(all);
}

}  // namespace bondd

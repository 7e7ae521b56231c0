#include "bondd/main/site_file.h"

#include <fmt/format.h>

#include <cstdio>

#include "bondd/base/text.h"
#include "bondd/control/run_dir.h"

namespace bondd {
namespace {

CheckedFile checked_file(const config::Loaded& loaded) {
  CheckedFile checked;
  if (loaded.config) checked.config = *loaded.config;
  checked.text = loaded.text;
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

namespace {

bool exists(const SiteFile& file, const std::filesystem::path& run_root) {
  std::error_code unknown;  // who may not look is told so later
  return std::filesystem::exists(file.path, unknown) || unknown ||
         control::RunDirView(run_root, file.site).exists();
}

// The site that was likely meant; "" if none is near.
std::string meant_site(const SiteFile& file, const std::filesystem::path& run_root) {
  std::vector<std::string> sites = config::SystemContext().sites_beside(file.path);
  for (std::string& up : control::known_sites(run_root)) sites.push_back(std::move(up));
  const std::vector<std::string_view> names(sites.begin(), sites.end());
  return std::string(likely_meant(file.site, names));
}

void say_no_site(const SiteFile& file, const std::string& meant) {
  say(fmt::format("bondd: there is no site {}: it is not up, and there is no {}", file.site,
                  file.path.native()));
  if (!meant.empty()) say(fmt::format("did you mean {}?", meant));
}

}  // namespace

bool is_site(const SiteFile& file, const std::filesystem::path& run_root) {
  if (exists(file, run_root)) return true;
  say_no_site(file, meant_site(file, run_root));
  return false;
}

bool is_site_or_unlike_any(const SiteFile& file, const std::filesystem::path& run_root) {
  if (exists(file, run_root)) return true;
  const std::string meant = meant_site(file, run_root);
  if (meant.empty()) return true;
  say_no_site(file, meant);
  return false;
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

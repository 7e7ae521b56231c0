#include "bondd/config/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "bondd/base/text.h"
#include "bondd/config/check.h"
#include "bondd/config/document.h"
#include "bondd/config/reader.h"

namespace bondd::config {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxSiteName = 64;
constexpr std::string_view kSiteDirectory = "/etc/bondd";
constexpr std::string_view kExtension = ".toml";

bool is_site_name(std::string_view name) {
  const auto alnum = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !name.empty() && name.size() <= kMaxSiteName && alnum(name[0]) &&
         std::all_of(name.begin(), name.end(),
                     [&](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; });
}

Loaded finish(Report& report, std::optional<model::Config> config) {
  const bool usable = !report.has_errors();
  return Loaded{usable ? std::move(config) : std::nullopt, report.take(), {}};
}

std::string no_such_file(const fs::path& file, const CheckContext& context) {
  const std::vector<std::string> there = context.sites_beside(file);
  const std::vector<std::string_view> names(there.begin(), there.end());
  const std::string_view meant = likely_meant(file.stem().string(), names);
  if (!meant.empty()) return fmt::format("there is no such file; did you mean \"{}\"?", meant);
  if (!names.empty()) return fmt::format("there is no such file; beside it are: {}", fmt::join(names, ", "));
  return "there is no such file; copy one of the examples that come with bondd (share/doc/bondd/examples) "
         "there";
}

// Without the file's path, which every message begins with.
std::string why_unreadable(const Error& error) {
  if (error.code == EACCES) return "only root may read it; try sudo";
  return fmt::format("cannot be read: {}",
                     error.code != 0 ? std::generic_category().message(error.code) : error.message);
}

Result<std::string> read_site_file(const fs::path& file, const CheckContext& context) {
  const auto facts = context.stat(file);
  if (!facts && facts.error().code == ENOENT) return failure(no_such_file(file, context), ENOENT);
  if (!facts) return failure(why_unreadable(facts.error()));
  if (!facts->regular) return failure("is not a file");
  if (!facts->unsafe.empty()) return failure(fmt::format("is not safe to use: {}", facts->unsafe));
  // One byte more than is allowed, so that the parser sees that it is too much.
  auto text = context.read(file, kMaxFileSize + 1);
  if (!text) return failure(why_unreadable(text.error()));
  return text;
}

}  // namespace

std::string to_string(const Diagnostic& diagnostic) {
  if (diagnostic.line == 0) return fmt::format("{}: {}", diagnostic.file.string(), diagnostic.message);
  return fmt::format("{}:{}:{}: {}{}", diagnostic.file.string(), diagnostic.line, diagnostic.column,
                     diagnostic.severity == Severity::kWarning ? "warning: " : "", diagnostic.message);
}

Loaded load(const fs::path& file, const CheckContext& context, Purpose purpose) {
  const auto text = read_site_file(file, context);
  if (text) {
    Loaded loaded = load_text(*text, file, context, purpose);
    loaded.text = *text;
    return loaded;
  }
  Report report(file);
  report.error({0, 0}, text.error().message);
  return finish(report, std::nullopt);
}

Loaded load_text(std::string_view text, const fs::path& file, const CheckContext& context, Purpose purpose) {
  Report report(file);
  const auto site = site_name(file);
  if (!site) report.error({}, site.error().message);
  const auto document = parse_document(text);
  if (!document) {
    report.error(document.error().position, document.error().message);
    return finish(report, std::nullopt);
  }
  std::error_code ignored;
  fs::path absolute = fs::absolute(file, ignored).lexically_normal();
  if (ignored) absolute = file;
  const Sections sections = find_sections(*document);
  check_sections(sections, report);
  model::Config config = build(sections, absolute, site.value_or(""));
  check_rules(sections, config, purpose, report);
  check_traffic(sections, config, report);
  check_secret_files(sections, config, context, purpose, report);
  check_hook_file(sections, config, context, report);
  check_machine(sections, config, context, report);
  return finish(report, std::move(config));
}

Result<fs::path> resolve_site_file(std::string_view argument) {
  if (argument.find('/') != std::string_view::npos || argument.ends_with(kExtension))
    return fs::path(argument);
  if (is_site_name(argument)) return fs::path(kSiteDirectory) / fmt::format("{}{}", argument, kExtension);
  return failure(
      fmt::format("{} is neither a site's name nor a file; files end in .toml", in_quotes(argument)));
}

Result<std::string> site_name(const fs::path& file) {
  std::string name = file.stem().string();
  if (is_site_name(name)) return name;
  return failure(
      fmt::format("{} cannot be a site's name, which is the file's name without .toml; use letters, digits, "
                  "'-', '_' and '.', at most {}, and begin with a letter or digit",
                  in_quotes(name), kMaxSiteName));
}

}  // namespace bondd::config

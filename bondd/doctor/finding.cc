#include "bondd/doctor/finding.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace bondd::doctor {
namespace {

constexpr std::size_t kColumns = 79;
constexpr std::size_t kIndent = 9;  // "warning  "

// `words` from column `indent` on, broken at spaces.
std::string wrapped(std::string_view words, std::size_t indent) {
  std::string out;
  std::size_t column = indent;
  while (!words.empty()) {
    const std::size_t end = std::min(words.find(' '), words.size());
    const std::string_view word = words.substr(0, end);
    words.remove_prefix(std::min(end + 1, words.size()));
    if (column > indent && column + 1 + word.size() > kColumns) {
      out += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out;
}

std::string count(std::size_t n, std::string_view what) {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
}

std::size_t how_many(const std::vector<Finding>& findings, Level level) {
  return static_cast<std::size_t>(std::ranges::count(findings, level, &Finding::level));
}

}  // namespace

std::string_view to_string(Level level) {
  switch (level) {
    case Level::kOk:
      return "ok";
    case Level::kNote:
      return "note";
    case Level::kWarning:
      return "warning";
    case Level::kError:
      return "error";
  }
  return "";
}

Level level_of(model::Severity severity) {
  switch (severity) {
    case model::Severity::kNote:
      return Level::kNote;
    case model::Severity::kWarning:
      return Level::kWarning;
    case model::Severity::kError:
      return Level::kError;
  }
  return Level::kError;
}

Level worst(const std::vector<Finding>& findings) {
  const auto found = std::ranges::max_element(findings, {}, &Finding::level);
  return found == findings.end() ? Level::kOk : found->level;
}

std::string json(const std::vector<Finding>& findings) {
  auto all = nlohmann::ordered_json::array();
  for (const Finding& one : findings) {
    all.push_back({{"code", one.code},
                   {"severity", std::string(to_string(one.level))},
                   {"wan", one.wan},
                   {"text", one.text},
                   {"remedy", one.remedy}});
  }
  return all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string text(const std::vector<Finding>& findings) {
  std::string out;
  for (const Finding& one : findings) {
    const std::string head = one.wan.empty() ? "" : one.wan + ": ";
    out += fmt::format("{:<{}}{}\n", to_string(one.level), kIndent, wrapped(head + one.text, kIndent));
    if (!one.remedy.empty())
      out += fmt::format("{:{}}{}\n", "", kIndent + 2, wrapped("-> " + one.remedy, kIndent + 2));
  }
  const std::size_t errors = how_many(findings, Level::kError),
                    warnings = how_many(findings, Level::kWarning);
  out += errors + warnings == 0 ? "nothing is wrong\n"
                                : fmt::format("{}, {}\n", count(errors, "error"), count(warnings, "warning"));
  return out;
}

}  // namespace bondd::doctor

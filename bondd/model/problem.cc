#include "bondd/model/problem.h"

#include <array>
#include <ctime>

#include "bondd/base/names.h"

namespace bondd::model {
namespace {

constexpr std::array<std::string_view, 3> kNames = {"note", "warning", "error"};

}  // namespace

std::string_view to_string(Severity severity) {
  return kNames.at(static_cast<std::size_t>(severity));
}

std::optional<Severity> parse_severity(std::string_view text) {
  return value_named<Severity>(kNames, text);
}

std::string time_text(std::int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm utc{};
  gmtime_r(&time, &utc);
  std::array<char, 32> out{};
  std::strftime(out.data(), out.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return out.data();
}

std::int64_t parse_time(const std::string& text) {
  std::tm utc{};
  const char* const end = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return end != nullptr && *end == 0 ? static_cast<std::int64_t>(timegm(&utc)) : 0;
}

}  // namespace bondd::model

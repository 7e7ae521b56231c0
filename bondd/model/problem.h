// Something that is wrong and visible, as `bondd status` lists it. The table of all is bondd/problems.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bondd::model {

// The words of the contract.
enum class Severity : std::uint8_t {
  kNote,     // good to know
  kWarning,  // the bond carries, and something of it does not work
  kError,    // this WAN, or the site, does not work
};
std::string_view to_string(Severity severity);
std::optional<Severity> parse_severity(std::string_view text);

// Seconds since 1970 as RFC 3339 text in UTC, and back; 0 for what is no such text.
std::string time_text(std::int64_t seconds);
std::int64_t parse_time(const std::string& text);

struct Problem {
  std::string code;  // "gateway-silent"; stays the same between versions
  Severity severity = Severity::kNote;
  std::string wan;         // empty: of the whole site
  std::string text;        // what is wrong, and where
  std::string remedy;      // what to do; may be empty
  std::int64_t since = 0;  // seconds since 1970
  bool operator==(const Problem&) const = default;
};

}  // namespace bondd::model

// What a person most likely meant by a line that is not TOML.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace bondd::config {

// `line` is the offending one, without its end. A sentence that says what to write instead, or nothing when
// no usual slip is seen.
std::optional<std::string> likely_slip(std::string_view line);

// The same for a table header that stands twice, "[wan]": the parser's words name it in quotes.
std::optional<std::string> likely_repeated_table(std::string_view table);

}  // namespace bondd::config

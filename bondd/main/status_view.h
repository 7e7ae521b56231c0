// A site's status as a person reads it, in 79 columns: a table of what was measured, and below it only
// what is wrong. Pure: values in, text out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/model/status.h"

namespace bondd {

inline constexpr std::size_t kColumns = 79;

struct ViewOptions {
  bool colour = false;
  std::int64_t now = 0;  // seconds since 1970
};

// Ends with a newline. No line is longer than kColumns, escape codes not counted, as long as no word is.
std::string status_view(const model::SiteStatus& site, const ViewOptions& options);

// "3 h 12 min", "45 s", "2 days 4 h".
std::string ago_text(std::int64_t seconds);

// The same in three characters, of the largest unit that has less than a hundred: "45s", "90m", "26h", "7d".
std::string brief_ago_text(std::int64_t seconds);

// `text` in lines of at most kColumns, the first behind `first`, the others behind as many blanks.
std::string wrapped(std::string_view first, std::string_view text);

}  // namespace bondd

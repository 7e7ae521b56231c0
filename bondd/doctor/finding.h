// One thing that `bondd doctor` looked at: what it is, whether it is right, and what to do when it is not.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/model/problem.h"

namespace bondd::doctor {

// The words of the contract, the least first.
enum class Level : std::uint8_t {
  kOk,       // looked at, and right
  kNote,     // good to know
  kWarning,  // the bond carries, and something of it does not work, or may not
  kError,    // a WAN, or the site, does not work
};
std::string_view to_string(Level level);
Level level_of(model::Severity severity);

struct Finding {
  std::string code;  // "clock-wrong"; stays the same between versions
  Level level = Level::kOk;
  std::string wan;     // empty: of the machine or the whole site
  std::string text;    // what was found
  std::string remedy;  // what to do; may be empty
  bool operator==(const Finding&) const = default;
};

// The worst of all; kOk for none.
Level worst(const std::vector<Finding>& findings);

// The contract's array of objects, over several lines.
std::string json(const std::vector<Finding>& findings);
// For people: a line each in the order given, a remedy below its finding, and at the end how many are wrong.
// At most 79 columns.
std::string text(const std::vector<Finding>& findings);

}  // namespace bondd::doctor

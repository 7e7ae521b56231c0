// `bondd config --effective`: every key that counts for a site, with its value and where it comes from.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/base/error.h"

namespace bondd::config {

struct Setting {
  std::string key;     // "bond.mtu", "wan[1].port", "policy[2].match[1].proto"
  std::string value;   // as it is written in a file; of a default that depends on something, in words
  std::size_t line{};  // where it is written; 0: it is the default
  bool operator==(const Setting&) const = default;
};

// In the order of the schema; of an array each entry that is written. Keys of the other side, and tables of
// the other backend, are left out. A key without a default that is not written has an empty value. `text` has
// passed load_text(). Secrets are never among them: a file names them, and has none.
Result<std::vector<Setting>> effective(std::string_view text);

// One line each: "bond.mtu = 1400    # office.toml:7", "bond.mode = "balance-rr"    # default".
std::string to_text(const std::vector<Setting>& settings, const std::filesystem::path& file);

}  // namespace bondd::config

// While a reload waits for `bondd confirm`, the file as it was before stands beside it:
//
//   office.toml               as it was applied, to be confirmed
//   office.toml.before        as it was before; only while something waits
//   office.toml.unconfirmed   afterwards, when the old file came back: the one that nobody confirmed
//
// It stands there and not under /run, so that the old file comes back also after a power cut.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "bondd/base/error.h"

namespace bondd::control {

class UnconfirmedFile {
 public:
  // A symbolic link counts as the file that it leads to.
  explicit UnconfirmedFile(const std::filesystem::path& file);

  // Writes `text` as the file before the change, for root only. Fails when that cannot be done.
  [[nodiscard]] Result<> keep(std::string_view text) const;
  // Puts the file before the change back, with the owner and mode of the one that is there. What it says of
  // that, for people; empty, and nothing done, when nothing waits to be confirmed.
  [[nodiscard]] Result<std::string> restore() const;
  // The change is confirmed.
  [[nodiscard]] Result<> forget() const;

 private:
  std::filesystem::path file_, before_, rejected_;
};

}  // namespace bondd::control

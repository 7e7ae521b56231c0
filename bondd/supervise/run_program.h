// Runs a program to its end, without a shell.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/units.h"

namespace bondd::supervise {

struct ProgramResult {
  int status = -1;  // exit status; -1 when a signal ended it
  std::optional<int> signal;
  std::string output, errors;  // standard output and error, each at most 4 MiB

  [[nodiscard]] bool ok() const { return status == 0; }
};

// `argv[0]` is a path, or a name looked for in the usual system directories. `input` is its
// standard input. Blocks until it ends; kills it and fails after `timeout`. Fails also
// when it cannot be executed; an exit status other than 0 is no failure.
Result<ProgramResult> run_program(const std::vector<std::string>& argv, const std::string& input = {},
                                  Duration timeout = std::chrono::seconds(10));

// The absolute path of a program: PATH is not trusted, /usr/local/sbin, /usr/local/bin,
// /usr/sbin, /usr/bin, /sbin and /bin are searched in this order.
std::optional<std::string> find_program(const std::string& name);

// A program of bondd's own: P/sbin/bondd finds P/libexec/bondd/NAME; the build tree has it two levels up.
std::optional<std::filesystem::path> find_own_program(const std::string& name);

}  // namespace bondd::supervise

// The arguments of `bondd init` and `bondd join`.
#pragma once

#include <CLI/CLI.hpp>

#include "bondd/main/commands.h"

namespace bondd {

// `common` and `exit_status` are read and written when the command runs.
void add_setup_commands(CLI::App& app, const CommonOptions& common, int& exit_status);

}  // namespace bondd

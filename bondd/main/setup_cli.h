// The arguments of `bondd init` and `bondd join`.
#pragma once

#include <CLI/CLI.hpp>

#include "bondd/main/commands.h"

namespace bondd {

// `common` and `exit_status` are read and written when the command runs.
void add_setup_commands(CLI::App& app, const CommonOptions& common, int& exit_status);

// --out and --force: where the files go, and whether they may replace others.
void add_out(CLI::App& command, std::filesystem::path& out, bool& force);

}  // namespace bondd

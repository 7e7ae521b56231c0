// What `bondd wan` is told.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "bondd/main/commands.h"

namespace bondd {

struct WanOptions : CommonOptions {
  std::string wan;
  std::string action;  // "drain" or "restore"
};

int wan_command(const WanOptions& options);

// Adds the commands to `app`; each writes its exit status when it ran.
void add_operate_commands(CLI::App& app, const CommonOptions& common, int& exit_status);

}  // namespace bondd

// Commands beside a running site: `bondd config`.
#pragma once

#include <CLI/CLI.hpp>

#include "bondd/main/commands.h"

namespace bondd {

struct ConfigOptions : CommonOptions {
  bool effective = false;
};

// Every key of a site's file, with its value and where it comes from.
int config_command(const ConfigOptions& options);

// Adds the commands to `app`; each writes its exit status when it ran.
void add_tool_commands(CLI::App& app, const CommonOptions& common, int& exit_status);

}  // namespace bondd

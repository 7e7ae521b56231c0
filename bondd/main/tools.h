// Commands beside a running site: `bondd config`, `diag`, `import`, `metrics`.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>

#include "bondd/main/commands.h"

namespace bondd {

struct ConfigOptions : CommonOptions {
  bool effective = false;
};

struct DiagOptions : CommonOptions {
  Duration watch{};  // how long to look at the running site; 0: once
  bool anonymise = false;
  std::filesystem::path out;  // the archive; empty: in this directory, named by site and time
};

struct ImportOptions {
  std::string file;    // mlvpn.conf, or NethServer's records
  std::string script;  // MLVPN's statuscommand; may be empty
  std::string name;    // of the site; empty: as the file says, else office or vps
  std::filesystem::path out = kSitesDirectory;
  bool force = false;
};

// Every key of a site's file, with its value and where it comes from.
int config_command(const ConfigOptions& options);
// One archive for a bug report, without secrets.
int diag_command(const DiagOptions& options);
int import_command(const ImportOptions& options);
// The figures of one site, or of all that are up, in the text format of Prometheus.
int metrics_command(const CommonOptions& options);

// Adds the commands to `app`; each writes its exit status when it ran.
void add_tool_commands(CLI::App& app, const CommonOptions& common, int& exit_status);

}  // namespace bondd

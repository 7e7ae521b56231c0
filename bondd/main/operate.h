// What the commands for a running site are told: `bondd wan`, `ping`, `top`, `speedtest`, `monitor`,
// `confirm`, `hooks`.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "bondd/main/commands.h"

namespace bondd {

struct WanOptions : CommonOptions {
  std::string wan;
  std::string action;  // "drain" or "restore"
};

struct PingOptions : CommonOptions {
  unsigned count = 0;  // of rows; 0: until Ctrl-C
};

struct SpeedtestOptions : CommonOptions {
  std::vector<std::string> lines;  // WANs to measure; empty: all, and the bond
  bool json = false;
};

struct MonitorOptions : CommonOptions {
  bool json = false;
};

struct HooksOptions : CommonOptions {
  std::string action;  // "test"
};

int wan_command(const WanOptions& options);
int ping_command(const PingOptions& options);
int top_command(const CommonOptions& options);
int speedtest_command(const SpeedtestOptions& options);
// What bondd starts at the other end of a speed test, with a channel (speedtest/responder.h) as standard
// input. `user`: to run as; see mlvpn::drop_rights().
int speedtest_responder_command(const std::string& user);
int monitor_command(const MonitorOptions& options);
int confirm_command(const CommonOptions& options);
int hooks_command(const HooksOptions& options);

// Adds the commands to `app`; each writes its exit status when it ran.
void add_operate_commands(CLI::App& app, const CommonOptions& common, int& exit_status);

}  // namespace bondd

// The arguments of `bondd config`.
#include <memory>

#include "bondd/main/tools.h"

namespace bondd {
namespace {

void add_config(CLI::App& app, const CommonOptions& common, int& exit_status) {
  CLI::App* config = app.add_subcommand("config", "print what a site's file comes to");
  const auto options = std::make_shared<ConfigOptions>();
  config->add_option("FILE", options->file, "the site's file, or its name for /etc/bondd/NAME.toml")
      ->required();
  config->add_flag("--effective", options->effective, "every key with its value, and where it comes from")
      ->required();
  config->callback(
      [options, &common, &exit_status] { exit_status = config_command(with_common(*options, common)); });
}

}  // namespace

void add_tool_commands(CLI::App& app, const CommonOptions& common, int& exit_status) {
  add_config(app, common, exit_status);
}

}  // namespace bondd

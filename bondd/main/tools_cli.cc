// The arguments of `bondd config`, `diag`, `import` and `metrics`.
#include <fmt/format.h>

#include <memory>

#include "bondd/main/setup_cli.h"
#include "bondd/main/tools.h"

namespace bondd {
namespace {

constexpr Duration kLongestWatch = std::chrono::hours(1);

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

void add_diag(CLI::App& app, const CommonOptions& common, int& exit_status) {
  CLI::App* diag = app.add_subcommand("diag", "write an archive for a bug report, without secrets");
  const auto options = std::make_shared<DiagOptions>();
  diag->add_option("NAME", options->file, "the site's name, or its file; default: the only one there is");
  diag->add_option_function<std::string>(
          "--for",
          [options](const std::string& text) { options->watch = parse_duration(text).value_or(Duration(0)); },
          "look at the running site that long, once a second")
      ->type_name("TIME")
      ->check([](const std::string& text) {
        const auto time = parse_duration(text);
        return time && *time > Duration(0) && *time <= kLongestWatch
                   ? ""
                   : fmt::format("\"{}\" is not a time such as 5m, at most 1h", text);
      });
  diag->add_flag("--anonymise", options->anonymise, "public addresses and the server's name become numbers");
  diag->add_option("-o,--output", options->out, "the archive; default: bondd-NAME-TIME.tar.gz here")
      ->type_name("FILE");
  diag->callback(
      [options, &common, &exit_status] { exit_status = diag_command(with_common(*options, common)); });
}

void add_import(CLI::App& app, int& exit_status) {
  CLI::App* command = app.add_subcommand("import", "write a site's file from an mlvpn.conf");
  const auto options = std::make_shared<ImportOptions>();
  command->add_option("CONF", options->file, "mlvpn.conf, or the records of NethServer's mlvpn module")
      ->required();
  command->add_option("UPDOWN", options->script, "the script of its statuscommand; it is read, not run");
  command->add_option("--name", options->name, "name of the site; default: office, on the VPS vps")
      ->type_name("NAME");
  add_out(*command, options->out, options->force);
  command->callback([options, &exit_status] { exit_status = import_command(*options); });
}

void add_metrics(CLI::App& app, const CommonOptions& common, int& exit_status) {
  CLI::App* metrics = app.add_subcommand("metrics", "print figures for Prometheus");
  const auto options = std::make_shared<CommonOptions>();
  metrics->add_option("NAME", options->file, "the site's name, or its file; default: all that are up");
  metrics->callback(
      [options, &common, &exit_status] { exit_status = metrics_command(with_common(*options, common)); });
}

}  // namespace

void add_tool_commands(CLI::App& app, const CommonOptions& common, int& exit_status) {
  add_config(app, common, exit_status);
  add_diag(app, common, exit_status);
  add_import(app, exit_status);
  add_metrics(app, common, exit_status);
}

}  // namespace bondd

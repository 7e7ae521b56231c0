#include "bondd/main/setup_cli.h"

#include <fmt/format.h>

#include <memory>

namespace bondd {
namespace {

template <typename Value>
void add_choice(CLI::App& command, const std::string& name, Value& value, const std::string& first,
                Value first_value, const std::string& second, Value second_value, const std::string& help) {
  command
      .add_option_function<std::string>(
          name,
          [&value, first, first_value, second_value](const std::string& text) {
            value = text == first ? first_value : second_value;
          },
          help)
      ->check(CLI::IsMember({first, second}));
}

void add_time(CLI::App& command, const std::string& name, Duration& value, const std::string& help) {
  command
      .add_option_function<std::string>(
          name, [&value](const std::string& text) { value = parse_duration(text).value_or(value); }, help)
      ->type_name("TIME")
      ->check([](const std::string& text) {
        const auto time = parse_duration(text);
        return time && *time > Duration(0) ? "" : fmt::format("\"{}\" is not a time such as 24h", text);
      });
}

void add_wan(CLI::App& command, std::vector<std::string>& wans, const std::string& help) {
  command.add_option("--wan", wans, help)->allow_extra_args(false)->type_name("DEVICE[=GATEWAY]");
}

void add_init(CLI::App& app, const CommonOptions& common, int& exit_status) {
  CLI::App* init =
      app.add_subcommand("init", "write the files of a new bond and print a token for the other end");
  const auto options = std::make_shared<InitOptions>();
  init->add_option("--name", options->name, "name of the site; default: office, on the VPS vps")
      ->type_name("NAME");
  init->add_option("--server", options->server, "address or host name of the VPS")->type_name("ADDRESS");
  add_wan(*init, options->wans, "a line to the Internet; once for each; default: all that are found");
  add_choice(*init, "--backend", options->backend, "mlvpn", model::Backend::kMlvpn, "openvpn-bond",
             model::Backend::kOpenVpnBond, "default: mlvpn");
  init->add_option("--lan", options->lans,
                   "a network of the office; once for each; default: those of this machine")
      ->allow_extra_args(false)
      ->type_name("NETWORK");
  init->add_flag("--yes", options->yes, "do not ask whether the proposals are right");
  add_out(*init, options->out, options->force);
  init->add_flag("--qr", options->qr, "show the token as a QR code, too");
  add_choice(*init, "--role", options->role, "client", model::Role::kClient, "server", model::Role::kServer,
             "client: this is the office (default); server: this is the VPS");
  init->add_option("--lines", options->lines, "with --role server: how many lines the office has; default: 2")
      ->check(CLI::Range(1, 15))
      ->type_name("NUMBER");
  init->add_option("--port", options->first_port, "first UDP port at the VPS; default: 5080")
      ->check(CLI::Range(1, 65520))
      ->type_name("PORT");
  init->add_option("--bond", options->bond,
                   "network for the bond's two addresses; default: a free one, 172.16.16.0/30")
      ->type_name("NETWORK");
  add_time(*init, "--valid", options->valid, "how long the token can be used; default: 24h");
  init->callback([options, &common, &exit_status] {
    options->run_root = common.run_root;
    exit_status = init_command(*options);
  });
}

void add_join(CLI::App& app, const CommonOptions& common, int& exit_status) {
  CLI::App* join = app.add_subcommand("join", "write this end's files from the token of `bondd init`");
  const auto options = std::make_shared<JoinOptions>();
  join->add_option("TOKEN", options->token,
                   "what `bondd init` printed; better without: then it is asked for, or read\n"
                   "from standard input, and stays out of the shell's history");
  join->add_option("--name", options->name, "name of the site here; default: as the token proposes")
      ->type_name("NAME");
  add_out(*join, options->out, options->force);
  join->add_flag("--up", options->up, "start the site, too");
  add_wan(*join, options->wans, "in the office: a line to the Internet; once for each; default: all found");
  join->add_option("--state-dir", options->state)->group("");
  join->callback([options, &common, &exit_status] {
    options->run_root = common.run_root;
    exit_status = join_command(*options);
  });
}

}  // namespace

void add_out(CLI::App& command, std::filesystem::path& out, bool& force) {
  command.add_option("--out", out, "directory for the files; default: /etc/bondd")->type_name("DIRECTORY");
  command.add_flag("--force", force, "replace files that exist");
}

void add_setup_commands(CLI::App& app, const CommonOptions& common, int& exit_status) {
  add_init(app, common, exit_status);
  add_join(app, common, exit_status);
}

}  // namespace bondd

// bondd: the command line. Each command is a function of its own (commands.h).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <optional>

#include "bondd/base/text.h"
#include "bondd/control/run_dir.h"
#include "bondd/main/commands.h"

#ifndef BONDD_VERSION
#define BONDD_VERSION "unknown"
#endif

namespace bondd {
namespace {

constexpr Duration kUpTimeout = std::chrono::seconds(30);

struct Arguments {
  UpOptions up;
  StatusOptions status;
  CommonOptions common;
  std::string timeout, help_for;
  int exit_status = kDone;
};

void add_file(CLI::App& command, std::string& file, bool required = true) {
  command.add_option("FILE", file, "the site's file, or its name for /etc/bondd/NAME.toml")
      ->required(required);
}

// "45s", "2m", or a number of seconds. Empty on what is neither.
std::optional<Duration> parse_timeout(const std::string& text) {
  auto parsed = parse_duration(text);
  if (!parsed) parsed = parse_duration(text + "s");
  return parsed ? std::optional(*parsed) : std::nullopt;
}

// Every command shares the hidden --run-dir and --verbose, which may also stand after it.
void add_common(CLI::App& app, Arguments& arguments) {
  arguments.common.run_root = control::kRunRoot;
  app.add_option("--run-dir", arguments.common.run_root)->group("");
  app.add_flag("-v,--verbose", arguments.common.verbose, "say every step");
}

template <typename Options>
Options with_common(Options options, const CommonOptions& common) {
  options.run_root = common.run_root;
  options.verbose = common.verbose;
  return options;
}

void add_up(CLI::App& app, Arguments& arguments) {
  CLI::App* up = app.add_subcommand("up", "bring the site up; Ctrl-C takes everything down again");
  add_file(*up, arguments.up.file);
  up->add_flag("-d,--detach", arguments.up.detach, "return once the bond carries traffic");
  up->add_option("--timeout", arguments.timeout, "how long that may take, 30s if not given with -d")
      ->check([](const std::string& text) {
        return parse_timeout(text) ? std::string() : fmt::format("\"{}\" is no duration such as 30s", text);
      });
  up->callback([&arguments] {
    UpOptions options = with_common(arguments.up, arguments.common);
    options.timeout = arguments.timeout.empty() ? (options.detach ? kUpTimeout : Duration(0))
                                                : *parse_timeout(arguments.timeout);
    arguments.exit_status = up_command(options);
  });
}

void add_status(CLI::App& app, Arguments& arguments) {
  CLI::App* status = app.add_subcommand("status", "show the site, or all sites");
  add_file(*status, arguments.status.file, false);
  status->add_flag("--json", arguments.status.json, "for programs");
  status->add_flag("--watch", arguments.status.watch, "keep it on screen");
  status->callback([&arguments] {
    arguments.exit_status = status_command(with_common(arguments.status, arguments.common));
  });
}

void add_simple(CLI::App& app, Arguments& arguments, const std::string& name, const std::string& text,
                int (*run)(const CommonOptions&)) {
  CLI::App* command = app.add_subcommand(name, text);
  add_file(*command, arguments.common.file);
  command->callback([&arguments, run] { arguments.exit_status = run(arguments.common); });
}

const CLI::App* find_command(const CLI::App& app, const std::string& name) {
  for (const CLI::App* command : app.get_subcommands({})) {
    if (command->get_name() == name) return command;
  }
  return nullptr;
}

void add_help(CLI::App& app, Arguments& arguments) {
  CLI::App* help = app.add_subcommand("help", "show this, or the help of a command");
  help->add_option("COMMAND", arguments.help_for);
  help->callback([&app, &arguments] {
    const CLI::App* about = arguments.help_for.empty() ? &app : find_command(app, arguments.help_for);
    if (about == nullptr) {
      fmt::print(stderr, "bondd: there is no command \"{}\"\n", arguments.help_for);
      arguments.exit_status = kWrongUse;
      return;
    }
    fmt::print("{}", about->help(about == &app ? "bondd" : "bondd " + arguments.help_for));
  });
}

// A word that is no command is likely a slip of one.
int wrong_use(const CLI::App& app, int argc, char** argv, std::string what) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  const std::string word = argc > 1 && argv[1][0] != '-' ? argv[1] : "";
  if (!word.empty() && std::find(names.begin(), names.end(), word) == names.end()) {
    const std::vector<std::string_view> candidates(names.begin(), names.end());
    const std::string_view meant = likely_meant(word, candidates);
    what = fmt::format("there is no command \"{}\"{}", word,
                       meant.empty() ? "" : fmt::format("; did you mean \"{}\"?", meant));
  } else if (argc == 1) {
    what = "which command?";
  }
  fmt::print(stderr, "bondd: {}\n`bondd help` shows the commands.\n", what);
  return kWrongUse;
}

int run(int argc, char** argv) {
  CLI::App app("Bonds several Internet lines of an office into one, towards a server.", "bondd");
  Arguments arguments;
  app.require_subcommand(1);
  app.fallthrough();
  app.set_version_flag("--version", "bondd " BONDD_VERSION);
  add_common(app, arguments);
  add_up(app, arguments);
  add_simple(app, arguments, "down", "stop the site and remove all that it made", down_command);
  add_status(app, arguments);
  add_simple(app, arguments, "check", "say every mistake in the file", check_command);
  add_simple(app, arguments, "plan", "print what `up` would change on this machine now", plan_command);
  add_simple(app, arguments, "reload", "apply the changed file to the running site", reload_command);
  add_simple(app, arguments, "key", "print this end's fingerprint, making its key when there is none",
             key_command);
  add_help(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& shown) {  // --help, --version
    return app.exit(shown);
  } catch (const CLI::ParseError& error) {
    return wrong_use(app, argc, argv, error.what());
  }
  return arguments.exit_status;
}

}  // namespace
}  // namespace bondd

int main(int argc, char** argv) {
  try {
    return bondd::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bondd: {}\n", error.what());
    return bondd::kFailed;
  }
}

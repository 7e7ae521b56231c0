// bondd: the command line. Each command is a function of its own (commands.h).
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <optional>
#include <vector>

#include "bondd/control/run_dir.h"
#include "bondd/main/command_help.h"
#include "bondd/main/commands.h"
#include "bondd/main/complete.h"
#include "bondd/main/operate.h"
#include "bondd/main/setup_cli.h"
#include "bondd/main/terminal.h"
#include "bondd/main/tools.h"
#include "bondd/setup/token.h"

#ifndef BONDD_VERSION
#define BONDD_VERSION "unknown"
#endif

namespace bondd {
namespace {

constexpr Duration kUpTimeout = std::chrono::seconds(30);

struct Arguments {
  UpOptions up;
  StatusOptions status;
  WaitOptions wait;
  DoctorOptions doctor;
  ReloadOptions reload;
  CommonOptions common;
  std::string timeout, help_for;
  std::vector<std::string> words;  // of a command line to complete
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

std::string check_timeout(const std::string& text) {
  return parse_timeout(text) ? std::string() : fmt::format("\"{}\" is not a duration such as 30s", text);
}

// Every command shares the hidden --run-dir and --verbose, which may also stand after it.
void add_common(CLI::App& app, Arguments& arguments) {
  arguments.common.run_root = control::kRunRoot;
  app.add_option("--run-dir", arguments.common.run_root)->group("");
  app.add_flag("-v,--verbose", arguments.common.verbose, "print each step");
}

void add_up(CLI::App& app, Arguments& arguments) {
  CLI::App* up = app.add_subcommand("up", "bring the site up; Ctrl-C takes everything down again");
  add_file(*up, arguments.up.file);
  up->add_flag("-d,--detach", arguments.up.detach,
               "run in the background; returns once the bond carries traffic");
  up->add_option("--timeout", arguments.timeout,
                 "give up when there is no traffic after this time; default with -d: 30s, and a\n"
                 "server then only has to listen")
      ->check(check_timeout);
  up->callback([&arguments] {
    UpOptions options = with_common(arguments.up, arguments.common);
    options.timeout = arguments.timeout.empty() ? (options.detach ? kUpTimeout : Duration(0))
                                                : *parse_timeout(arguments.timeout);
    options.timeout_written = !arguments.timeout.empty();
    arguments.exit_status = up_command(options);
  });
}

void add_status(CLI::App& app, Arguments& arguments) {
  CLI::App* status = app.add_subcommand("status", "show the site, or all sites");
  add_file(*status, arguments.status.file, false);
  status->add_flag("--json", arguments.status.json, "print JSON, for programs");
  status->add_flag("--watch", arguments.status.watch, "show it again each second; q quits");
  status
      ->add_option("--check", arguments.status.check,
                   "print nothing, exit 0 when so: live (bondd answers), ready (the bond carries\n"
                   "traffic), degraded (some WANs only)")
      ->check(CLI::IsMember({"live", "ready", "degraded"}));
  status->footer("Exit status: 0 up, 1 degraded, 3 down; with --json 0 whenever the answer is known.");
  status->callback([&arguments] {
    arguments.exit_status = status_command(with_common(arguments.status, arguments.common));
  });
}

void add_wait(CLI::App& app, Arguments& arguments) {
  CLI::App* wait = app.add_subcommand("wait", "wait until the bond of a running site carries traffic");
  add_file(*wait, arguments.wait.file);
  wait->add_option("--timeout", arguments.timeout, "how long to wait; default 30s")->check(check_timeout);
  wait->callback([&arguments] {
    WaitOptions options = with_common(arguments.wait, arguments.common);
    if (!arguments.timeout.empty()) options.timeout = *parse_timeout(arguments.timeout);
    arguments.exit_status = wait_command(options);
  });
}

void add_doctor(CLI::App& app, Arguments& arguments) {
  CLI::App* doctor =
      app.add_subcommand("doctor", "look for what is wrong with this machine, the file and the site");
  add_file(*doctor, arguments.doctor.file, false);
  doctor->add_option("--line", arguments.doctor.line, "only what is about this WAN");
  doctor->add_flag("--json", arguments.doctor.json, "print JSON, for programs");
  doctor->footer("Exit status: 0 when nothing is worse than a note, 1 else.");
  doctor->callback([&arguments] {
    arguments.exit_status = doctor_command(with_common(arguments.doctor, arguments.common));
  });
}

void add_simple(CLI::App& app, Arguments& arguments, const std::string& name, const std::string& text,
                int (*run)(const CommonOptions&)) {
  CLI::App* command = app.add_subcommand(name, text);
  add_file(*command, arguments.common.file);
  command->callback([&arguments, run] { arguments.exit_status = run(arguments.common); });
}

void add_reload(CLI::App& app, Arguments& arguments) {
  CLI::App* reload = app.add_subcommand("reload", "apply the changed file to the running site");
  add_file(*reload, arguments.reload.file);
  reload
      ->add_option("--confirm", arguments.timeout,
                   "the file from before comes back unless `bondd confirm` follows within this time")
      ->type_name("TIME")
      ->check([](const std::string& text) {
        const auto time = parse_timeout(text);
        return time && *time > Duration(0) ? "" : fmt::format("\"{}\" is not a time such as 2m", text);
      });
  reload->callback([&arguments] {
    ReloadOptions options = with_common(arguments.reload, arguments.common);
    if (!arguments.timeout.empty()) options.confirm_within = *parse_timeout(arguments.timeout);
    arguments.exit_status = reload_command(options);
  });
}

// Not App::help(): that one shows the help of a command once it was parsed, and "help" is one.
std::string general_help(const CLI::App& app) {
  return app.get_formatter()->make_help(&app, "bondd", CLI::AppFormatMode::Normal);
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
      std::vector<std::string> names;
      for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
      fmt::print(stderr, "bondd: {}\n", no_such_command(arguments.help_for, names));
      arguments.exit_status = kWrongUse;
      return;
    }
    fmt::print("{}", about == &app ? general_help(app) : about->help("bondd"));
  });
}

// For the shells' completion; help does not show it.
void add_complete(CLI::App& app, Arguments& arguments) {
  CLI::App* complete_line =
      app.add_subcommand("complete", "print what may come next, for the shells")->group("");
  complete_line->add_option("WORD", arguments.words);
  complete_line->callback([&app, &arguments] {
    const auto sites = sites_to_complete(kSitesDirectory, arguments.common.run_root);
    for (const Candidate& candidate : complete(app, arguments.words, sites)) {
      fmt::print("{}\t{}\n", candidate.word, candidate.help);
    }
  });
}

// The arguments, last first, as CLI11 takes them. A token is a secret: from here on ps(1) does not show it.
std::vector<std::string> take_arguments(int argc, char** argv) {
  std::vector<std::string> arguments;
  for (int i = argc - 1; i > 0; --i) {
    arguments.emplace_back(argv[i]);
    if (arguments.back().starts_with(setup::kTokenPrefix)) std::memset(argv[i], 'x', arguments.back().size());
  }
  return arguments;
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// The first option in `words` that neither bondd nor its command has; "" when all are known.
std::string unknown_option(const CLI::App& app, const CLI::App* command, int argc, char** argv,
                           std::vector<std::string>& known) {
  known = option_names(app);
  if (command != nullptr) {
    for (std::string& name : option_names(*command)) known.push_back(std::move(name));
  }
  for (int i = 1; i < argc; ++i) {
    const std::string word = std::string(argv[i]).substr(0, std::string(argv[i]).find('='));
    if (word.starts_with("--") && word.size() > 2 && std::ranges::find(known, word) == known.end())
      return word;
  }
  return {};
}

int wrong_use(const CLI::App& app, int argc, char** argv, std::string what) {
  std::vector<std::string> names, options;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  const std::string word = argc > 1 && argv[1][0] != '-' ? argv[1] : "";
  const CLI::App* const command = find_command(app, word);
  if (!word.empty() && command == nullptr) {
    what = no_such_command(word, names);
  } else if (const std::string option = unknown_option(app, command, argc, argv, options); !option.empty()) {
    what = no_such_option(option, options);
  }
  const std::string help = command == nullptr ? "" : " " + word;
  fmt::print(stderr, "bondd: {}\n`bondd help{}` shows {}.\n", what, help,
             command == nullptr ? "the commands" : "how to use it");
  return kWrongUse;
}

int run(int argc, char** argv) {
  CLI::App app("Bonds several Internet lines of an office into one, towards a server.", "bondd");
  Arguments arguments;
  app.require_subcommand(1);
  app.footer(
      "NAME is short for /etc/bondd/NAME.toml.\n"
      "Examples: bondd check office     bondd up -d office     bondd status --watch\n"
      "Exit status: 0 done, 1 the file or the machine is at fault, 2 wrong use;\n"
      "of status: 0 up, 1 degraded, 3 down.");
  app.fallthrough();
  app.set_version_flag("-V,--version", "bondd " BONDD_VERSION);
  add_common(app, arguments);
  add_setup_commands(app, arguments.common, arguments.exit_status);
  add_up(app, arguments);
  add_simple(app, arguments, "down", "stop the site and remove all that it made", down_command);
  add_status(app, arguments);
  add_wait(app, arguments);
  add_doctor(app, arguments);
  add_simple(app, arguments, "check", "print each error in the file", check_command);
  add_simple(app, arguments, "plan", "print what `up` would change on this machine now", plan_command);
  add_reload(app, arguments);
  add_simple(app, arguments, "key",
             "print the line that lets the other end know this one (openvpn-bond); makes the key",
             key_command);
  add_operate_commands(app, arguments.common, arguments.exit_status);
  add_tool_commands(app, arguments.common, arguments.exit_status);
  add_help(app, arguments);
  add_complete(app, arguments);
  if (argc == 1) {
    fmt::print(stderr, "{}", general_help(app));
    return kWrongUse;
  }
  try {
    app.parse(take_arguments(argc, argv));
  } catch (const CLI::Success& shown) {  // --help, --version
    return app.exit(shown);
  } catch (const CLI::ParseError& error) {
    return wrong_use(app, argc, argv, error.what());
  }
  if (!written_out() && arguments.exit_status == kDone) return kFailed;
  return arguments.exit_status;
}

}  // namespace
}  // namespace bondd

namespace {

// bondd reads keys and passwords: no core file has them, and no other process of its user may look into it.
void hide_memory() {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
#if !defined(__SANITIZE_ADDRESS__)  // its search for leaks looks into the process
  prctl(PR_SET_DUMPABLE, 0);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  hide_memory();
  try {
    return bondd::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bondd: {}\n", error.what());
    return bondd::kFailed;
  }
}

// The arguments of the commands for a running site.
#include <memory>

#include "bondd/main/operate.h"

namespace bondd {
namespace {

constexpr const char* kSiteHelp = "the site's name, or its file";

void add_wan(CLI::App& app, const CommonOptions& common, int& exit_status) {
  CLI::App* wan = app.add_subcommand("wan", "take a WAN of a running site out of use, or back");
  const auto options = std::make_shared<WanOptions>();
  wan->add_option("SITE", options->file, kSiteHelp)->required();
  wan->add_option("WAN", options->wan, "as the file names it")->required();
  wan->add_option("ACTION", options->action,
                  "drain: its traffic goes to the other WANs, no packet is lost; restore: it is used again")
      ->required()
      ->check(CLI::IsMember({"drain", "restore"}));
  wan->callback(
      [options, &common, &exit_status] { exit_status = wan_command(with_common(*options, common)); });
}

void add_ping(CLI::App& app, const CommonOptions& common, int& exit_status) {
  CLI::App* ping = app.add_subcommand("ping", "show the latency of each WAN and of the bond, once a second");
  const auto options = std::make_shared<PingOptions>();
  ping->add_option("NAME", options->file, kSiteHelp)->required();
  ping->add_option("--count", options->count, "end after so many; default: at Ctrl-C")
      ->check(CLI::Range(1U, 1'000'000U))
      ->type_name("NUMBER");
  ping->footer("Exit status: 0 when the other end answered through the bond, 1 else.");
  ping->callback(
      [options, &common, &exit_status] { exit_status = ping_command(with_common(*options, common)); });
}

void add_top(CLI::App& app, const CommonOptions& common, int& exit_status) {
  CLI::App* top = app.add_subcommand("top", "show each WAN live, with keys to take one out of use");
  const auto options = std::make_shared<CommonOptions>();
  top->add_option("NAME", options->file, "the site's name, or its file; default: all that are up");
  top->footer("Keys: arrows select a WAN, d drains it, r restores it, q quits.");
  top->callback(
      [options, &common, &exit_status] { exit_status = top_command(with_common(*options, common)); });
}

void add_speedtest(CLI::App& app, const CommonOptions& common, int& exit_status) {
  CLI::App* speedtest = app.add_subcommand(
      "speedtest", "measure each WAN alone and the bond, down and up, with latency under load");
  const auto options = std::make_shared<SpeedtestOptions>();
  speedtest->add_option("NAME", options->file, kSiteHelp)->required();
  speedtest->add_option("--line", options->lines, "only this WAN; may be given again")
      ->type_name("WAN")
      ->allow_extra_args(false);
  speedtest->add_flag("--json", options->json, "print JSON, for programs");
  speedtest->footer(
      "While one WAN is measured all traffic takes it, for about ten seconds.\n"
      "Exit status: 0 when all was measured, 1 when something was not.");
  speedtest->callback(
      [options, &common, &exit_status] { exit_status = speedtest_command(with_common(*options, common)); });

  // Not for people: help does not show it.
  CLI::App* responder = app.add_subcommand("speedtest-responder", "the other end of a speed test")->group("");
  const auto user = std::make_shared<std::string>();
  responder->add_option("USER", *user);
  responder->callback([user, &exit_status] { exit_status = speedtest_responder_command(*user); });
}

void add_monitor(CLI::App& app, const CommonOptions& common, int& exit_status) {
  CLI::App* monitor = app.add_subcommand("monitor", "print what happens at a site, or at all, as it happens");
  const auto options = std::make_shared<MonitorOptions>();
  monitor->add_option("NAME", options->file, kSiteHelp);
  monitor->add_flag("--json", options->json, "print JSON, for programs: an object a line");
  monitor->callback(
      [options, &common, &exit_status] { exit_status = monitor_command(with_common(*options, common)); });
}

void add_confirm(CLI::App& app, const CommonOptions& common, int& exit_status) {
  CLI::App* confirm = app.add_subcommand("confirm", "keep what `reload --confirm` applied");
  const auto options = std::make_shared<CommonOptions>();
  confirm->add_option("NAME", options->file, kSiteHelp)->required();
  confirm->callback(
      [options, &common, &exit_status] { exit_status = confirm_command(with_common(*options, common)); });
}

void add_hooks(CLI::App& app, const CommonOptions& common, int& exit_status) {
  CLI::App* hooks = app.add_subcommand("hooks", "try the program that [hooks] of a site's file names");
  const auto options = std::make_shared<HooksOptions>();
  hooks
      ->add_option("ACTION", options->action, "test: the running bondd runs it once, and its output is shown")
      ->required()
      ->check(CLI::IsMember({"test"}));
  hooks->add_option("NAME", options->file, kSiteHelp)->required();
  hooks->footer("Exit status: 0 when the program ended with 0, 1 else.");
  hooks->callback(
      [options, &common, &exit_status] { exit_status = hooks_command(with_common(*options, common)); });
}

}  // namespace

void add_operate_commands(CLI::App& app, const CommonOptions& common, int& exit_status) {
  add_wan(app, common, exit_status);
  add_ping(app, common, exit_status);
  add_top(app, common, exit_status);
  add_speedtest(app, common, exit_status);
  add_monitor(app, common, exit_status);
  add_confirm(app, common, exit_status);
  add_hooks(app, common, exit_status);
}

}  // namespace bondd

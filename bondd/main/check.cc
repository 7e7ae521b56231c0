// `bondd check` and `bondd plan`: nothing here changes anything.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <ranges>

#include "bondd/control/line_advice.h"
#include "bondd/control/observer.h"
#include "bondd/control/pass.h"
#include "bondd/control/preflight.h"
#include "bondd/control/resolver.h"
#include "bondd/control/run_dir.h"
#include "bondd/control/sysctls.h"
#include "bondd/ipc/control_client.h"
#include "bondd/main/commands.h"
#include "bondd/main/foreign_look.h"
#include "bondd/main/site_file.h"
#include "bondd/plan/plan.h"
#include "bondd/plan/servers.h"
#include "bondd/supervise/supervisor.h"
#include "netlink/rtnl.h"
#include "rules/iptables.h"

namespace bondd {
namespace {

constexpr auto kAskLimit = std::chrono::seconds(2);

// Processes of a running site: those that the plan names and that live count as there.
std::vector<model::Process> living_processes(const model::DesiredState& desired,
                                             const std::filesystem::path& run_dir) {
  std::vector<model::Process> living;
  const auto found = supervise::find_leftovers(run_dir);
  for (const model::Process& process : desired.processes) {
    for (const supervise::Leftover& leftover : found) {
      if (leftover.id == process.id) living.push_back(process);
    }
  }
  return living;
}

Result<std::vector<model::Step>> steps_of_up(const model::Config& config,
                                             const std::filesystem::path& run_root) {
  auto rtnl = netlink::make_rtnl();
  if (!rtnl) return tl::make_unexpected(rtnl.error());
  auto iptables = rules::make_iptables();
  if (!iptables) return tl::make_unexpected(iptables.error());
  const auto sysctls = control::make_sysctls();
  const control::RunDirView view(run_root, config.site);
  control::Observer observer(rtnl->get(), iptables->get(), sysctls.get(), &view, nullptr);
  if (!control::has_network_rights()) observer.tolerate_unreadable_firewall();

  const unsigned slot = view.slot().value_or(control::lowest_free_slot(run_root).value_or(0));
  control::Inputs inputs;
  inputs.config = config;
  if (!config.server.address.empty()) {
    auto addresses = control::resolve(config.server.address);
    if (addresses && config.role == model::Role::kClient)
      addresses = plan::fit_servers(config, *addresses, (*rtnl)->snapshot().value_or(netlink::Snapshot{}));
    if (!addresses) say_error(addresses.error());
    inputs.server_addresses = addresses.value_or(std::vector<IpAddress>{});
  }
  auto prepared = control::prepare(observer, control::Depth::kAll, slot, control::find_programs(), inputs);
  if (!prepared) return tl::make_unexpected(prepared.error());
  if (observer.firewall_error()) say("# without root rights the firewall cannot be read: taken as empty");
  for (const auto* notes : {&prepared->plan.notes, &prepared->plan.foreign}) {
    for (const plan::Note& note : *notes) say(plan::to_string(note));
  }
  prepared->owned.processes = living_processes(prepared->plan.state, view.path());
  control::find_steps(*prepared);
  return std::move(prepared->steps);
}

// A running site knows more than a look at the machine shows: which server answers, which WAN carries. Prints
// what a reload would do; false when no bondd answers, it does not know how, or only root may ask.
bool say_plan_of_running(const SiteFile& file, const std::filesystem::path& run_root) {
  const control::RunDirView view(run_root, file.site);
  ipc::Request request{ipc::Command::kPlan, {}};
  request.file = std::filesystem::absolute(file.path).native();
  const auto reply = ipc::ask(view.socket(), request, kAskLimit);
  if (!reply || !reply->ok || reply->messages.empty()) return false;
  say(fmt::format("{}: {}", file.site, reply->messages.front()));
  for (const std::string& line : reply->messages | std::views::drop(1)) fmt::print("{}\n", line);
  return true;
}

// What a running site knows that speaks against this file, such as where the office's packets come from.
// Another role or backend wants another site, not a reload.
std::size_t say_why_not_reloaded(const model::Config& config, const std::filesystem::path& run_root) {
  const control::RunDirView view(run_root, config.site);
  if (!view.running()) return 0;
  const auto running = ipc::ask(view.socket(), {ipc::Command::kStatus, {}}, kAskLimit);
  if (!running) return 0;
  const auto status = ipc::parse_status(running->status);
  if (!status || status->role != name(config.role) || status->backend != name(config.backend)) return 0;
  ipc::Request request{ipc::Command::kPlan, {}};
  request.file = config.file.native();
  const auto reply = ipc::ask(view.socket(), request, kAskLimit);
  if (!reply || reply->ok) return 0;
  for (const std::string& message : reply->messages) say(fmt::format("{}: {}", request.file, message));
  return reply->messages.size();
}

struct Findings {
  std::size_t errors = 0, warnings = 0;
};

// What of others on this machine stands in the way: of `up` itself, as errors, and of packets, as warnings.
Findings say_foreign(const model::Config& config, const std::filesystem::path& run_root) {
  const auto [obstacles, notes] = look_for_foreign(config, run_root);
  for (const plan::Note& note : notes)
    say(fmt::format("{}: warning: {}", config.file.native(), plan::to_string(note)));
  for (const std::string& obstacle : obstacles) say(fmt::format("{}: {}", config.file.native(), obstacle));
  return {obstacles.size(), notes.size()};
}

// Where the server's name leads, if that is nowhere, as a warning; how many. A written address is told with
// the file's other mistakes, and a name server that does not answer soon says nothing.
std::size_t say_server(const model::Config& config) {
  if (config.role == model::Role::kServer || parse_ip(config.server.address)) return 0;
  const auto network = look_at_machine();
  const auto addresses = control::resolve_within(config.server.address, control::kSystemPatience);
  if (!network || !addresses || !*addresses) return 0;
  const auto fit = plan::fit_servers(config, **addresses, *network);
  if (fit) return 0;
  say(fmt::format("{}: warning: {}; correct address in [server], or what the name leads to",
                  config.file.native(), fit.error().message));
  return 1;
}

// What a running site has measured of its lines.
void say_line_advice(const std::filesystem::path& run_root, const std::string& site) {
  const control::RunDirView view(run_root, site);
  if (!view.running()) return;
  const auto reply = ipc::ask(view.socket(), {ipc::Command::kStatus, {}}, kAskLimit);
  if (!reply) return;  // coming up, or not ours to ask
  const auto status = ipc::parse_status(reply->status);
  if (!status) return;
  for (const problems::Remark& advice : control::line_advice(*status))
    say(fmt::format("measured now: {}", advice.text));
}

}  // namespace

int check_command(const CommonOptions& options) {
  const auto file = find_site_file(options.file);
  if (!file) return kFailed;
  const auto checked = load_site_file(file->path);
  if (!checked) return kFailed;
  Findings foreign = say_foreign(checked->config, options.run_root);
  if (foreign.errors == 0) foreign.errors = say_why_not_reloaded(checked->config, options.run_root);
  const std::size_t warnings = checked->warnings.size() + foreign.warnings + say_server(checked->config);
  say(fmt::format("{}: {} error{}, {} warning{}", file->path.native(), foreign.errors,
                  foreign.errors == 1 ? "" : "s", warnings, warnings == 1 ? "" : "s"));
  say_line_advice(options.run_root, file->site);
  return foreign.errors == 0 ? kDone : kFailed;
}

int plan_command(const CommonOptions& options) {
  const auto file = find_site_file(options.file);
  if (!file) return kFailed;
  const auto checked = load_site_file(file->path);
  if (!checked) return kFailed;
  if (say_plan_of_running(*file, options.run_root)) return kDone;
  const auto steps = steps_of_up(checked->config, options.run_root);
  if (!steps) {
    say_error(steps.error());
    return kFailed;
  }
  say(fmt::format("{}: {}", file->site, plan::summary(*steps)));
  for (const std::string& line : plan::print(*steps)) fmt::print("{}\n", line);
  return kDone;
}

}  // namespace bondd

// `bondd down`: asks the running bondd to take its site down, or removes what a killed one
// left behind. Everything is found by its tag.
#include <fmt/format.h>
#include <signal.h>

#include <thread>

#include "bondd/control/firewall_tables.h"
#include "bondd/control/preflight.h"
#include "bondd/control/reconciler.h"
#include "bondd/control/run_dir.h"
#include "bondd/ipc/control_client.h"
#include "bondd/main/commands.h"
#include "bondd/main/site_file.h"
#include "bondd/supervise/spawn.h"
#include "bondd/supervise/supervisor.h"
#include "netlink/rtnl.h"
#include "rules/iptables.h"

namespace bondd {
namespace {

using namespace std::chrono_literals;

constexpr auto kAskLimit = 5s;
constexpr auto kStopLimit = 15s;  // children get their grace, and iptables its lock
constexpr auto kKillLimit = 3s;
constexpr auto kPoll = 20ms;

bool wait_until_gone(const control::RunDirView& view, Duration limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (view.running()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(kPoll);
  }
  return true;
}

// The site's bondd ends, of its own accord if it can.
Result<> stop_running(const control::RunDirView& view, pid_t pid) {
  const UniqueFd process = view.running_process();
  const auto asked = ipc::ask(view.socket(), ipc::Request{ipc::Command::kStop, {}}, kAskLimit);
  if (!asked && process) (void)supervise::send_signal(process.get(), SIGTERM);
  if (wait_until_gone(view, kStopLimit)) return {};
  if (pid <= 0) return failure(fmt::format("another bondd comes up with {} or takes it down", view.site()));
  if (!process) {
    return failure(
        fmt::format("{}/lock is held, but process {} is no bondd that wrote it; `fuser {}/lock` shows who "
                    "holds it",
                    view.path().native(), pid, view.path().native()));
  }
  say(fmt::format("{}: its bondd (pid {}) does not end, killing it", view.site(), pid));
  (void)supervise::send_signal(process.get(), SIGKILL);
  if (wait_until_gone(view, kKillLimit)) return {};
  return failure(fmt::format("the bondd of {} (pid {}) cannot be killed", view.site(), pid));
}

// A site that nobody runs has no processes to be managed.
class NoProcesses : public control::ProcessTable {
 public:
  Result<> start(const model::Process& /*process*/) override { return failure("nothing is started by down"); }
  Result<> stop(const std::string& /*id*/) override { return {}; }
  [[nodiscard]] std::vector<model::Process> running() const override { return {}; }
};

Result<bool> remove_leftovers(control::RunDir& run_dir) {
  const bool processes = !supervise::find_leftovers(run_dir.path()).empty();
  if (auto ended = supervise::end_leftovers(run_dir.path()); !ended)
    return tl::make_unexpected(ended.error());
  auto rtnl = netlink::make_rtnl();
  if (!rtnl) return tl::make_unexpected(rtnl.error());
  auto iptables = rules::make_iptables();
  if (!iptables) return tl::make_unexpected(iptables.error());
  const auto sysctls = control::make_sysctls();
  NoProcesses none;
  const auto slot = run_dir.allocate_slot();
  if (!slot) return tl::make_unexpected(slot.error());
  control::Reconciler reconciler({rtnl->get(), iptables->get(), sysctls.get(), &none, &run_dir}, {}, *slot);
  auto pass = reconciler.reconcile(control::Depth::kAll);  // without a file: all is to go
  if (!pass) return tl::make_unexpected(pass.error());
  if (auto removed = control::remove_everything(reconciler); !removed)
    return tl::make_unexpected(removed.error());
  if (auto removed = control::remove_unused_tables(run_dir); !removed)
    return tl::make_unexpected(removed.error());
  return processes || !pass->steps.empty();
}

// Another `down` may be at work: it is soon done.
Result<control::RunDir> take_run_dir(const std::filesystem::path& root, const std::string& site) {
  const auto deadline = std::chrono::steady_clock::now() + kStopLimit;
  for (;;) {
    auto run_dir = control::RunDir::take(root, site);
    if (run_dir || run_dir.error().code != EWOULDBLOCK || std::chrono::steady_clock::now() >= deadline)
      return run_dir;
    std::this_thread::sleep_for(kPoll);
  }
}

void say_what_stays(const control::SettingsBefore& before, const std::filesystem::path& root) {
  if (before.values.empty()) return;
  const auto iptables = rules::make_iptables();
  const auto rtnl = netlink::make_rtnl();
  if (!iptables || !rtnl) return;
  for (const std::string& left :
       control::settings_left(before, root, *control::make_sysctls(), **iptables, **rtnl))
    say(left);
}

}  // namespace

int down_command(const CommonOptions& options) {
  const auto file = find_site_file(options.file);
  if (!file) return kFailed;
  if (!control::has_network_rights()) {
    say("bondd: down needs to be root (or to have CAP_NET_ADMIN and CAP_NET_RAW); try sudo");
    return kFailed;
  }
  if (!is_site_or_unlike_any(*file, options.run_root)) return kFailed;
  const control::RunDirView view(options.run_root, file->site);
  const auto pid = view.running();
  const control::SettingsBefore settings{view.saved_sysctls(), view.forwarding_users()};
  if (pid) {
    if (auto stopped = stop_running(view, *pid); !stopped) {
      say_error(stopped.error());
      return kFailed;
    }
  }
  auto run_dir = take_run_dir(options.run_root, file->site);
  if (!run_dir) {
    say(fmt::format("bondd: {} cannot be taken down: {}", file->site, run_dir.error().message));
    return kFailed;
  }
  const auto removed = remove_leftovers(*run_dir);
  if (!removed) {
    say(fmt::format("bondd: not everything of {} could be removed: {}", file->site, removed.error().message));
    return kFailed;
  }
  run_dir->remove();
  say_what_stays(settings, options.run_root);
  say(pid        ? fmt::format("{} is down", file->site)
      : *removed ? fmt::format("{} was not running; what it had left behind is removed", file->site)
                 : fmt::format("{} is not up, nothing to do", file->site));
  return kDone;
}

}  // namespace bondd

// `bondd up`: checks, takes the site, runs its daemon in the foreground, or in the
// background once the bond carries traffic.
//
//   up -d:  parent ------------- waits on a pipe ----------------> exit status
//             \- fork -> child: session of its own, checks, daemon … says its status
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <thread>

#include "bondd/control/daemon.h"
#include "bondd/control/event_loop.h"
#include "bondd/control/firewall_tables.h"
#include "bondd/control/pass.h"
#include "bondd/control/preflight.h"
#include "bondd/control/run_dir.h"
#include "bondd/control/unconfirmed_file.h"
#include "bondd/main/commands.h"
#include "bondd/main/notify.h"
#include "bondd/main/site_file.h"
#include "bondd/supervise/supervisor.h"
#include "netlink/rtnl.h"
#include "rules/iptables.h"

namespace bondd {
namespace {

// What `up` holds while the site runs.
struct Parts {
  std::unique_ptr<netlink::Rtnl> rtnl;
  std::unique_ptr<netlink::Monitor> monitor;
  std::unique_ptr<rules::Iptables> iptables;
  std::unique_ptr<control::Sysctls> sysctls;
  rules::FirewallMonitor firewall;
};

Result<Parts> make_parts() {
  Parts parts;
  auto rtnl = netlink::make_rtnl();
  if (!rtnl) return tl::make_unexpected(rtnl.error());
  parts.rtnl = std::move(*rtnl);
  auto monitor = netlink::make_monitor();
  if (!monitor) return tl::make_unexpected(monitor.error());
  parts.monitor = std::move(*monitor);
  auto iptables = rules::make_iptables();
  if (!iptables) return tl::make_unexpected(iptables.error());
  parts.iptables = std::move(*iptables);
  parts.sysctls = control::make_sysctls();
  parts.firewall = rules::FirewallMonitor::create();
  return parts;
}

// Whether anything stands in the way, said; `owned_before` tells if a killed run left things behind.
bool clear_of_conflicts(const model::Config& config, Parts& parts, const control::RunDir& run_dir,
                        unsigned slot, const control::Programs& programs, bool& owned_before) {
  if (config.role == model::Role::kClient) control::ask_gateways(config);
  control::Observer observer(parts.rtnl.get(), parts.iptables.get(), parts.sysctls.get(), &run_dir, nullptr);
  control::Inputs inputs;
  inputs.config = config;
  // Names are looked up later, by the site itself; conflicts do not depend on the addresses.
  if (auto address = parse_ip(config.server.address)) inputs.server_addresses = {*address};
  const auto prepared = control::prepare(observer, control::Depth::kAll, slot, programs, inputs);
  if (!prepared) {
    say_error(prepared.error());
    // What a killed run left must stay on record all the same.
    const auto down = control::prepare(observer, control::Depth::kAll, slot, programs, {});
    owned_before = down && !down->steps.empty();
    return false;
  }
  owned_before = !plan::diff({}, prepared->owned).empty();
  const auto conflicts = control::check_conflicts(config, *prepared, *parts.iptables);
  for (const Error& conflict : conflicts) say_error(conflict);
  return conflicts.empty();
}

// The parent's end of `up -d` reads one byte: the exit status.
class StatusPipe {
 public:
  StatusPipe() = default;
  explicit StatusPipe(int fd) : fd_(fd) {}
  void say_status(int status) {
    if (!fd_) return;
    const auto byte = static_cast<unsigned char>(status);
    [[maybe_unused]] const ssize_t written = write(fd_.get(), &byte, 1);
    fd_.reset();
  }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

void leave_terminal() {
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null.get(), fd);
}

control::LogOptions log_options(const UpOptions& options, const control::RunDir& run_dir) {
  control::LogOptions log;
  log.verbose = options.verbose;
  log.file = run_dir.log();
  log.to_syslog = options.detach;
  log.site = run_dir.site();
  return log;
}

// A site that has its run directory elsewhere has nothing to do with the machine's own sites.
std::filesystem::path state_directory(const std::filesystem::path& run_root) {
  return run_root == control::kRunRoot ? kStateDirectory : run_root.native() + ".state";
}

// Nothing of the site is left but its directory.
void forget_site(control::RunDir& run_dir) {
  if (auto removed = control::remove_unused_tables(run_dir); !removed) say_error(removed.error());
  run_dir.remove();
}

int run_site(const UpOptions& options, const CheckedFile& file, control::RunDir& run_dir, Parts& parts,
             unsigned slot, const control::Programs& programs, StatusPipe& pipe) {
  auto log = control::make_log(log_options(options, run_dir));
  auto loop = control::EventLoop::create();
  if (!log || !loop) {
    say_error(!log ? log.error() : loop.error());
    return kFailed;
  }
  control::DaemonOptions daemon_options;
  daemon_options.config = file.config;
  daemon_options.file_text = file.text;
  daemon_options.file_warnings = file.lasting;
  if (const std::string warning = parts.iptables->warning(); !warning.empty()) {
    (*log)->warning(warning);
    daemon_options.machine_warnings.push_back(warning);
  }
  daemon_options.state_dir = state_directory(options.run_root);
  daemon_options.slot = slot;
  daemon_options.programs = programs;
  daemon_options.timeout = options.timeout;
  daemon_options.has_terminal = !options.detach && isatty(STDIN_FILENO) == 1;
  daemon_options.ready_when_listening = options.detach && !options.timeout_written;
  daemon_options.version = BONDD_VERSION;
  daemon_options.load = [](const std::filesystem::path& path) -> Result<control::FileNow> {
    auto read = read_site_file(path);
    if (!read) return tl::make_unexpected(read.error());
    return control::FileNow{std::move(read->config), std::move(read->lasting), std::move(read->text)};
  };
  daemon_options.firewall = &parts.firewall;
  daemon_options.on_set_up = [] { notify_service_manager("READY=1\n"); };
  daemon_options.on_ready = [&] {
    if (!options.detach) return;
    (*log)->info(fmt::format("from now on the log is in syslog and in {}", run_dir.log().native()));
    (*log)->leave_terminal();
    leave_terminal();
    pipe.say_status(kDone);
  };
  control::Machine machine{parts.rtnl.get(), parts.iptables.get(), parts.sysctls.get(), nullptr, &run_dir};
  control::Daemon daemon(**loop, **log, machine, *parts.monitor, std::move(daemon_options));
  control::Registration parent;
  if (pipe.fd() >= 0) {
    // Whoever waits for us gave up: Ctrl-C in the terminal.
    parent = (*loop)->watch(pipe.fd(), 0, [&](std::uint32_t) {
      parent.cancel();
      daemon.stop("interrupted");
    });
  }
  const int status = daemon.run();
  notify_service_manager("STOPPING=1\n");
  if (daemon.removed()) forget_site(run_dir);
  if (status == kDone && pipe.fd() >= 0) {
    say(fmt::format("bondd: {} was taken down before it carried traffic", run_dir.site()));
    return kFailed;
  }
  return status;
}

// Takes the site's directory; while somebody takes the site down, waits for that.
Result<control::RunDir> take_run_dir(const std::filesystem::path& root, const std::string& site) {
  constexpr auto kPatience = std::chrono::seconds(15);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    auto run_dir = control::RunDir::take(root, site);
    if (run_dir) {
      if (auto recorded = run_dir->record_pid(); !recorded) return tl::make_unexpected(recorded.error());
      return run_dir;
    }
    const bool busy =
        run_dir.error().code == EWOULDBLOCK && control::RunDirView(root, site).running().value_or(0) == 0;
    if (!busy || std::chrono::steady_clock::now() >= deadline) return run_dir;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

// What `up -d` returns of a site that is up already: the same as of one that it brings up.
int promise_of_up(const UpOptions& options, const model::Config& config) {
  const bool waits = options.detach && (config.role == model::Role::kClient || options.timeout_written);
  if (!waits) return kDone;
  WaitOptions wait;
  static_cast<CommonOptions&>(wait) = options;
  wait.timeout = options.timeout;
  return wait_command(wait);
}

// From here on a signal waits until the site's loop reads it, and takes down what is up by then.
void hold_signals() {
  sigset_t held;
  sigemptyset(&held);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&held, signal);
  pthread_sigmask(SIG_BLOCK, &held, nullptr);
}

int up_here(const UpOptions& options, const CheckedFile& file, StatusPipe& pipe) {
  hold_signals();
  const model::Config& config = file.config;
  const control::Programs programs = control::find_programs();
  const auto findings = control::check_system(config, programs);
  for (const Error& finding : findings) say_error(finding);
  if (!findings.empty()) return kFailed;

  auto run_dir = take_run_dir(options.run_root, config.site);
  if (!run_dir) {
    if (run_dir.error().code != EWOULDBLOCK) {
      say_error(run_dir.error());
      return kFailed;
    }
    const auto pid = control::RunDirView(options.run_root, config.site).running();
    say(fmt::format("{} is already up{}; `bondd reload {}` applies a changed file", config.site,
                    pid.value_or(0) > 0 ? fmt::format(" (pid {})", *pid) : "", config.site));
    return promise_of_up(options, config);
  }
  const auto slot = run_dir->allocate_slot();
  auto parts = make_parts();
  auto ended = supervise::end_leftovers(run_dir->path());
  if (ended) ended = control::note_absent_tables(*run_dir);
  bool owned_before = false;
  bool clear = false;
  if (!slot) {
    say_error(slot.error());
  } else if (!parts) {
    say_error(parts.error());
  } else if (!ended) {
    say_error(ended.error());
  } else {
    clear = clear_of_conflicts(config, *parts, *run_dir, *slot, programs, owned_before);
  }
  if (!clear) {
    // What a killed run left stays on record for `down`.
    if (!owned_before) forget_site(*run_dir);
    return kFailed;
  }
  if (owned_before) say(fmt::format("{}: taking over what a killed bondd left behind", config.site));
  return run_site(options, file, *run_dir, *parts, *slot, programs, pipe);
}

// A reload that nobody confirmed before bondd was killed: the file before it counts. False, and said, when it
// cannot be put back.
bool take_back_unconfirmed(const SiteFile& file, const std::filesystem::path& run_root) {
  if (control::RunDirView(run_root, file.site).running()) return true;  // that one waits for it
  const auto restored = control::UnconfirmedFile(file.path).restore();
  if (!restored) return say_error(restored.error()), false;
  if (!restored->empty()) say(fmt::format("bondd: {}", *restored));
  return true;
}

int wait_for_child(int fd, pid_t child) {
  unsigned char status = kFailed;
  ssize_t got = 0;
  do {
    got = read(fd, &status, 1);
  } while (got < 0 && errno == EINTR);
  if (got == 1) return status;
  int how = 0;
  waitpid(child, &how, 0);
  say(WIFSIGNALED(how) ? fmt::format("bondd: ended by signal {} while coming up", WTERMSIG(how))
                       : std::string("bondd: ended while coming up"));
  return kFailed;
}

int up_in_background(const UpOptions& options, const CheckedFile& file) {
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) {
    say_error(errno_failure("pipe").value());
    return kFailed;
  }
  UniqueFd reader(ends[0]);
  StatusPipe writer(ends[1]);
  const pid_t child = fork();
  if (child < 0) {
    say_error(errno_failure("fork").value());
    return kFailed;
  }
  if (child > 0) {
    { const StatusPipe closed = std::move(writer); }
    return wait_for_child(reader.get(), child);
  }
  reader.reset();
  setsid();
  const int status = up_here(options, file, writer);
  writer.say_status(status);
  _exit(status);
}

}  // namespace

int up_command(const UpOptions& options) {
  const auto path = find_site_file(options.file);
  if (!path || !take_back_unconfirmed(*path, options.run_root)) return kFailed;
  const auto file = load_site_file(path->path);
  if (!file) return kFailed;
  if (options.detach) return up_in_background(options, *file);
  StatusPipe none;
  return up_here(options, *file, none);
}

}  // namespace bondd

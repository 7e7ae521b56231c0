// `bondd status`, `bondd wait` and `bondd reload`: questions to the running bondd.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <thread>

#include "bondd/control/run_dir.h"
#include "bondd/ipc/control_client.h"
#include "bondd/main/commands.h"
#include "bondd/main/site_file.h"
#include "bondd/main/status_view.h"
#include "bondd/main/terminal.h"

namespace bondd {
namespace {

using namespace std::chrono_literals;
using model::SiteState;
using model::SiteStatus;
using model::WanStatus;

constexpr auto kAskLimit = 5s;
constexpr auto kReloadLimit = 30s;
constexpr auto kWatchEvery = 1s;
constexpr auto kWaitPoll = 200ms;

// How the user names a site: by its name, where its file is in the usual place.
std::string name_or_file(const std::filesystem::path& file, const std::string& site) {
  return file == std::filesystem::path(kSitesDirectory) / (site + ".toml") ? site : file.native();
}

// Why no bondd answers for a site, in words for the user. EACCES stays in the code.
Error why_silent(const control::RunDirView& view, const Error& error) {
  if (error.code == EACCES)
    return {fmt::format("only root may ask for the status of {}; try sudo", view.site()), EACCES};
  if (!view.running())
    return {fmt::format("{0} is not up; `bondd up {0}` starts it", view.site()), error.code};
  if (error.code == ETIMEDOUT)
    return {fmt::format("the bondd of {} does not answer", view.site()), error.code};
  return {fmt::format("{} is starting or stopping; ask again in a moment", view.site()), error.code};
}

// A site whose bondd does not answer: what its file says, all down for that reason. The file need not be
// right.
SiteStatus down_site(const std::string& site, const std::optional<std::filesystem::path>& file,
                     const std::string& reason, bool left_behind) {
  SiteStatus status;
  status.name = site;
  std::error_code ignored;
  if (file && std::filesystem::exists(*file, ignored)) {
    const auto read = read_site_file(*file);
    if (!read) {
      status.warnings.push_back(fmt::format("{} has errors; `bondd check {}` prints them", file->native(),
                                            name_or_file(*file, site)));
    } else {
      const model::Config* const config = &read->config;
      status.role = config->role == model::Role::kClient ? "client" : "server";
      status.backend = config->backend == model::Backend::kOpenVpnBond ? "openvpn-bond" : "mlvpn";
      status.bond_interface = config->bond.interface;
      for (const model::Wan& wan : config->wans) {
        WanStatus one;
        one.name = wan.name;
        one.state = model::WanState::kDown;
        one.reason = reason;
        status.wans.push_back(one);
      }
    }
  }
  if (status.wans.empty()) status.warnings.insert(status.warnings.begin(), reason);
  if (left_behind) {
    status.warnings.push_back(
        fmt::format("a killed bondd left things behind; `bondd down {}` removes them", site));
  }
  return status;
}

// The error is the control socket's when no bondd answers there.
Result<SiteStatus> ask_running(const control::RunDirView& view) {
  auto reply = ipc::ask(view.socket(), {ipc::Command::kStatus, {}}, kAskLimit);
  if (!reply) return tl::make_unexpected(reply.error());
  return ipc::parse_status(reply->status);
}

Result<SiteStatus> ask_site(const control::RunDirView& view,
                            const std::optional<std::filesystem::path>& file) {
  auto reply = ipc::ask(view.socket(), {ipc::Command::kStatus, {}}, kAskLimit);
  if (reply) return ipc::parse_status(reply->status);
  const Error why = why_silent(view, reply.error());
  if (why.code == EACCES) return tl::make_unexpected(why);
  return down_site(view.site(), file, why.message, !view.running() && view.slot().has_value());
}

struct Answer {
  std::vector<SiteStatus> sites;
  int exit_status = kDone;  // kFailed: some site did not answer
};

Answer ask_all(const StatusOptions& options, const std::vector<SiteFile>& sites) {
  Answer answer;
  for (const SiteFile& site : sites) {
    auto status = ask_site(control::RunDirView(options.run_root, site.site), site.path);
    if (status) {
      answer.sites.push_back(std::move(*status));
    } else {
      say_error(status.error());
      answer.exit_status = kFailed;
    }
  }
  return answer;
}

void print_json(const Answer& answer) {
  // One site is an object, as the contract has it; several are an array of them.
  fmt::print("{}\n", answer.sites.size() == 1 ? ipc::status_json(answer.sites.front(), true)
                                              : ipc::status_json(answer.sites, true));
}

std::string text_of(const Answer& answer) {
  const ViewOptions view{shall_colour(), std::time(nullptr)};
  std::string out;
  for (const SiteStatus& site : answer.sites) out += (out.empty() ? "" : "\n") + status_view(site, view);
  return out;
}

// The sites to show; empty when the argument is wrong (said).
std::optional<std::vector<SiteFile>> sites_to_show(const StatusOptions& options) {
  if (!options.file.empty()) {
    auto file = find_site_file(options.file);
    if (!file) return std::nullopt;
    if (!is_site(*file, options.run_root)) return std::nullopt;
    return std::vector{*file};
  }
  std::vector<SiteFile> sites;
  for (const std::string& site : control::known_sites(options.run_root)) {
    sites.push_back({std::filesystem::path("/etc/bondd") / (site + ".toml"), site});
  }
  return sites;
}

bool may_look(const StatusOptions& options) {
  if (access(options.run_root.c_str(), F_OK) != 0 || access(options.run_root.c_str(), R_OK | X_OK) == 0)
    return true;
  say("bondd: only root may ask for the status; try sudo");
  return false;
}

int worst_exit_status(const Answer& answer) {
  int status = answer.exit_status;
  for (const SiteStatus& site : answer.sites) status = std::max(status, exit_status_of(site.state));
  return status;
}

// Until the user leaves, or for ever into a pipe: there one after the other, without escape codes.
int watch(const StatusOptions& options) {
  std::optional<Screen> screen;
  if (!options.json && has_screen()) screen.emplace();
  for (;;) {
    const auto sites = sites_to_show(options);
    if (!sites) return kFailed;
    const Answer answer = ask_all(options, *sites);
    if (options.json) {
      print_json(answer);
    } else if (screen) {
      const std::time_t now = std::time(nullptr);
      std::tm local{};
      localtime_r(&now, &local);
      const std::string title = fmt::format("bondd {}   {:02}:{:02}:{:02}   q quits", BONDD_VERSION,
                                            local.tm_hour, local.tm_min, local.tm_sec);
      screen->show(title + "\n\n" + (answer.sites.empty() ? "no site is up\n" : text_of(answer)));
      if (!screen->wait(kWatchEvery)) return kDone;
      continue;
    } else {
      fmt::print("{}\n", text_of(answer));
    }
    if (!written_out()) return kFailed;
    std::this_thread::sleep_for(kWatchEvery);
  }
}

// --check: no output, only an exit status, and why not on standard error.
int check_site(const StatusOptions& options) {
  const auto sites = sites_to_show(options);
  if (!sites) return kFailed;
  if (sites->empty()) return say("no site is up"), kFailed;
  for (const SiteFile& site : *sites) {
    const control::RunDirView view(options.run_root, site.site);
    const auto status = ask_running(view);
    if (!status) {
      say(why_silent(view, status.error()).message);
      return kFailed;
    }
    const bool so = options.check == "live" ||
                    (options.check == "ready" && status->state != SiteState::kDown) ||
                    (options.check == "degraded" && status->state == SiteState::kDegraded);
    if (so) continue;
    say(fmt::format("{} is {}", site.site, to_string(status->state)));
    return kFailed;
  }
  return kDone;
}

}  // namespace

int exit_status_of(SiteState state) {
  switch (state) {
    case SiteState::kUp:
      return kDone;
    case SiteState::kDegraded:
      return kDegraded;
    case SiteState::kDown:
      return kDown;
  }
  return kDown;
}

int status_command(const StatusOptions& options) {
  if (!may_look(options)) return kFailed;
  if (!options.check.empty()) return check_site(options);
  if (options.watch) return watch(options);
  const auto sites = sites_to_show(options);
  if (!sites) return kFailed;
  const Answer answer = ask_all(options, *sites);
  if (options.json) {
    // The state is in the answer: a program that got one has what it asked for.
    if (!answer.sites.empty() || answer.exit_status == kDone) print_json(answer);
    return answer.exit_status;
  }
  if (answer.sites.empty()) {
    if (answer.exit_status == kDone) say("no site is up; `bondd up NAME` starts one");
    return answer.exit_status == kDone ? kDown : answer.exit_status;
  }
  fmt::print("{}", text_of(answer));
  return worst_exit_status(answer);
}

int wait_command(const WaitOptions& options) {
  const auto file = find_site_file(options.file);
  if (!file || !is_site(*file, options.run_root)) return kFailed;
  const control::RunDirView view(options.run_root, file->site);
  const auto deadline = std::chrono::steady_clock::now() + options.timeout;
  std::string last;
  for (;;) {
    const auto status = ask_running(view);
    if (status && status->state != SiteState::kDown) return kDone;
    if (!status && status.error().code == EACCES) {
      say_error(why_silent(view, status.error()));
      return kFailed;
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      say(fmt::format("bondd: {} carries no traffic after {}", file->site, format_duration(options.timeout)));
      if (status) {
        fmt::print(stderr, "{}", status_view(*status, {false, std::time(nullptr)}));
      } else {
        say_error(why_silent(view, status.error()));
      }
      return kFailed;
    }
    std::this_thread::sleep_for(kWaitPoll);
  }
}

int reload_command(const CommonOptions& options) {
  const auto file = find_site_file(options.file);
  if (!file || !is_site(*file, options.run_root)) return kFailed;
  const control::RunDirView view(options.run_root, file->site);
  // A name means the file that the site came from, wherever that is.
  const bool by_name = options.file == file->site;
  const auto reply = ipc::ask(
      view.socket(), {ipc::Command::kReload, by_name ? "" : std::filesystem::absolute(file->path).string()},
      kReloadLimit);
  if (!reply) {
    if (reply.error().code == EACCES) {
      say(fmt::format("bondd: only root may reload {}; try sudo", file->site));
    } else {
      say_error(why_silent(view, reply.error()));
    }
    return kFailed;
  }
  for (const std::string& message : reply->messages) say(message);
  return reply->ok ? kDone : kFailed;
}

}  // namespace bondd

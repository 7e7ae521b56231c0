// `bondd status`, `bondd wait` and `bondd reload`: questions to the running bondd.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <thread>

#include "bondd/base/clock.h"
#include "bondd/ipc/messages.h"
#include "bondd/main/ask_sites.h"
#include "bondd/main/commands.h"
#include "bondd/main/site_file.h"
#include "bondd/main/status_view.h"
#include "bondd/main/terminal.h"

namespace bondd {
namespace {

using namespace std::chrono_literals;
using model::SiteState;
using model::SiteStatus;

constexpr auto kWatchEvery = 1s;
constexpr auto kWaitPoll = 200ms;

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
    const auto sites = sites_to_show(options.run_root, options.file);
    if (!sites) return kFailed;
    const Answer answer = ask_all(options.run_root, *sites);
    if (options.json) {
      print_json(answer);
    } else if (screen) {
      const std::string title =
          fmt::format("bondd {}   {}   q quits", BONDD_VERSION, clock_text(std::time(nullptr)));
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
  const auto sites = sites_to_show(options.run_root, options.file);
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
  if (!may_look(options.run_root)) return kFailed;
  if (!options.check.empty()) return check_site(options);
  if (options.watch) return watch(options);
  const auto sites = sites_to_show(options.run_root, options.file);
  if (!sites) return kFailed;
  const Answer answer = ask_all(options.run_root, *sites);
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

int reload_command(const ReloadOptions& options) {
  const auto file = find_site_file(options.file);
  if (!file || !is_site(*file, options.run_root)) return kFailed;
  ipc::Request request;
  request.command = ipc::Command::kReload;
  request.confirm_within = options.confirm_within;
  // A name means the file that the site came from, wherever that is.
  if (options.file != file->site) request.file = std::filesystem::absolute(file->path).string();
  return tell_site(control::RunDirView(options.run_root, file->site), request);
}

}  // namespace bondd

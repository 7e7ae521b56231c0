// What the command line asks of a running site: its status, a reload, WANs out of use, events.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <ctime>
#include <iterator>
#include <ranges>

#include "bondd/base/clock.h"
#include "bondd/control/daemon.h"
#include "bondd/control/events.h"
#include "bondd/control/preflight.h"
#include "bondd/control/unconfirmed_file.h"
#include "bondd/plan/lans.h"

namespace bondd::control {

ipc::Reply Daemon::on_request(const ipc::Request& request, std::uint64_t connection) {
  switch (request.command) {
    case ipc::Command::kStatus:
      return {true, {}, ipc::status_json(status())};
    case ipc::Command::kStop:
      stop("asked to stop");
      return {true, {}, {}};
    case ipc::Command::kReload:
      return reload(request.file, request.confirm_within);
    case ipc::Command::kConfirm:
      return confirm();
    case ipc::Command::kDrain:
    case ipc::Command::kRestore:
      return drain_or_restore(request);
    case ipc::Command::kMonitor:
      return monitor();
    case ipc::Command::kPlan:
      return planned(request.file);
    case ipc::Command::kSpeedTest:
      return speed_test(request, connection);
    case ipc::Command::kHooksTest:
      return hooks_.test(options_.config, bond_mtu(), connection);
  }
  return {false, {"unknown command"}, {}};
}

// --- reload ---

ipc::Reply Daemon::reload(const std::string& file, Duration confirm_within) {
  const std::string& site = options_.config.site;
  if (stopping_) return {false, {fmt::format("{} is being stopped", site)}, {}};
  auto read = options_.load(file.empty() ? options_.config.file : std::filesystem::path(file));
  if (read) {
    if (const std::string why = why_not_reloaded(read->config); !why.empty()) read = failure(why);
  }
  const UnconfirmedFile before(options_.config.file);
  // Of several reloads without a word between them the file before the first one counts.
  const bool begins = read && confirm_within > Duration(0) && !unconfirmed_;
  if (begins) {
    if (auto kept = before.keep(options_.file_text); !kept) {
      read = failure(fmt::format("{}, so the file could not come back; without --confirm it is not needed",
                                 kept.error().message));
    }
  }
  if (!read) {
    log_.warning(fmt::format("the changed file is not used, nothing was changed:\n{}", read.error().message));
    tell_event("reload", "refused", read.error().message);
    return {false, {read.error().message, fmt::format("{} goes on as it was", site)}, {}};
  }
  if (begins) {
    unconfirmed_.emplace();
    unconfirmed_->before = {options_.config, options_.file_warnings, options_.file_text};
    not_confirmed_.clear();
  }
  if (unconfirmed_ && confirm_within > Duration(0)) {
    unconfirmed_->until =
        clock_text(std::time(nullptr) + duration_cast<std::chrono::seconds>(confirm_within).count());
    unconfirmed_->timer = loop_.after(confirm_within, [this] { revert(); });
  }
  const std::string note = apply_file(std::move(*read));
  log_.info(fmt::format("{} was read again", options_.config.file.native()));
  tell_event("reload", unconfirmed_ ? "unconfirmed" : "applied", options_.config.file.native());
  std::vector<std::string> messages;
  for (const std::string& warning : options_.file_warnings) messages.push_back("warning: " + warning);
  if (!note.empty()) messages.push_back(note);
  messages.push_back(fmt::format("{} applied", options_.config.file.native()));
  if (unconfirmed_) {
    messages.push_back(fmt::format("`bondd confirm {}` keeps it; else the file from before comes back at {}",
                                   site, unconfirmed_->until));
  }
  return {true, messages, {}};
}

// From now on the site is as this file has it. What the admin should know of it; may be empty.
std::string Daemon::apply_file(FileNow file) {
  const bool moved = file.config.server != options_.config.server;
  options_.config = std::move(file.config);
  options_.file_warnings = std::move(file.warnings);
  options_.file_text = std::move(file.text);
  reconciler_->set_config(options_.config);
  web_.follow(options_.config, options_.programs.user);
  tell_page();
  use_servers();
  std::string note = backend_->reloaded(options_.config);
  if (moved) {
    resolve_server();
  } else {
    run_pass(Depth::kAll, Cause::kOwn);
  }
  return note;
}

ipc::Reply Daemon::confirm() {
  const std::string& site = options_.config.site;
  if (!unconfirmed_) {
    return {false,
            {not_confirmed_.empty() ? fmt::format("nothing of {} waits to be confirmed; `bondd reload "
                                                  "--confirm 2m {}` makes a reload wait",
                                                  site, site)
                                    : not_confirmed_},
            {}};
  }
  if (auto gone = UnconfirmedFile(unconfirmed_->before.config.file).forget(); !gone)
    return {false, {fmt::format("{}; not confirmed, try again", gone.error().message)}, {}};
  unconfirmed_.reset();
  const std::string said = fmt::format("{} is confirmed", options_.config.file.native());
  log_.info(said);
  tell_event("reload", "confirmed", options_.config.file.native());
  return {true, {said}, {}};
}

// Nobody confirmed: whoever changed the file through this bond may have lost the way to it.
void Daemon::revert() {
  if (stopping_ || !unconfirmed_) return;
  put_file_back();
  FileNow before = std::move(unconfirmed_->before);
  unconfirmed_.reset();
  apply_file(std::move(before));
  tell_event("reload", "reverted", not_confirmed_);
}

void Daemon::put_file_back() {
  const auto said = UnconfirmedFile(unconfirmed_->before.config.file).restore();
  not_confirmed_ = said ? *said : said.error().message;
  log_.warning(not_confirmed_);
}

// What through_bond of a server holds of the office's addresses in the Internet, and what to write; empty:
// none. A private one is a carrier's (NAT), behind which the LAN may have such networks as well.
std::string Daemon::office_inside(const model::Config& config) const {
  for (const auto& [wan, address] : backend_->peers()) {
    if (plan::is_private({address, address.bits()})) continue;
    for (const IpPrefix& network : config.through_bond) {
      if (network.contains(address)) {
        return fmt::format(
            "\"{}\" in through_bond holds {}, the office's own Internet address ({}): answers to "
            "it would go into the bond; write the office's LAN alone",
            to_string(network), to_string(address), wan);
      }
    }
  }
  return {};
}

// What a running site cannot become, or what on this machine stands in the way; empty if nothing does.
std::string Daemon::why_not_reloaded(const model::Config& config) {
  const model::Config& now = options_.config;
  if (config.site != now.site)
    return fmt::format("{} is the file of {}, not of {}", config.file.native(), config.site, now.site);
  if (config.backend != now.backend || config.role != now.role) {
    return fmt::format("the {} cannot change while {} is up; use `bondd down {}` and `bondd up {}`",
                       config.role != now.role ? "role" : "backend", now.site, now.site, now.site);
  }
  if (const std::string inside = office_inside(config); !inside.empty()) return inside;
  const auto prepared = reconciler_->prepare_with(config);
  if (!prepared) return prepared.error().message;
  const auto conflicts = check_conflicts(config, *prepared, *machine_.iptables, &now);
  return fmt::format("{}", fmt::join(conflicts | std::views::transform(&Error::message), "\n"));
}

// What a reload of that file would do.
ipc::Reply Daemon::planned(const std::string& file) {
  const auto read = options_.load(file);
  if (!read) return {false, {read.error().message}, {}};
  if (const std::string why = why_not_reloaded(read->config); !why.empty()) return {false, {why}, {}};
  const auto prepared = reconciler_->prepare_with(read->config);
  if (!prepared) return {false, {prepared.error().message}, {}};
  ipc::Reply reply{true, {plan::summary(prepared->steps)}, {}};
  std::ranges::move(plan::print(prepared->steps), std::back_inserter(reply.messages));
  return reply;
}

// --- WANs out of use ---

ipc::Reply Daemon::drain_or_restore(const ipc::Request& request) {
  const auto measured = measured_wans({});
  const bool drain = request.command == ipc::Command::kDrain;
  auto done = drain ? drained_.drain(request.wan, measured) : drained_.restore(request.wan, measured);
  if (!done) return {false, {done.error().message}, {}};
  log_.info(fmt::format("{}: {}", request.wan, drain ? "taken out of use" : "taken back into use"));
  follow_drained(measured);
  diagnose();  // the other end is told at once
  return {true,
          {drain ? fmt::format("{0} is drained; `bondd wan {1} {0} restore` takes it back", request.wan,
                               options_.config.site)
                 : fmt::format("{} is in use", request.wan)},
          {}};
}

// Of the WANs that were drained here and at the other end, and of whether others carry.
// True if that changed anything.
bool Daemon::follow_drained(const std::vector<model::WanStatus>& measured) {
  const auto told = theirs();
  if (!drained_.update(options_.config, told ? &*told : nullptr, measured)) return false;
  run_pass(Depth::kNetwork, Cause::kOwn);
  report_wans(wans({}));
  return true;
}

// --- events ---

// What is compared from one look to the next.
model::SiteStatus Daemon::watched() const {
  model::SiteStatus site;
  site.name = options_.config.site;
  site.wans = wans({});
  site.state = state_of(site.wans);
  site.problems = diagnosis_->shown();
  return site;
}

ipc::Reply Daemon::monitor() {
  tell_changes();
  watched_ = watched();
  ipc::Reply reply;
  for (const model::Event& event : changes(std::time(nullptr), nullptr, *watched_))
    reply.messages.push_back(ipc::render(event));
  return reply;
}

// As the last pass wanted it; 0: it has no bond yet.
std::uint32_t Daemon::bond_mtu() const {
  const auto& links = reconciler_->plan().state.links;
  return links.empty() ? 0 : links.front().mtu.value_or(0);
}

void Daemon::tell_changes() {
  const bool listeners = web_.runs() || (server_ && server_->has_listeners());
  if (!listeners) watched_.reset();
  if (!listeners && options_.config.hooks.run.empty()) return hooks_.follow(options_.config, 0, {});
  model::SiteStatus now = watched();
  hooks_.follow(options_.config, bond_mtu(), now);
  if (!listeners) return;
  const auto events = changes(std::time(nullptr), watched_ ? &*watched_ : nullptr, now);
  watched_ = std::move(now);
  for (const model::Event& event : events) tell(event);
  if (!events.empty()) tell_page();
}

void Daemon::tell(const model::Event& event) {
  const std::string line = ipc::render(event);
  server_->tell(line);
  web_.tell_event(line);
}

void Daemon::tell_event(const char* event, const char* to, const std::string& reason) {
  tell(model::Event{std::time(nullptr), options_.config.site, "", event, "", to, reason});
}

}  // namespace bondd::control

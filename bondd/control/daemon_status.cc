// What the daemon says of its site: to `status`, to the log when a WAN's state changes, and, as facts, to the
// diagnosis.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "bondd/control/daemon.h"
#include "bondd/control/line_advice.h"
#include "bondd/plan/exits.h"

namespace bondd::control {
namespace {

using model::site_state;
using model::SiteState;
using model::WanState;

// A number that changes at midnight of the local time.
std::int64_t local_day() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return std::int64_t{local.tm_year} * 366 + local.tm_yday;
}

}  // namespace

model::SiteStatus Daemon::status() const {
  model::SiteStatus site;
  const model::Config& config = options_.config;
  site.name = config.site;
  site.role = name(config.role);
  site.backend = name(config.backend);
  site.bond_interface = config.bond.interface;
  site.bond_peer = to_string(config.bond.peer);
  // Counters are read for the question, not from the last pass.
  netlink::Snapshot network = machine_.rtnl->snapshot().value_or(netlink::Snapshot{});
  if (const auto bond = network.facts.find(config.bond.interface); bond != network.facts.end()) {
    site.bond_rx_bytes = bond->second.rx_bytes;
    site.bond_tx_bytes = bond->second.tx_bytes;
  }
  site.wans = wans(network);
  site.state = state_of(site.wans);
  site.since = site_since_;
  site.version = options_.version;
  site.server = config.server.address;
  traffic_.fill(EventLoop::now(), site.wans);
  site.problems = diagnosis_->shown();
  for (problems::Remark& remark : remarks(site)) site.warnings.push_back(std::move(remark.text));
  if (!resolve_error_.empty()) site.warnings.push_back(resolve_error_);
  if (!last_error_.empty()) site.warnings.push_back(last_error_);
  if (!web_.error().empty()) site.warnings.push_back(web_.error());
  return site;
}

std::vector<problems::Remark> Daemon::remarks(const model::SiteStatus& measured) const {
  using problems::Code;
  std::vector<problems::Remark> out;
  const auto add = [&](Code code, const std::vector<std::string>& texts) {
    for (const std::string& text : texts) out.push_back({code, "", text});
  };
  if (unconfirmed_) {
    add(Code::kUnconfirmed,
        {fmt::format("the file from before the last reload comes back at {}", unconfirmed_->until)});
  }
  add(Code::kStartNote, options_.file_warnings);
  add(Code::kStartNote, options_.machine_warnings);
  for (problems::Remark& advice : line_advice(measured)) out.push_back(std::move(advice));
  for (const plan::Note& note : reconciler_->plan().notes) {
    if (note.waits) continue;  // that WAN's state says it
    add(Code::kWanNote, {plan::to_string(note)});
  }
  out.insert(out.end(), foreign_.begin(), foreign_.end());
  out.insert(out.end(), blocked_.begin(), blocked_.end());
  return out;
}

SiteNow Daemon::site_now(std::vector<model::WanStatus> states) const {
  SiteNow now{.config = options_.config,
              .slot = options_.slot,
              .network = reconciler_->network(),
              .server_of = servers_.by_wan(),
              .wans = std::move(states),
              .fixed = reconciler_->fixed_sysctls()};
  model::SiteStatus measured;
  measured.backend = name(options_.config.backend);
  measured.wans = now.wans;
  now.remarks = remarks(measured);
  now.wrong_secrets = backend_->wrong_secrets();
  now.refused_peers = backend_->refused_peers();
  now.engine_error = backend_->error();
  now.resolve_error = resolve_error_;
  now.pass_error = last_error_;
  now.office_inside = office_inside(options_.config);
  // A reload may have taken the WAN away.
  if (direct_wan_ != 0 && direct_wan_ <= options_.config.wans.size())
    now.direct_wan = options_.config.wans[direct_wan_ - 1].name;
  now.theirs = theirs();
  now.drained = drained_.here();
  now.speed_test = speed_tests_.asker().asks();
  now.speed_test_ready = speed_tests_.answer(now.theirs ? &*now.theirs : nullptr);
  return now;
}

std::optional<problems::PeerSettings> Daemon::theirs() const {
  const auto told = backend_->peer_told();
  return told ? problems::parse_peer_settings(*told) : std::nullopt;
}

void Daemon::diagnose(const std::vector<model::WanStatus>& measured) {
  // Before the first look at the machine only a name that does not resolve is known.
  const bool looked = !reconciler_->plan().state.links.empty();
  if (!looked && (resolved_ || resolve_error_.empty())) return;
  const SiteNow now = site_now(measured);
  diagnosis_->look(now);
  backend_->tell_peer(problems::render(diagnosis_->ours()));
}

std::vector<model::WanStatus> Daemon::explained(std::vector<model::WanStatus> all) const {
  if (diagnosis_) diagnosis_->explain(all);
  for (model::WanStatus& wan : all) {
    if (!model::is_heard(wan.state)) model::forget_measured(wan);
  }
  drained_.explain(options_.config.site, all);
  return all;
}

// What the backend says, but for a WAN that has no way out now: its tunnels can say nothing of that.
std::vector<model::WanStatus> Daemon::measured_wans(const netlink::Snapshot& network) const {
  const auto known_to_backend = backend_->wans(network);
  std::vector<model::WanStatus> all;
  const auto told = theirs();
  for (const model::Wan& wan : options_.config.wans) {
    // After a reload the backend follows with the next pass.
    const auto found = std::ranges::find(known_to_backend, wan.name, &model::WanStatus::name);
    model::WanStatus& status = all.emplace_back();
    if (found != known_to_backend.end()) status = *found;
    status.name = wan.name;
    if (options_.config.role == model::Role::kClient) {
      const plan::Exit exit = plan::find_exit(wan, reconciler_->network());
      status.device = exit.device.empty() ? wan.device : exit.device;
      if (exit.gateway) status.gateway = to_string(*exit.gateway);
    }
    if (const auto known = wan_states_.find(wan.name); known != wan_states_.end())
      status.since = known->second.since;
    if (!resolved_) {
      status.state = WanState::kWaiting;
      status.reason = resolve_error_.empty() ? fmt::format("looking up {}", options_.config.server.address)
                                             : resolve_error_;
    }
    for (const plan::Note& note : reconciler_->plan().notes) {
      if (!note.waits || note.wan != wan.name) continue;
      status.state = WanState::kWaiting;
      status.reason = note.text;
    }
    const auto* const other = told ? told->with_port(wan.port) : nullptr;
    if (other != nullptr) status.rx_capacity_mbit = other->capacity_mbit;
  }
  return all;
}

void Daemon::tell_page() {
  if (web_.runs()) web_.tell_status(ipc::status_json(status()));
}

// Tunnels that are up prove nothing of an interface that could not be set up.
model::SiteState Daemon::state_of(const std::vector<model::WanStatus>& wans) const {
  if (!bond_is_set_up_) return SiteState::kDown;
  const SiteState best = last_error_.empty() ? SiteState::kUp : SiteState::kDegraded;
  return std::min(site_state(wans), best);
}

void Daemon::measure_traffic() {
  // The engine counts itself; taps are counted by the kernel.
  const bool taps = options_.config.backend == model::Backend::kOpenVpnBond;
  const auto network = taps ? machine_.rtnl->snapshot() : netlink::Snapshot{};
  if (!network) return;
  traffic_.add(EventLoop::now(), local_day(), backend_->wans(*network));
}

void Daemon::report_wans(const std::vector<model::WanStatus>& now) {
  const SiteState state = state_of(now);
  if (std::exchange(site_state_, state) != state) site_since_ = std::time(nullptr);
  std::erase_if(wan_states_, [&](const auto& known) {
    return std::none_of(options_.config.wans.begin(), options_.config.wans.end(),
                        [&](const model::Wan& wan) { return wan.name == known.first; });
  });
  for (const model::WanStatus& wan : now) {
    const auto [known, first] = wan_states_.try_emplace(wan.name);
    if (!first && known->second.state == wan.state) continue;
    const std::string from = first ? "" : fmt::format("{} -> ", to_string(known->second.state));
    const std::string reason = wan.reason.empty() ? "" : fmt::format(" ({})", wan.reason);
    known->second = {wan.state, std::time(nullptr)};
    log_.info(fmt::format("{}: {}{}{}", wan.name, from, to_string(wan.state), reason));
  }
  tell_changes();
}

}  // namespace bondd::control

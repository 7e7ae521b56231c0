#include "bondd/control/daemon.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <ctime>
#include <ranges>
#include <set>

#include "bondd/control/blocked_ways.h"
#include "bondd/control/name_servers.h"
#include "bondd/model/ownership.h"
#include "bondd/plan/exits.h"
#include "bondd/plan/servers.h"

namespace bondd::control {
namespace {

using namespace std::chrono_literals;

constexpr auto kFirstRetry = 1s;
constexpr auto kLastRetry = 30s;
constexpr auto kResolveLimit = 10s;
constexpr auto kResolveRetry = 5s;
constexpr auto kReadyCheck = 100ms;
// The other end's settings come within milliseconds of the first packet; an end that tells none, such as an
// original MLVPN, is not waited for longer.
constexpr auto kSettingsPatience = 1s;
constexpr auto kNoEchoPatience = 3s;  // a peer whose firewall drops pings still counts, after this
constexpr auto kTick = 1s;
constexpr auto kShutDownLimit = 6s;
constexpr auto kRepairWindow = 10min;
constexpr int kRepairsSaid = 3;  // of one step, before it is said that somebody insists

using model::SiteState;
using model::WanState;

}  // namespace

Daemon::Daemon(EventLoop& loop, Log& log, const Machine& machine, netlink::Monitor& monitor,
               DaemonOptions options)
    : loop_(loop),
      log_(log),
      machine_(machine),
      monitor_(monitor),
      options_(std::move(options)),
      resolver_(loop),
      hooks_(loop, log),
      web_(loop, log) {}

Daemon::~Daemon() = default;

int Daemon::run() {
  if (auto started = start(); !started) {
    log_.error(started.error().message);
    exit_status_ = 1;
  } else {
    loop_.run();
  }
  take_down();
  return exit_status_;
}

Result<> Daemon::make_backend() {
  BackendContext context;
  context.loop = &loop_;
  context.log = &log_;
  context.run_dir = machine_.run_dir->path();
  context.state_dir = options_.state_dir;
  context.user = options_.programs.user;
  // In a turn of its own: a pass calls the backend, which may be in the middle of something.
  context.changed = [this] {
    if (std::exchange(change_pending_, true)) return;
    loop_.post([this] {
      change_pending_ = false;
      on_backend_changed();
    });
  };
  context.resolve = [this] { resolve_server(); };
  auto backend = options_.config.backend == model::Backend::kOpenVpnBond
                     ? make_openvpn_backend(options_.config, std::move(context))
                     : make_mlvpn_backend(options_.config, std::move(context));
  if (!backend) return tl::make_unexpected(backend.error());
  backend_ = std::move(*backend);
  machine_.processes = backend_.get();
  reconciler_.emplace(machine_, options_.programs, options_.slot);
  reconciler_->set_config(options_.config);
  reconciler_->set_server_addresses(server_addresses_);
  return {};
}

// The reconciler and the backend learn of changed addresses, of their choice or of the WANs.
void Daemon::use_servers() {
  const bool client = options_.config.role == model::Role::kClient;
  servers_.set(EventLoop::now(), options_.config.wans, client ? server_addresses_ : std::vector<IpAddress>{});
  reconciler_->set_server_addresses(server_addresses_);
  reconciler_->set_server_of(servers_.by_wan());
}

Result<> Daemon::start() {
  auto signals =
      loop_.watch_signals({SIGINT, SIGTERM, SIGHUP, SIGPIPE}, [this](int signal) { on_signal(signal); });
  if (!signals) return signals;
  if (auto made = make_backend(); !made) return made;
  auto server = ControlServer::listen(
      loop_, machine_.run_dir->socket(),
      [this](const ipc::Request& request, std::uint64_t connection) {
        return on_request(request, connection);
      },
      [this](std::uint64_t connection) {
        speed_test_closed(connection);
        hooks_.closed(connection);
      });
  if (!server) return tl::make_unexpected(server.error());
  server_ = std::move(*server);
  monitor_watch_ = loop_.watch(monitor_.fd(), EPOLLIN, [this](std::uint32_t) {
    if (monitor_.drain()) request_pass(Depth::kNetwork, kDirtyDebounce);
  });
  diagnosis_.emplace(loop_, log_);
  site_since_ = std::time(nullptr);
  watch_firewall();
  web_.follow(options_.config, options_.programs.user);
  if (options_.timeout > Duration(0)) timeout_timer_ = loop_.after(options_.timeout, [this] { give_up(); });
  ready_timer_ = loop_.after(kReadyCheck, [this] { check_ready(); });
  tick();
  // That may take seconds in which nothing else is to be seen.
  if (!parse_ip(options_.config.server.address) && !options_.config.server.address.empty())
    log_.info(fmt::format("looking up {}", options_.config.server.address));
  resolve_server();
  return {};
}

void Daemon::on_signal(int signal) {
  if (signal == SIGPIPE) return;
  if (signal == SIGHUP) {
    if (options_.has_terminal) return stop("its terminal was closed");
    for (const std::string& message : reload({}, Duration(0)).messages) log_.info(message);
    return;
  }
  stop(signal == SIGINT ? "interrupted" : "asked to stop (SIGTERM)");
}

// --- the server's name ---

void Daemon::resolve_server() {
  if (stopping_ || resolver_.busy()) return;
  if (options_.config.server.address.empty()) return on_resolved(std::vector<IpAddress>{});
  resolver_.start(
      options_.config.server.address, kResolveLimit, lookup_past_the_bond(),
      [this](const std::vector<IpAddress>& addresses) { return usable(addresses); },
      [this, asked = options_.config.server.address](Result<std::vector<IpAddress>> addresses) {
        // A reload may have brought another name meanwhile.
        if (asked != options_.config.server.address) return resolve_server();
        on_resolved(std::move(addresses));
      });
}

// A server's own address is where it listens; that of an office's server cannot be anywhere.
Resolver::Answer Daemon::usable(const std::vector<IpAddress>& addresses) const {
  if (options_.config.role == model::Role::kServer) return addresses;
  return plan::fit_servers(options_.config, addresses,
                           machine_.rtnl->snapshot().value_or(netlink::Snapshot{}));
}

// A bond that carries nothing takes the questions to the name server along, if they go into it.
Resolver::Lookup Daemon::lookup_past_the_bond() const {
  if (options_.config.role == model::Role::kServer) return {};
  const netlink::Snapshot network = machine_.rtnl->snapshot().value_or(netlink::Snapshot{});
  std::vector<NameWay> ways;
  for (unsigned n = 1; n <= options_.config.wans.size(); ++n) {
    const plan::Exit exit = plan::find_exit(options_.config.wans[n - 1], network);
    ways.push_back({model::tunnel_mark(options_.config.mark_mask, options_.slot, n), exit.gateway});
  }
  const auto fits = [config = options_.config, network](const IpAddress& address) {
    return plan::unfit_server(config, address, network).empty();
  };
  return [ways, fits](const std::string& name) { return ask_name_servers(name, ways, fits, kResolveLimit); };
}

void Daemon::on_resolved(Result<std::vector<IpAddress>> addresses) {
  if (stopping_) return;
  if (!addresses) {
    // What worked before goes on working; the name is asked for again.
    if (addresses.error().message != resolve_error_) {
      resolve_error_ = addresses.error().message;
      log_.warning(fmt::format("{}; trying again every {}", resolve_error_, format_duration(kResolveRetry)));
    }
    resolve_timer_ = loop_.after(kResolveRetry, [this] { resolve_server(); });
    return;
  }
  resolve_error_.clear();
  // The order may differ from answer to answer; only a new set is a change.
  const bool same = resolved_ && std::is_permutation(addresses->begin(), addresses->end(),
                                                     server_addresses_.begin(), server_addresses_.end());
  if (same) return;
  if (resolved_ && !addresses->empty()) {
    log_.info(fmt::format("{} is now {}", options_.config.server.address, to_string(addresses->front())));
  }
  resolved_ = true;
  server_addresses_ = std::move(*addresses);
  use_servers();
  run_pass(Depth::kAll, Cause::kOwn);
}

// A line that hears nothing at one address of the server tries another.
void Daemon::try_other_addresses(const std::vector<model::WanStatus>& wans) {
  const auto moves = servers_.handle_states(EventLoop::now(), wans);
  if (moves.empty()) return;
  for (const ServerChoice::Move& move : moves) {
    log_.info(
        fmt::format("{}: {} does not answer, trying {}", move.wan, to_string(move.from), to_string(move.to)));
  }
  reconciler_->set_server_of(servers_.by_wan());
  run_pass(Depth::kNetwork, Cause::kOwn);
}

// While the bond carries nothing, this machine's NTP leaves by a gateway, and with [failover] direct all new
// connections.
void Daemon::lead_past_bond(bool carries) {
  const model::Config& config = options_.config;
  if (config.role == model::Role::kServer || !brought_up_) return;
  std::vector<PastBond::Line> lines;
  for (const model::Wan& wan : config.wans) {
    const plan::Exit exit = plan::find_exit(wan, reconciler_->network());
    lines.push_back({exit.known(), diagnosis_->has_internet(wan.name)});
  }
  const TimePoint now = EventLoop::now();
  const unsigned clock_before = clock_way_.wan();
  const unsigned clock = clock_way_.update(now, carries, lines);
  const unsigned direct_before = std::exchange(direct_wan_, 0);
  direct_way_.set_silent_for(config.failover.after);
  const unsigned direct = direct_way_.update(now, carries, lines);
  if (config.failover.direct) direct_wan_ = direct;
  if (clock == clock_before && direct_wan_ == direct_before) return;
  if (clock != clock_before)
    log_.info(clock == 0 ? "this machine's NTP takes the bond again"
                         : fmt::format("the bond is down: this machine's NTP (UDP 123) leaves by {}",
                                       config.wans[clock - 1].name));
  if (direct_wan_ != direct_before)
    log_.warning(direct_wan_ == 0
                     ? "new connections take the bond again"
                     : fmt::format("the bond is down: new connections leave by {}, past the bond",
                                   config.wans[direct_wan_ - 1].name));
  reconciler_->set_past_bond(direct_wan_, clock);
  run_pass(Depth::kAll, Cause::kOwn);
}

// The bond's packets fit every line as it is found to be. What was found of a WAN stays while it is not
// heard.
void Daemon::follow_path_mtu(const std::vector<model::WanStatus>& wans) {
  std::map<std::string, std::uint32_t> by_wan;
  for (const model::WanStatus& wan : wans) {
    const auto known = path_mtu_.find(wan.name);
    if (model::is_heard(wan.state)) {
      if (wan.path_mtu) by_wan[wan.name] = static_cast<std::uint32_t>(*wan.path_mtu);
    } else if (known != path_mtu_.end()) {
      by_wan.insert(*known);
    }
  }
  if (by_wan == path_mtu_) return;
  for (const auto& [wan, mtu] : by_wan) {
    if (!path_mtu_.contains(wan))
      log_.warning(fmt::format("{} drops packets of more than {} bytes", wan, mtu));
  }
  for (const auto& [wan, mtu] : path_mtu_) {
    if (!by_wan.contains(wan))
      log_.info(fmt::format("{} carries packets of more than {} bytes again", wan, mtu));
  }
  path_mtu_ = std::move(by_wan);
  reconciler_->set_path_mtu(path_mtu_);
  run_pass(Depth::kNetwork, Cause::kOwn);
}

// --- passes ---

void Daemon::on_backend_changed() {
  if (stopping_ || !resolved_) return;
  run_pass(Depth::kNetwork, Cause::kOwn);
  auto measured = measured_wans({});
  if (diagnosis_->has_news(measured)) diagnose(measured);
  report_wans(explained(std::move(measured)));
}

// Another's firewall may drop what the site promises to carry, and no measurement of a tunnel shows it.
void Daemon::look_for_blocked_ways() {
  model::Facts facts;
  facts.network = reconciler_->network();
  facts.server_addresses = server_addresses_;
  facts.server_of = servers_.by_wan();
  const auto heard = model::heard_names(backend_->wans({}));
  const auto told = theirs();
  const auto ways =
      promised_ways(options_.config, facts, told ? told->services : std::vector<model::Forward>{});
  std::vector<problems::Remark> found;
  for (Blocked& one : blocked_ways(ways, machine_.iptables->ruleset(), heard)) {
    found.push_back({problems::Code::kFirewallDrops, std::move(one.wan), std::move(one.text), one.stops});
  }
  warn_of(blocked_, std::move(found));
}

// Others' rules, routes and marks that stand in the way of the site's packets.
void Daemon::look_for_foreign() {
  std::vector<problems::Remark> found;
  for (const plan::Note& note : reconciler_->plan().foreign)
    found.push_back({problems::Code::kForeignRules, note.wan, note.text, note.stops});
  warn_of(foreign_, std::move(found));
}

// Logs what is new in `now`, and keeps it as `known` for the status.
void Daemon::warn_of(std::vector<problems::Remark>& known, std::vector<problems::Remark> now) {
  for (const problems::Remark& one : now) {
    if (std::ranges::find(known, one.text, &problems::Remark::text) == known.end()) log_.warning(one.text);
  }
  known = std::move(now);
}

void Daemon::watch_firewall() {
  if (options_.firewall == nullptr) return;
  if (options_.firewall->fd() >= 0) {
    firewall_watch_ = loop_.watch(options_.firewall->fd(), EPOLLIN, [this](std::uint32_t) {
      if (options_.firewall->drain()) look_at_firewall();
    });
  }
  poll_legacy_firewall();
}

void Daemon::poll_legacy_firewall() {
  if (options_.firewall->legacy_changed()) look_at_firewall();
  legacy_timer_ = loop_.after(kLegacyPoll, [this] { poll_legacy_firewall(); });
}

// What the kernel tells of this pass's own rules is no reason to look again. What somebody else changed
// during the pass is seen at the next regular look.
void Daemon::forget_firewall_changes() {
  if (options_.firewall == nullptr) return;
  options_.firewall->drain();
  options_.firewall->legacy_changed();
}

// The debounce is for the rest of a batch: an `iptables -F` is rarely alone.
void Daemon::look_at_firewall() {
  const Duration since = EventLoop::now() - last_full_pass_;
  request_pass(Depth::kAll, std::max<Duration>(kDirtyDebounce, kFirewallLookEvery - since));
}

void Daemon::request_pass(Depth depth, Duration delay) {
  if (stopping_ || !resolved_) return;
  Due& due = depth == Depth::kAll ? full_ : network_;
  const TimePoint when = EventLoop::now() + delay;
  if (due.when && *due.when <= when) return;
  due.when = when;
  due.timer = loop_.at(when, [this, depth] { run_pass(depth, Cause::kLook); });
}

void Daemon::run_pass(Depth depth, Cause cause) {
  network_.when.reset();
  if (depth == Depth::kAll) full_.when.reset();
  const TimePoint began = EventLoop::now();
  if (depth == Depth::kAll) last_full_pass_ = began;
  reconciler_->set_dead(backend_->dead());
  auto pass = reconciler_->reconcile(depth);
  if (!pass) {
    report_errors({pass.error()});
  } else {
    bond_is_set_up_ = !pass->not_set_up.contains(options_.config.bond.interface);
    report_pass(*pass, cause, EventLoop::now() - began);
    if (changes_firewall(*pass)) forget_firewall_changes();
    report_errors(pass->errors);
    auto followed = backend_->follow({options_.config, reconciler_->plan(), reconciler_->network(),
                                      server_addresses_, servers_.by_wan(), options_.slot, drained_});
    if (!followed) report_errors({followed.error()});
    look_for_foreign();
    if (depth == Depth::kAll) look_for_blocked_ways();
    if (pass->settled() && followed) {
      retry_ = {};
      set_up();
    }
  }
}

bool Daemon::changes_firewall(const Pass& pass) {
  return std::ranges::any_of(pass.steps, [](const model::Step& step) {
    return std::holds_alternative<model::InstallFirewall>(step);
  });
}

// What a pass does that only looked again is the machine's change or a repair: said. What we
// changed ourselves has been said in other words.
void Daemon::report_pass(const Pass& pass, Cause cause, Duration took) {
  if (pass.steps.empty()) return;
  log_.detail(fmt::format("{} steps in {:.1f} ms:", pass.steps.size(), to_ms(took)));
  for (const std::string& line : plan::print(pass.steps)) log_.detail(line);
  if (!ready_ || cause == Cause::kOwn) return;
  if (EventLoop::now() - repairs_since_ > kRepairWindow) {
    repairs_.clear();
    repairs_since_ = EventLoop::now();
  }
  for (const model::Step& step : pass.steps) {
    const bool firewall = std::holds_alternative<model::InstallFirewall>(step);
    const std::string line =
        firewall ? fmt::format("iptables chains BONDD-*-{}", options_.config.site) : plan::describe(step);
    const int times = ++repairs_[line];
    if (times < kRepairsSaid) log_.info(fmt::format("put right: {}", line));
    if (times == kRepairsSaid) {
      log_.warning(
          fmt::format("put right for the third time: {}; another program keeps undoing it (with "
                      "systemd-networkd, set ManageForeignRoutes=no and ManageForeignRoutingPolicyRules=no)",
                      line));
    }
  }
}

void Daemon::report_errors(const std::vector<Error>& errors) {
  if (errors.empty()) {
    last_error_.clear();
    return;
  }
  retry_ = std::clamp<Duration>(retry_ * 2, kFirstRetry, kLastRetry);
  if (errors.front().message != last_error_) {
    last_error_ = errors.front().message;
    log_.warning(fmt::format("{}{}, trying again in {}", last_error_,
                             errors.size() > 1 ? fmt::format(" (and {} more)", errors.size() - 1) : "",
                             format_duration(retry_)));
    for (std::size_t i = 1; i < errors.size(); ++i) log_.detail(errors[i].message);
  }
  request_pass(Depth::kAll, retry_);
}

void Daemon::tick() {
  if (stopping_) return;
  tick_timer_ = loop_.after(kTick, [this] { tick(); });
  if (!resolved_) return diagnose();
  request_pass(Depth::kAll, kFullPassEvery);
  follow_speed_test();
  auto measured = measured_wans({});
  if (follow_drained(measured)) measured = measured_wans({});
  measure_traffic();
  diagnose(measured);
  const auto now = explained(std::move(measured));
  report_wans(now);
  tell_page();
  const bool carries = state_of(now) != SiteState::kDown;
  try_other_addresses(now);
  lead_past_bond(carries);
  follow_path_mtu(now);
  // A server that went elsewhere is found again by its name, once no WAN reaches it.
  const bool numeric = parse_ip(options_.config.server.address).has_value();
  const bool none = options_.config.role == model::Role::kClient && !carries;
  if (!numeric && none && !resolve_timer_ && ready_) {
    resolve_timer_ = loop_.after(kResolveRetry, [this] {
      resolve_timer_ = {};
      resolve_server();
    });
  }
}

// --- up, and down again ---

void Daemon::check_ready() {
  if (ready_ || stopping_) return;
  ready_timer_ = loop_.after(kReadyCheck, [this] { check_ready(); });
  if (state_of(wans({})) == SiteState::kDown) {
    carries_since_.reset();
    return;
  }
  if (!carries_since_) carries_since_ = EventLoop::now();
  if (!ping_) {
    auto ping = PeerPing::create(loop_, options_.config.bond.interface, options_.config.bond.peer,
                                 [this](std::uint16_t) { become_ready(); });
    if (ping) ping_ = std::move(*ping);
  }
  if (ping_) ping_->send();
  // Tunnels that are heard prove nothing of an interface that could not be set up.
  if (brought_up_ && (!ping_ || EventLoop::now() - *carries_since_ > kNoEchoPatience)) become_ready();
}

// Everything is in place; a server listens.
void Daemon::set_up() {
  if (std::exchange(brought_up_, true)) return;
  const std::string& site = options_.config.site;
  const bool server = options_.config.role == model::Role::kServer;
  log_.info(server ? fmt::format("{} listens, waiting for the office", site)
                   : fmt::format("{} is set up, waiting for the server", site));
  if (options_.on_set_up) options_.on_set_up();
  if (server && options_.ready_when_listening) {
    timeout_timer_.cancel();
    if (options_.on_ready) std::exchange(options_.on_ready, {})();
  }
}

void Daemon::become_ready() {
  if (ready_ || stopping_) return;
  set_up();
  ready_ = true;
  ready_timer_.cancel();
  timeout_timer_.cancel();
  const auto all = wans({});
  report_wans(all);
  log_.info(fmt::format("{} carries traffic through {} ({} of {} WANs up)", options_.config.site,
                        options_.config.bond.interface,
                        std::ranges::count(all, WanState::kUp, &model::WanStatus::state), all.size()));
  for (const model::WanStatus& wan : all) {
    if (wan.state == WanState::kUp) continue;
    const std::string text = fmt::format("{} is not used yet: {}", wan.name,
                                         wan.reason.empty() ? "no answer on it so far" : wan.reason);
    if (wan.state == WanState::kWaiting) {
      log_.warning(text);
    } else {
      log_.info(text);  // within a second, in most cases
    }
  }
  hand_over(EventLoop::now() + kSettingsPatience);
}

// `up -d` shows the log until on_ready(). So it is called when the other end's settings are there and what
// differs in the two files is logged, at the latest at `latest`.
void Daemon::hand_over(TimePoint latest) {
  if (!theirs() && EventLoop::now() < latest) {
    ready_timer_ = loop_.after(kReadyCheck, [this, latest] { hand_over(latest); });
    return;
  }
  diagnose();
  if (options_.on_ready) options_.on_ready();
}

void Daemon::give_up() {
  if (ready_ || stopping_) return;
  exit_status_ = 1;
  log_.error(fmt::format("{} carries no traffic after {}:", options_.config.site,
                         format_duration(options_.timeout)));
  diagnose();
  const auto problems = diagnosis_->all();
  for (const model::Problem& problem : problems) {
    log_.error(fmt::format("  {}{}{}", problem.wan, problem.wan.empty() ? "" : ": ", problem.text));
    if (!problem.remedy.empty()) log_.error(fmt::format("      {}", problem.remedy));
  }
  for (const model::WanStatus& wan : wans({})) {
    const bool named = std::ranges::find(problems, wan.name, &model::Problem::wan) != problems.end();
    if (named) continue;
    log_.error(fmt::format("  {}: {}{}{}", wan.name, to_string(wan.state), wan.reason.empty() ? "" : ", ",
                           wan.reason));
  }
  stop("gave up");
}

void Daemon::stop(const std::string& why) {
  if (stopping_) return;
  stopping_ = true;
  stop_reason_ = why;
  loop_.quit();
}

void Daemon::take_down() {
  stopping_ = true;
  firewall_watch_.cancel();
  legacy_timer_.cancel();
  full_.timer.cancel();
  network_.timer.cancel();
  ping_.reset();
  speed_tests_.end_guest();
  web_.stop();
  if (!stop_reason_.empty()) {
    log_.info(fmt::format("{}: {}, taking everything down", options_.config.site, stop_reason_));
  }
  if (unconfirmed_) put_file_back();
  if (backend_) {
    backend_->shut_down();
    const TimePoint deadline = EventLoop::now() + kShutDownLimit;
    while (!backend_->idle() && EventLoop::now() < deadline) loop_.turn(100ms);
  }
  if (!reconciler_) {
    removed_ = true;
  } else {
    const auto removed = remove_everything(*reconciler_);
    for (const std::string& left : reconciler_->take_left_alone()) log_.warning(left);
    if (!removed) {
      log_.error(fmt::format("not everything could be removed: {}; `bondd down {}` tries again",
                             removed.error().message, options_.config.site));
      exit_status_ = 1;
    } else {
      removed_ = true;
      log_.info(fmt::format("{} is down", options_.config.site));
    }
  }
}

}  // namespace bondd::control

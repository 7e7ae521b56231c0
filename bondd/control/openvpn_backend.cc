// backend = "openvpn-bond": one openvpn per tunnel, watched by our own probes on the taps.
//
//   Supervisor: starts, restarts and stops the processes that the plan names
//   TapPort:    probes in and out of each tap  ->  Liveness  ->  dead taps, states, reasons
//   DelayMatch: by which line packets arrive when ->  how long a tap holds its packets back
//   the processes' output                      ->  why a tunnel that is down may be so
//   ManagementClient: held open, so that no openvpn outlives this process
#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/sha.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>

#include "bondd/base/file.h"
#include "bondd/base/secret.h"
#include "bondd/control/backend.h"
#include "bondd/control/delay_match.h"
#include "bondd/control/liveness.h"
#include "bondd/control/management_client.h"
#include "bondd/control/openvpn_words.h"
#include "bondd/control/replay_watch.h"
#include "bondd/control/run_dir.h"
#include "bondd/control/tap_drain.h"
#include "bondd/control/tap_port.h"
#include "bondd/control/telling.h"
#include "bondd/supervise/lines.h"
#include "bondd/supervise/supervisor.h"
#include "netlink/qdisc.h"
#include "openvpn-profiles/identity.h"
#include "openvpn-profiles/tls_crypt.h"

namespace bondd::control {
namespace {

constexpr int kPriority = -10;  // nice(2)
constexpr auto kTellingEvery = std::chrono::seconds(15);

using Digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;

Digest digest_of(std::string_view content) {
  Digest digest{};
  SHA256(reinterpret_cast<const unsigned char*>(content.data()), content.size(), digest.data());
  return digest;
}

std::uint32_t random_instance() {
  std::uint32_t value = 0;
  while (value == 0) {
    if (getrandom(&value, sizeof value, 0) != sizeof value) value = 0;
  }
  return value;
}

model::WanState to_model(TunnelState state) {
  switch (state) {
    case TunnelState::kStarting:
      return model::WanState::kStarting;
    case TunnelState::kUp:
      return model::WanState::kUp;
    case TunnelState::kDown:
    case TunnelState::kJoining:
      return model::WanState::kDown;
  }
  return model::WanState::kDown;
}

class OpenVpnBackend : public Backend {
 public:
  OpenVpnBackend(const model::Config& config, BackendContext context)
      : context_(std::move(context)),
        config_(config),
        liveness_(LivenessOptions{config.role, config.bond.arp_interval, random_instance(),
                                  config.openvpn.auth == model::OpenVpnAuth::kTls},
                  EventLoop::now()) {}

  Result<> init() {
    // Packets wait for openvpn (which inherits this), and the peer takes our silence for a dead
    // line. Without CAP_SYS_NICE all stays as it is.
    (void)::setpriority(PRIO_PROCESS, 0, kPriority);
    supervise::Options options;
    options.run_dir = context_.run_dir;
    supervise::Callbacks callbacks;
    callbacks.on_line = [this](const model::Process& process, std::string_view line) {
      on_line(process, line);
    };
    callbacks.on_exit = [this](const supervise::Exit& exit) { on_exit(exit); };
    callbacks.on_started = [this](const model::Process& process, pid_t pid) {
      context_.log->detail(fmt::format("{} started (pid {})", process.id, pid));
      restarted(process);
    };
    callbacks.on_start_failed = [this](const model::Process& process, const Error& error, Duration retry_in) {
      context_.log->warning(fmt::format("{}: {} does not start: {}, retrying in {}", process.wan, process.id,
                                        error.message, format_duration(retry_in)));
      complaints_[process.tunnel].handle(EventLoop::now(), {error.message, Proof::kLocal});
    };
    auto supervisor = supervise::make_supervisor(std::move(options), std::move(callbacks));
    if (!supervisor) return tl::make_unexpected(supervisor.error());
    supervisor_ = std::move(*supervisor);
    keys_ = read_keys();
    prepare_tls_crypt();
    supervisor_watch_ =
        context_.loop->watch(supervisor_->fd(), EPOLLIN, [this](std::uint32_t) { supervise_now(); });
    return {};
  }

  // --- ProcessTable ---

  Result<> start(const model::Process& process) override {
    auto started = supervisor_->start(EventLoop::now(), process);
    if (started) restarted(process);
    arm_supervisor();
    return started;
  }
  Result<> stop(const std::string& id) override {
    supervisor_->stop(EventLoop::now(), id);
    arm_supervisor();
    return {};
  }
  [[nodiscard]] std::vector<model::Process> running() const override {
    std::vector<model::Process> processes;
    for (const supervise::Child& child : supervisor_->children()) {
      if (child.state != supervise::ChildState::kStopping) processes.push_back(child.process);
    }
    return processes;
  }

  // --- Backend ---

  Result<> follow(const Followed& now) override {
    config_ = now.config;
    liveness_.set_arp_interval(config_.bond.arp_interval);
    std::vector<Tunnel> tunnels;
    for (const netlink::Link& link : now.plan.state.links) {
      if (link.kind != netlink::LinkKind::kTap) continue;
      const auto process = std::find_if(now.plan.state.processes.begin(), now.plan.state.processes.end(),
                                        [&](const model::Process& p) { return p.tunnel == link.name; });
      if (process != now.plan.state.processes.end()) tunnels.push_back({link.name, process->wan});
    }
    if (tunnels != liveness_.tunnels()) liveness_.set_tunnels(EventLoop::now(), tunnels);
    follow_ports(tunnels, now.network);
    drained_ = now.drained;
    hand_in_members();
    drain_taps();
    after_liveness();
    return {};
  }

  // openvpn reads its key when it starts: another key needs another start.
  std::string reloaded(const model::Config& config) override {
    config_ = config;
    prepare_tls_crypt();
    const Digest keys = read_keys();
    if (keys == keys_) return {};
    keys_ = keys;
    complaints_.clear();
    for (const model::Process& process : running()) supervisor_->restart(EventLoop::now(), process.id);
    arm_supervisor();
    return {};
  }

  [[nodiscard]] std::set<std::string> dead() const override {
    std::set<std::string> dead = liveness_.dead();
    std::erase_if(dead, [this](const std::string& tap) { return tap_drain_.keeps(tap); });
    dead.insert(tap_drain_.out().begin(), tap_drain_.out().end());
    return dead;
  }

  [[nodiscard]] std::vector<model::WanStatus> wans(const netlink::Snapshot& network) const override {
    std::vector<model::WanStatus> out;
    for (const model::Wan& wan : config_.wans) out.push_back(wan_status(wan.name, network));
    return out;
  }

  [[nodiscard]] std::string error() const override { return {}; }
  [[nodiscard]] std::map<std::string, std::string> wrong_secrets() const override {
    std::map<std::string, std::string> out;
    for (const Tunnel& tunnel : liveness_.tunnels()) {
      const auto complaint = complaint_of(tunnel.tap);
      if (complaint && complaint->proof == Proof::kSecret) out[tunnel.wan] = complaint->words;
    }
    return out;
  }
  [[nodiscard]] std::map<std::string, IpAddress> peers() const override {
    return config_.role == model::Role::kServer ? peers_ : std::map<std::string, IpAddress>{};
  }
  void tell_peer(const std::string& text) override {
    if (text == told_) return;
    told_ = text;
    next_telling_ = EventLoop::now();
  }
  [[nodiscard]] std::optional<std::string> peer_told() const override { return peer_told_; }

  void shut_down() override {
    liveness_timer_.cancel();
    ports_.clear();
    management_.clear();
    supervisor_->stop_all(EventLoop::now());
    arm_supervisor();
  }
  [[nodiscard]] bool idle() const override { return supervisor_->idle(); }

 private:
  struct Port {
    TapPort port;
    UniqueFd rx_packets, tx_packets;  // the tap's counters in /sys
    Registration watch;
  };
  struct Management {
    ManagementClient client;
    Registration watch;
  };

  // Only a digest stays: bondd has no use for the keys themselves.
  [[nodiscard]] Digest read_keys() const {
    std::string digests;  // of each file, and of them all
    const auto add = [&](const std::filesystem::path& file) {
      if (file.empty()) return;
      std::string content = read_small_file(file).value_or("");
      const Digest digest = digest_of(content);
      wipe(content);
      digests.append(digest.begin(), digest.end());
    };
    std::ranges::for_each(model::secret_files(config_.openvpn), add);
    add(config_.openvpn.certificate);
    return digest_of(digests);
  }

  // Both ends make the same key from the two fingerprints. Without it openvpn does not start, and says why.
  void prepare_tls_crypt() {
    const model::OpenVpn& files = config_.openvpn;
    if (files.auth != model::OpenVpnAuth::kTls || files.tls_crypt != model::TlsCrypt::kDerived) return;
    const auto written =
        openvpn::fingerprint(read_small_file(files.certificate).value_or(""))
            .and_then([&](const std::string& own) {
              return openvpn::derive_tls_crypt_key(own, files.peer_fingerprint);
            })
            .and_then([&](const std::string& key) {
              return write_file_atomically(model::tls_crypt_file(files, context_.run_dir), key);
            });
    if (!written) context_.log->error(written.error().in("the key of tls-crypt").message);
  }

  // --- processes ---

  void supervise_now() {
    supervisor_->dispatch(EventLoop::now());
    arm_supervisor();
  }

  void arm_supervisor() {
    supervisor_timer_.cancel();
    if (const auto deadline = supervisor_->next_deadline()) {
      supervisor_timer_ = context_.loop->at(*deadline, [this] { supervise_now(); });
    }
  }

  void restarted(const model::Process& process) {
    management_.erase(process.tunnel);
    management_missing_ = true;
    if (const auto known = complaints_.find(process.tunnel); known != complaints_.end())
      known->second.handle_restart(EventLoop::now());
    liveness_.handle_restart(EventLoop::now(), process.tunnel);
    arm_liveness();
  }

  // Whoever runs without a connection yet gets one as soon as openvpn listens.
  void connect_management() {
    if (!management_missing_) return;
    management_missing_ = false;
    for (const supervise::Child& child : supervisor_->children()) {
      const model::Process& process = child.process;
      if (child.state != supervise::ChildState::kRunning || process.management_socket.empty()) continue;
      if (management_.contains(process.tunnel)) continue;
      auto client = ManagementClient::connect(process.management_socket);
      if (!client) {
        management_missing_ = true;
        continue;
      }
      const auto [entry, added] = management_.emplace(process.tunnel, Management{std::move(*client), {}});
      entry->second.watch =
          context_.loop->watch(entry->second.client.fd(), EPOLLIN,
                               [this, tap = process.tunnel](std::uint32_t) { read_management(tap); });
    }
  }

  void read_management(const std::string& tap) {
    const auto found = management_.find(tap);
    if (found == management_.end()) return;
    const ManagementClient::Received received = found->second.client.receive();
    for (const openvpn::Message& message : received.messages) {
      const auto* const state = std::get_if<openvpn::StateMessage>(&message);
      if (state != nullptr) {
        context_.log->detail(fmt::format("{}: {} {}", tap, supervise::printable(state->state),
                                         supervise::printable(state->detail)));
      }
    }
    if (!received.closed) return;
    management_.erase(found);
    management_missing_ = true;
  }

  void on_line(const model::Process& process, std::string_view line) {
    context_.log->detail(fmt::format("{}: {}", process.id, line));
    if (is_replay(line) && liveness_.view(EventLoop::now(), process.tunnel).state != TunnelState::kUp)
      replays_.handle_replay(EventLoop::now(), process.tunnel);
    if (const auto peer = peer_in(line)) peers_[process.wan] = *peer;
    const auto complaint = complaint_in(line);
    if (!complaint || !complaints_[process.tunnel].handle(EventLoop::now(), *complaint)) return;
    context_.log->warning(fmt::format("{}: {}", process.wan, complaint->words));
  }

  [[nodiscard]] std::optional<Complaint> complaint_of(const std::string& tap) const {
    const auto known = complaints_.find(tap);
    return known == complaints_.end() ? std::nullopt : known->second.counts(EventLoop::now());
  }

  // The tunnel leaves the bond at once; its probes would need a third of a second to tell.
  void on_exit(const supervise::Exit& exit) {
    if (exit.wanted) return;
    const std::string said = exit.last_line.empty() ? "" : fmt::format(" ({})", exit.last_line);
    const std::string text = fmt::format("{}: {} {}{}", exit.wan, exit.id, supervise::describe(exit), said);
    if (ends_to_begin_anew(exit.last_line)) {
      context_.log->detail(text);
    } else {
      context_.log->warning(text);
    }
    for (const supervise::Child& child : supervisor_->children()) {
      if (child.process.id != exit.id) continue;
      management_.erase(child.process.tunnel);
      liveness_.handle_restart(EventLoop::now(), child.process.tunnel, "its openvpn ended");
    }
    after_liveness();
  }

  // A handshake that got no answer, or a peer that went: openvpn ends so that it is started
  // with its rights again. Why is said by the tunnel's state.
  static bool ends_to_begin_anew(std::string_view last_line) {
    return last_line.find("tls-error") != std::string_view::npos ||
           last_line.find("remote-exit") != std::string_view::npos;
  }

  // --- probes ---

  void follow_ports(const std::vector<Tunnel>& tunnels, const netlink::Snapshot& network) {
    std::erase_if(ports_, [&](const auto& entry) {
      const auto facts = network.facts.find(entry.first);
      const bool gone =
          facts == network.facts.end() || facts->second.index != entry.second.port.index() ||
          std::none_of(tunnels.begin(), tunnels.end(), [&](const Tunnel& t) { return t.tap == entry.first; });
      if (gone) delay_match_.forget(entry.first);
      if (gone) without_carrier_.erase(entry.first);
      return gone;
    });
    for (const Tunnel& tunnel : tunnels) {
      if (ports_.contains(tunnel.tap)) continue;
      auto port = TapPort::open(tunnel.tap, kProbeEtherType);
      if (!port) continue;  // not there yet: the pass after it was made comes here again
      const auto [entry, added] = ports_.emplace(tunnel.tap, Port{std::move(*port),
                                                                  open_counter(tunnel.tap, "rx_packets"),
                                                                  open_counter(tunnel.tap, "tx_packets"),
                                                                  {}});
      entry->second.watch = context_.loop->watch(
          entry->second.port.fd(), EPOLLIN, [this, tap = tunnel.tap](std::uint32_t) { read_probes(tap); });
    }
  }

  void read_probes(const std::string& tap) {
    const auto found = ports_.find(tap);
    if (found == ports_.end()) return;
    hand_in_probes(found->first, found->second.port);
    after_liveness();
  }

  void hand_in_probes(const std::string& tap, TapPort& port) {
    std::array<std::uint8_t, 2048> buffer{};
    const TimePoint now = EventLoop::now();
    for (int i = 0; i < 64; ++i) {  // the rest in the loop's next turn
      const auto payload = port.receive(buffer);
      if (payload.empty()) return;
      if (auto text = parse_telling(payload)) {
        peer_told_ = std::move(*text);
      } else {
        liveness_.handle_probe(now, tap, payload);
      }
    }
  }

  // All that has come is handed in before silence is judged.
  void on_liveness_timer() {
    for (auto& [tap, port] : ports_) {
      hand_in_probes(tap, port.port);
      hand_in_counters(tap, port);
    }
    hand_in_members();
    liveness_.handle_timeout(EventLoop::now());
    match_delays();
    drain_taps();
    tell();
    while (const auto tap = liveness_.poll_restart(EventLoop::now())) restart_openvpn_of(*tap);
    restart_where_only_replays_come();
    connect_management();
    after_liveness();
  }

  // By the first tunnel that carries, again and again: a lost one is none.
  void tell() {
    const TimePoint now = EventLoop::now();
    if (told_.empty() || now < next_telling_) return;
    for (auto& [tap, port] : ports_) {
      if (liveness_.view(now, tap).state != TunnelState::kUp) continue;
      port.port.send(render_telling(told_));
      next_telling_ = now + kTellingEvery;
      return;
    }
  }

  void restart_where_only_replays_come() {
    for (const Tunnel& tunnel : liveness_.tunnels()) {
      if (!replays_.poll_restart(EventLoop::now(), tunnel.tap)) continue;
      context_.log->warning(fmt::format(
          "{}: all packets of the other end are older than what came before, so its clock went back; "
          "openvpn starts anew here and takes them",
          tunnel.wan));
      restart_openvpn_of(tunnel.tap);
    }
  }

  // After a long silence: the server may have lost the session, a gateway its NAT entry.
  void restart_openvpn_of(const std::string& tap) {
    for (const supervise::Child& child : supervisor_->children()) {
      if (child.process.tunnel != tap || child.state != supervise::ChildState::kRunning) continue;
      context_.log->detail(fmt::format("{}: started anew after a long silence", child.process.id));
      supervisor_->restart(EventLoop::now(), child.process.id);
    }
    arm_supervisor();
  }

  void hand_in_members() {
    members_.clear();
    for (const Tunnel& tunnel : liveness_.tunnels()) {
      if (is_port_of(tunnel.tap, config_.bond.interface)) members_.insert(tunnel.tap);
    }
    liveness_.set_members(EventLoop::now(), members_);
  }

  // The kernel counts what comes through a tap: traffic shows life as well as a probe does.
  void hand_in_counters(const std::string& tap, const Port& port) {
    const auto rx = read_counter(port.rx_packets);
    const auto tx = read_counter(port.tx_packets);
    if (rx && tx) liveness_.handle_counters(EventLoop::now(), tap, *rx, *tx);
  }

  // Kept open: opening them anew with every round of probes adds up.
  static UniqueFd open_counter(const std::string& device, const char* counter) {
    const std::string path = fmt::format("/sys/class/net/{}/statistics/{}", device, counter);
    return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  }

  static std::optional<std::uint64_t> read_counter(const UniqueFd& fd) {
    std::array<char, 32> text{};
    if (::pread(fd.get(), text.data(), text.size() - 1, 0) <= 0) return std::nullopt;
    return std::strtoull(text.data(), nullptr, 10);
  }

  void after_liveness() {
    const TimePoint now = EventLoop::now();
    while (const auto transmit = liveness_.poll_transmit(now)) {
      const auto found = ports_.find(transmit->tap);
      if (found != ports_.end()) found->second.port.send(transmit->payload);
    }
    bool changed = false;
    while (const auto change = liveness_.poll_change()) {
      changed = true;
      if (change->to == TunnelState::kUp) {
        complaints_.erase(change->tap);
        replays_.handle_carries(change->tap);
      }
      context_.log->detail(fmt::format("{} ({}): {} -> {} {}", change->tap, change->wan,
                                       to_string(to_model(change->from)), to_string(to_model(change->to)),
                                       change->reason));
    }
    arm_liveness();
    follow_carriers();
    if (std::set<std::string> now_dead = dead(); changed || now_dead != told_dead_) {
      told_dead_ = std::move(now_dead);
      context_.changed();
    }
  }

  // --- taps out of use ---

  void drain_taps() {
    std::map<std::string, TapDrain::Use> wanted;
    for (const Tunnel& tunnel : liveness_.tunnels()) {
      if (drained_.out_of_use_here().contains(tunnel.wan))
        wanted[tunnel.tap] = {liveness_.peer_use(tunnel.tap), members_.contains(tunnel.tap)};
    }
    tap_drain_.update(EventLoop::now(), wanted);
    liveness_.set_use(EventLoop::now(), tap_drain_.quiet(), tap_drain_.out());
  }

  // Before the pass that takes a tap into the bond: it is in it without carrier first. What cannot be set
  // (a tap that is down, in the middle of a pass) is tried again in the next turn.
  void follow_carriers() {
    std::set<std::string> wanted = tap_drain_.quiet();
    wanted.merge(liveness_.joining());
    for (const auto& [tap, port] : ports_) {
      const bool carrier = !wanted.contains(tap);
      if (carrier == !without_carrier_.contains(tap)) continue;
      if (const auto set = set_carrier(tap, carrier); !set) {
        context_.log->detail(set.error().message);
      } else if (carrier) {
        without_carrier_.erase(tap);
      } else {
        without_carrier_.insert(tap);
      }
    }
  }

  // --- delays of unlike lines ---

  void match_delays() {
    if (cannot_hold_back_) return;
    const TimePoint now = EventLoop::now();
    const bool in_turns = config_.bond.mode == netlink::BondMode::kBalanceRr;
    std::vector<DelayMatch::Line> lines;
    for (const auto& [tap, port] : ports_) {
      const TunnelView view = liveness_.view(now, tap);
      const bool carries = view.state == TunnelState::kUp && !tap_drain_.is_draining(tap);
      lines.push_back({tap, in_turns && carries, view.behind});
    }
    for (const DelayMatch::Change& change : delay_match_.update(now, lines)) hold_back(change);
  }

  void hold_back(const DelayMatch::Change& change) {
    const auto set = netlink::set_hold_back(change.tap, change.delay);
    const double ms = to_ms(change.delay);
    context_.log->detail(fmt::format("{}: packets are held back for {:.1f} ms{}", change.tap, ms,
                                     set ? "" : ": " + set.error().message));
    if (set) return;
    delay_match_.forget(change.tap);
    cannot_hold_back_ = set.error().code == ENOENT;
  }

  void arm_liveness() {
    liveness_timer_ = context_.loop->at(liveness_.poll_timeout(), [this] { on_liveness_timer(); });
  }

  // --- status ---

  // A WAN with several tunnels is up while one carries; its figures are their means and sums.
  [[nodiscard]] model::WanStatus wan_status(const std::string& wan, const netlink::Snapshot& network) const {
    model::WanStatus status;
    status.name = wan;
    const TimePoint now = EventLoop::now();
    std::vector<TunnelView> views;
    std::string trouble;
    for (const Tunnel& tunnel : liveness_.tunnels()) {
      if (tunnel.wan != wan) continue;
      views.push_back(liveness_.view(now, tunnel.tap));
      if (const auto complaint = complaint_of(tunnel.tap)) trouble = complaint->words;
      if (const auto facts = network.facts.find(tunnel.tap); facts != network.facts.end()) {
        status.rx_bytes = status.rx_bytes.value_or(0) + facts->second.rx_bytes;
        status.tx_bytes = status.tx_bytes.value_or(0) + facts->second.tx_bytes;
      }
    }
    if (views.empty()) {
      status.reason = fmt::format("the address of {} is not known yet", config_.server.address);
      return status;
    }
    const auto in_state = [&](TunnelState state) {
      return std::find_if(views.begin(), views.end(), [&](const TunnelView& v) { return v.state == state; });
    };
    auto shown = in_state(TunnelState::kUp);
    if (shown == views.end()) shown = in_state(TunnelState::kStarting);
    if (shown == views.end()) shown = views.begin();
    status.state = to_model(shown->state);
    status.reason = shown->reason;
    const bool heard = std::ranges::any_of(views, &TunnelView::heard);
    if (heard && drained_.out_of_use().contains(wan)) {  // its tunnels are out of the bond, and well
      status.state = model::WanState::kUp;
      status.reason.clear();
    }
    if (status.state != model::WanState::kUp && !trouble.empty()) {
      status.reason += status.reason.empty() ? trouble : "; " + trouble;
    }
    status.rtt_ms = mean(views, &TunnelView::rtt_ms);
    status.loss_percent = mean(views, &TunnelView::loss_percent);
    status.heard_ms_ago = least(views, &TunnelView::heard_ms_ago);
    return status;
  }

  static std::optional<double> mean(const std::vector<TunnelView>& views,
                                    std::optional<double> TunnelView::*figure) {
    double sum = 0;
    int count = 0;
    for (const TunnelView& view : views) {
      if (!(view.*figure)) continue;
      sum += *(view.*figure);
      ++count;
    }
    return count == 0 ? std::nullopt : std::optional(sum / count);
  }

  static std::optional<double> least(const std::vector<TunnelView>& views,
                                     std::optional<double> TunnelView::*figure) {
    std::optional<double> out;
    for (const TunnelView& view : views) {
      if (view.*figure && (!out || *(view.*figure) < *out)) out = view.*figure;
    }
    return out;
  }

  BackendContext context_;
  model::Config config_;
  Liveness liveness_;
  DelayMatch delay_match_;
  DrainedWans drained_;
  TapDrain tap_drain_;
  std::set<std::string> members_;  // taps in the bond, as last looked at
  std::set<std::string> without_carrier_;
  bool cannot_hold_back_ = false;  // no sch_netem: unlike lines bring packets out of order, as without bondd
  std::unique_ptr<supervise::Supervisor> supervisor_;
  std::map<std::string, Port> ports_;  // by tap
  bool management_missing_ = true;
  std::map<std::string, Management> management_;  // by tap
  std::map<std::string, Complaints> complaints_;  // by tap: what openvpn complains of
  std::string told_;                              // to the peer
  std::optional<std::string> peer_told_;
  TimePoint next_telling_;
  std::map<std::string, IpAddress> peers_;  // by WAN
  std::set<std::string> told_dead_;
  ReplayWatch replays_;
  Digest keys_{};  // of the key files that openvpn runs with
  Registration supervisor_watch_, supervisor_timer_, liveness_timer_;
};

}  // namespace

Result<std::unique_ptr<Backend>> make_openvpn_backend(const model::Config& config, BackendContext context) {
  auto backend = std::make_unique<OpenVpnBackend>(config, std::move(context));
  if (auto ready = backend->init(); !ready) return tl::make_unexpected(ready.error());
  return backend;
}

}  // namespace bondd::control

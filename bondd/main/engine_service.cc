#include "bondd/main/engine_service.h"

#include <poll.h>
#include <sodium.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "bondd/mlvpn/io/sandbox.h"
#include "bondd/mlvpn/session/key_pair.h"

namespace bondd {
namespace {

using mlvpn::Engine;
using mlvpn::LinkId;

// Reports that wait while the supervisor does not read; older ones are dropped.
constexpr std::size_t kMaxPending = 256;

volatile std::sig_atomic_t stop_requested = 0;

TimePoint clock_now() {
  return TimePoint(std::chrono::steady_clock::now().time_since_epoch());
}

mlvpn::LinkConfig to_core(const ipc::EngineLink& link) {
  mlvpn::LinkConfig config;
  config.name = link.name;
  if (link.remote) config.remote = mlvpn::Endpoint{link.remote->address, link.remote->port};
  config.upload = link.upload;
  config.weight = link.weight;
  config.fallback_only = link.fallback_only;
  config.timeout = link.timeout;
  config.loss_tolerance = link.loss_tolerance;
  config.latency_tolerance = link.latency_tolerance;
  return config;
}

// Reads the keys and leaves no other copy of them behind.
Result<mlvpn::Secrets> read_keys(int fd) {
  mlvpn::EngineKeys bytes;
  std::size_t size = 0;
  ssize_t got = 0;
  while (size < bytes.span().size() && (got = read(fd, bytes.data() + size, bytes.span().size() - size)) > 0)
    size += static_cast<std::size_t>(got);
  if (got < 0) return errno_failure("read the keys");
  if (size != bytes.span().size()) return failure("the keys are not whole");
  const auto password = std::as_const(bytes).span().first<mlvpn::kPasswordKeys>();
  mlvpn::Secrets secrets(mlvpn::SecretKey::from_bytes(password.first<32>()),
                         mlvpn::SecretKey::from_bytes(password.last<32>()));
  secrets.pair = mlvpn::key_pair_in(bytes);
  return secrets;
}

mlvpn::EngineConfig::Peer to_core(model::MlvpnPeer peer) {
  switch (peer) {
    case model::MlvpnPeer::kAuto:
      return mlvpn::EngineConfig::Peer::kAuto;
    case model::MlvpnPeer::kBondd:
      return mlvpn::EngineConfig::Peer::kBondd;
    case model::MlvpnPeer::kMlvpn:
      return mlvpn::EngineConfig::Peer::kOriginal;
  }
  return mlvpn::EngineConfig::Peer::kAuto;
}

Result<mlvpn::EngineConfig> core_config(const ipc::EngineStart& request, mlvpn::DeviceKind device) {
  mlvpn::EngineConfig config;
  config.role = request.server ? mlvpn::Role::kServer : mlvpn::Role::kClient;
  config.device = device;
  config.clear_data = request.clear_data;
  config.reorder = request.reorder;
  config.repair = request.repair;
  config.peer = to_core(request.peer);
  config.peer_proved = request.peer_proved;
  config.max_reorder_wait = request.max_reorder_wait;
  const auto wall = std::chrono::system_clock::now().time_since_epoch();
  config.wall_clock_us =
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(wall).count());
  if (getrandom(config.seed.data(), config.seed.size(), 0) != static_cast<ssize_t>(config.seed.size())) {
    return errno_failure("getrandom");
  }
  return config;
}

Result<UniqueFd> only_fd(std::vector<UniqueFd>& fds) {
  if (fds.size() != 1) return failure("the request needs exactly one descriptor");
  return std::move(fds.front());
}

model::WanState to_model(mlvpn::LinkState state) {
  switch (state) {
    case mlvpn::LinkState::kDown:
      return model::WanState::kDown;
    case mlvpn::LinkState::kStarting:
      return model::WanState::kStarting;
    case mlvpn::LinkState::kUp:
      return model::WanState::kUp;
    case mlvpn::LinkState::kLossy:
      return model::WanState::kLossy;
    case mlvpn::LinkState::kSlow:
      return model::WanState::kSlow;
    case mlvpn::LinkState::kSilent:
      return model::WanState::kSilent;
  }
  return model::WanState::kDown;
}

model::Protection to_model(mlvpn::Protection protection) {
  switch (protection) {
    case mlvpn::Protection::kNone:
      return model::Protection::kUnknown;
    case mlvpn::Protection::kPassword:
      return model::Protection::kPassword;
    case mlvpn::Protection::kSession:
      return model::Protection::kSession;
  }
  return model::Protection::kUnknown;
}

ipc::EngineLinkStatus to_ipc(const mlvpn::LinkStats& stats, const std::string& path) {
  ipc::EngineLinkStatus status;
  model::WanStatus& wan = status.wan;
  wan.name = stats.name;
  wan.state = to_model(stats.state);
  wan.reason = stats.reason;
  status.peer_is_bondd = stats.peer_is_bondd;
  if (stats.peer) status.peer = ipc::EngineEndpoint{stats.peer->address, stats.peer->port};
  status.path = path;
  wan.rtt_ms = stats.rtt_ms;
  status.rtt_var_ms = stats.rtt_var_ms;
  wan.loss_percent = stats.loss_percent;
  wan.tx_loss_percent = stats.tx_loss_percent;
  wan.queue_ms = stats.queue_ms;
  if (stats.capacity) wan.capacity_mbit = static_cast<double>(stats.capacity->bits_per_second) / 1e6;
  wan.explanation = stats.explanation;
  wan.rx_bytes = stats.rx_bytes;
  wan.tx_bytes = stats.tx_bytes;
  status.rx_packets = stats.rx_packets;
  status.tx_packets = stats.tx_packets;
  status.disconnects = stats.disconnects;
  wan.repaired = stats.repaired;
  constexpr std::size_t kUdpHeader = 8, kIp4Header = 20, kIp6Header = 40;
  if (stats.longest && stats.peer)
    wan.path_mtu = *stats.longest + kUdpHeader + (stats.peer->address.is_v4() ? kIp4Header : kIp6Header);
  status.peer_rest_ms = to_ms(stats.peer_rest);
  wan.protection = to_model(stats.protection);
  if (stats.key_age) wan.key_age_s = to_ms(*stats.key_age) / 1000;
  if (stats.heard_ago) wan.heard_ms_ago = to_ms(*stats.heard_ago);
  return status;
}

ipc::EngineCounters to_ipc(const mlvpn::EngineStats& core, const mlvpn::DriverCounters& io) {
  ipc::EngineCounters out;
  out.malformed = core.malformed;
  out.bad_mac = core.bad_mac;
  out.replayed = core.replayed;
  out.foreign = core.foreign;
  out.delivered = core.delivered;
  out.late = core.late;
  out.duplicates = core.duplicates;
  out.holes_lost = core.holes_lost;
  out.dropped_no_link = core.dropped_no_link;
  out.dropped_no_buffer = core.dropped_no_buffer;
  out.dropped_oversize = core.dropped_oversize + io.tun_read.oversize;
  out.reorder_held = core.reorder_held;
  out.ingress_queued = core.ingress_queued;
  out.tun_reads = io.tun_read.reads;
  out.tun_writes = io.tun_writes;
  out.tun_refused = io.tun_refused + io.tun_read.malformed;
  out.tun_rx_packets = io.tun_read.packets;
  out.tun_rx_bytes = io.tun_read.bytes;
  out.tun_tx_packets = io.tun_tx_packets;
  out.tun_tx_bytes = io.tun_tx_bytes;
  out.udp_receive_calls = io.udp.receive_calls;
  out.udp_receive_messages = io.udp.receive_messages;
  out.udp_send_calls = io.udp.send_calls;
  out.udp_send_messages = io.udp.send_messages;
  out.udp_blocked = io.udp.blocked;
  out.udp_failed = io.udp.failed + io.udp.truncated;
  out.udp_oversize = io.udp.oversize;
  return out;
}

ipc::EngineEvent::Kind to_ipc(mlvpn::EventKind kind) {
  switch (kind) {
    case mlvpn::EventKind::kState:
      return ipc::EngineEvent::Kind::kState;
    case mlvpn::EventKind::kPeerMoved:
      return ipc::EngineEvent::Kind::kPeerMoved;
    case mlvpn::EventKind::kResolve:
      return ipc::EngineEvent::Kind::kResolve;
    case mlvpn::EventKind::kWrongPassword:
      return ipc::EngineEvent::Kind::kWrongPassword;
    case mlvpn::EventKind::kDowngrade:
      return ipc::EngineEvent::Kind::kDowngrade;
    case mlvpn::EventKind::kNotice:
      return ipc::EngineEvent::Kind::kNotice;
  }
  return ipc::EngineEvent::Kind::kState;
}

}  // namespace

void EngineService::request_stop() {
  stop_requested = 1;
}

Result<> EngineService::run() {
  if (auto started = wait_for_start(); !started) {
    report(ipc::EngineFailure{started.error().message, true});
    return started;
  }
  if (driver_ == nullptr) return {};  // stopped before it began
  while (!stop_ && stop_requested == 0) {
    if (!driver_->turn()) {
      report(ipc::EngineFailure{"the device " + driver_->tun().name() + " is gone", true});
      return failure("the device " + driver_->tun().name() + " is gone");
    }
    if (!pending_.empty()) send_pending();
  }
  driver_->engine().shutdown(clock_now());
  driver_->flush();
  return {};
}

Result<> EngineService::wait_for_start() {
  while (stop_requested == 0 && driver_ == nullptr && !stop_) {
    pollfd watched{channel_.fd(), POLLIN, 0};
    if (poll(&watched, 1, -1) < 0) continue;
    auto message = channel_.receive();
    if (!message) return tl::make_unexpected(message.error());
    if (!*message) continue;
    auto request = ipc::parse_request((*message)->text);
    if (!request) return tl::make_unexpected(request.error());
    if (std::holds_alternative<ipc::EngineStop>(*request)) stop_ = true;
    if (auto* config = std::get_if<ipc::EngineStart>(&*request)) {
      return start(std::move(*config), std::move((*message)->fds));
    }
  }
  return {};
}

Result<> EngineService::start(ipc::EngineStart request, std::vector<UniqueFd> fds) {
  if (fds.size() != 2 + request.links.size()) return failure("start: descriptors and links do not match");
  auto keys = read_keys(fds[1].get());
  if (!keys) return tl::make_unexpected(keys.error());
  auto tun = mlvpn::TunDevice::adopt(std::move(fds[0]), request.offloads);
  if (!tun) return tl::make_unexpected(tun.error());
  const std::string offloads = to_string(tun->offloads());
  auto config = core_config(request, tun->kind());
  if (!config) return tl::make_unexpected(config.error());
  auto engine = std::make_unique<Engine>(clock_now(), *config, std::move(*keys));
  sodium_memzero(config->seed.data(), config->seed.size());
  auto driver = mlvpn::Driver::make(std::move(engine), std::move(*tun), request.offloads);
  if (!driver) return tl::make_unexpected(driver.error());
  driver_ = std::move(*driver);
  driver_->on_event([this](const mlvpn::LinkEvent& event) { on_event(event); });
  if (auto watched = driver_->watch(channel_.fd(), [this] { read_requests(); }); !watched) return watched;
  for (std::size_t i = 0; i < request.links.size(); ++i) {
    if (auto added = add_link(request.links[i], std::move(fds[2 + i])); !added) return added;
  }
  if (auto locked = mlvpn::lock_down(); !locked) return locked;
  report(ipc::EngineReady{driver_->engine().crypto_implementation(), offloads, sandbox_ + ", seccomp"});
  return {};
}

void EngineService::read_requests() {
  for (;;) {
    auto message = channel_.receive();
    if (!message) {
      stop_ = true;  // the supervisor is gone
      return;
    }
    if (!*message) return;
    auto request = ipc::parse_request((*message)->text);
    Result<> done;
    if (request) {
      done = handle(*request, (*message)->fds);
    } else {
      done = tl::make_unexpected(request.error());
    }
    if (!done) report(ipc::EngineFailure{done.error().message, false});
  }
}

Result<> EngineService::handle(ipc::EngineRequest& request, std::vector<UniqueFd>& fds) {
  struct Handler {
    EngineService& self;
    std::vector<UniqueFd>& fds;
    Engine& engine = self.driver_->engine();

    Result<> operator()(const ipc::EngineStart&) const { return failure("the engine runs already"); }
    Result<> operator()(const ipc::EngineAddLink& add) const {
      auto socket = only_fd(fds);
      return socket ? self.add_link(add.link, std::move(*socket)) : tl::make_unexpected(socket.error());
    }
    Result<> operator()(const ipc::EngineUpdateLink& update) const {
      return self.find(update.link.name).map([&](LinkId id) {
        engine.update_link(clock_now(), id, to_core(update.link));
      });
    }
    Result<> operator()(const ipc::EngineRemoveLink& remove) const {
      return self.find(remove.name).map([&](LinkId id) {
        engine.remove_link(clock_now(), id);
        self.driver_->remove_path(id);
        self.links_.erase(remove.name);
      });
    }
    Result<> operator()(const ipc::EngineReplaceSocket& replace) const {
      auto socket = only_fd(fds);
      if (!socket) return tl::make_unexpected(socket.error());
      return self.find(replace.name).and_then([&](LinkId id) {
        return self.driver_->set_path(id, std::move(*socket));
      });
    }
    Result<> operator()(const ipc::EngineSetRemote& set) const {
      return self.find(set.name).map([&](LinkId id) {
        engine.set_remote(clock_now(), id, {set.remote.address, set.remote.port});
      });
    }
    Result<> operator()(const ipc::EngineSetPassword&) const {
      auto file = only_fd(fds);
      if (!file) return tl::make_unexpected(file.error());
      return read_keys(file->get()).map([&](mlvpn::Secrets keys) {
        engine.set_key(clock_now(), std::move(keys));
      });
    }
    Result<> operator()(const ipc::EngineSetNotice& notice) const {
      engine.set_notice(clock_now(), notice.text);
      return {};
    }
    Result<> operator()(const ipc::EngineGetStatus&) const {
      self.report(self.status());
      return {};
    }
    Result<> operator()(const ipc::EngineStop&) const {
      self.stop_ = true;
      return {};
    }
  };
  return std::visit(Handler{*this, fds}, request);
}

Result<> EngineService::add_link(const ipc::EngineLink& link, UniqueFd socket) {
  if (links_.contains(link.name)) return failure("link " + link.name + " exists already");
  const auto id = driver_->engine().add_link(clock_now(), to_core(link));
  if (!id) return failure("too many links");
  links_[link.name] = *id;
  return driver_->set_path(*id, std::move(socket));
}

Result<LinkId> EngineService::find(const std::string& name) const {
  const auto found = links_.find(name);
  if (found == links_.end()) return failure("there is no link " + name);
  return found->second;
}

std::string EngineService::name_of(LinkId id) const {
  const auto found = std::ranges::find_if(links_, [id](const auto& entry) { return entry.second == id; });
  return found == links_.end() ? std::string() : found->first;
}

ipc::EngineStatus EngineService::status() const {
  ipc::EngineStatus status;
  for (const mlvpn::LinkStats& stats : driver_->engine().link_stats(clock_now())) {
    status.links.push_back(to_ipc(stats, name_of(stats.path)));
  }
  status.counters = to_ipc(driver_->engine().stats(), driver_->counters());
  return status;
}

void EngineService::on_event(const mlvpn::LinkEvent& event) {
  report(ipc::EngineEvent{to_ipc(event.kind), name_of(event.link), to_model(event.from),
                          to_model(event.state), event.reason});
}

void EngineService::report(const ipc::EngineReport& report) {
  if (pending_.size() == kMaxPending) pending_.pop_front();
  pending_.push_back(ipc::render(report));
  send_pending();
}

void EngineService::send_pending() {
  while (!pending_.empty()) {
    const auto sent = channel_.send(pending_.front());
    if (!sent && sent.error().code == EAGAIN) return;
    pending_.pop_front();
  }
}

}  // namespace bondd

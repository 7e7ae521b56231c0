// backend = "mlvpn": one bondd-engine that holds the tun and a UDP socket per WAN. bondd makes
// the descriptors and passes them; the engine has no rights of its own.
//
//   follow(): what the file wants  --compare-->  what the engine has  -->  add, update, remove link, …
//   the engine dies: it is started again with back-off, on the same tun
#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <map>

#include "bondd/base/secret.h"
#include "bondd/control/backend.h"
#include "bondd/control/heard_lately.h"
#include "bondd/control/peer_memory.h"
#include "bondd/control/run_dir.h"
#include "bondd/ipc/engine_client.h"
#include "bondd/mlvpn/io/open_device.h"
#include "bondd/mlvpn/session/key_pair.h"
#include "bondd/model/ownership.h"
#include "bondd/plan/routing.h"
#include "bondd/supervise/lines.h"
#include "bondd/supervise/run_program.h"
#include "bondd/supervise/spawn.h"

namespace bondd::control {
namespace {

using namespace std::chrono_literals;

constexpr auto kStatusEvery = 500ms;
constexpr auto kFirstBackoff = 250ms;
constexpr auto kLastBackoff = 30s;
constexpr auto kStable = 10s;         // an engine that ran that long starts again at once
constexpr auto kGrace = 3s;           // from EngineStop to SIGKILL
constexpr auto kSocketsClose = 50ms;  // between the engine's removal of a link and its port's next use
constexpr double kToleranceOff = 100;
// The engine tells of such packets every 10 s while they come. Once none do, something earlier on their way
// is at fault.
constexpr auto kWrongSecretLife = 15s;

// One link as it shall be: what the engine is told, and how its socket is made.
struct WantedLink {
  ipc::EngineLink link;
  mlvpn::UdpOptions socket;
};

bool same_socket(const mlvpn::UdpOptions& a, const mlvpn::UdpOptions& b) {
  return a.family == b.family && a.address == b.address && a.port == b.port && a.device == b.device &&
         a.mark == b.mark;
}

// Whether a link with the one's socket and peer can become the other without a new session: on a server
// it listens where it did, on a client it asks the same port of the server, whatever the address.
bool same_place(const WantedLink& a, const WantedLink& b) {
  if (a.socket.port != b.socket.port) return false;
  if (a.socket.port != 0) return a.socket.address == b.socket.address;
  return !a.link.remote || !b.link.remote || a.link.remote->port == b.link.remote->port;
}

// The engine reads what strangers send, so what it says is data: bounded, printable, and only about links
// that are in the file. A peer's text is part of some reasons.
constexpr std::size_t kWordsMax = 300;
// Reports that are read in a second; the others wait in the socket. 15 links that change state twice and two
// answers to ask_status() are 32.
constexpr unsigned kReportsPerSecond = 200;

std::string words_of_engine(std::string_view text, std::size_t limit = kWordsMax) {
  return supervise::printable(text.substr(0, limit));
}

Result<std::optional<mlvpn::KeyPair>> read_key_file(const std::filesystem::path& file) {
  if (file.empty()) return std::nullopt;
  const auto text = read_secret(file);
  if (!text) return tl::make_unexpected(text.error());
  auto pair = mlvpn::parse_key_file(text->view());
  if (!pair) return tl::make_unexpected(pair.error().in(file.native()));
  return std::optional(std::move(*pair));
}

// The first line of the password's file.
Result<Secret> read_password_file(const std::filesystem::path& file) {
  auto secret = read_secret(file);
  if (secret) secret->shorten(std::min(secret->view().find_first_of("\r\n"), secret->size()));
  return secret;
}

class MlvpnBackend : public Backend {
 public:
  MlvpnBackend(const model::Config& config, BackendContext context, std::filesystem::path program)
      : context_(std::move(context)),
        config_(config),
        program_(std::move(program)),
        peer_memory_(context_.state_dir, config.site) {
    // Argon2id takes some tenths of a second, and here nobody waits for the loop yet. What cannot be read is
    // read again, and said, when the engine is to start.
    [[maybe_unused]] const auto read = read_secrets();
  }

  // This backend's plan has no processes: the engine gets descriptors, not files.
  Result<> start(const model::Process& process) override {
    return failure(fmt::format("{}: the mlvpn backend runs no such process", process.id));
  }
  Result<> stop(const std::string& /*id*/) override { return {}; }
  [[nodiscard]] std::vector<model::Process> running() const override { return {}; }

  Result<> follow(const Followed& now) override {
    config_ = now.config;
    wanted_ = wanted_links(now);
    if (shutting_down_) return {};
    if (auto opened = open_tun(); !opened) return opened;
    if (!engine_) return EventLoop::now() < next_start_ ? Result<>{} : start_engine();
    return adapt_engine();
  }

  // Both passwords open packets for a while (KeyRing), so nothing shows yet that the other end lacks the new
  // one.
  std::string reloaded(const model::Config& config) override {
    secrets_read_ = false;
    const auto now = read_password_file(config.mlvpn.password_file);
    if (!engine_ || !now || mlvpn::is_password_of(keys_, now->view())) return {};
    return "the password changed: reload the other end within a minute; until then both the old and "
           "the new one work";
  }
  [[nodiscard]] std::set<std::string> dead() const override { return {}; }

  [[nodiscard]] std::vector<model::WanStatus> wans(const netlink::Snapshot& /*network*/) const override {
    std::vector<model::WanStatus> out;
    for (const model::Wan& wan : config_.wans) out.push_back(wan_status(wan.name));
    return out;
  }

  [[nodiscard]] std::string error() const override {
    if (engine_ || started_ == TimePoint{}) return {};
    return last_line_.empty() ? "it ended" : last_line_;
  }
  [[nodiscard]] std::map<std::string, std::string> wrong_secrets() const override {
    std::map<std::string, std::string> out;
    for (const auto& [wan, last] : wrong_secrets_) {
      if (EventLoop::now() - last < kWrongSecretLife)
        out[wan] = "the password of the two ends, or cleartext_data, differs";
    }
    return out;
  }
  [[nodiscard]] std::map<std::string, std::string> refused_peers() const override { return refused_peers_; }
  [[nodiscard]] std::map<std::string, IpAddress> peers() const override {
    std::map<std::string, IpAddress> out;
    for (const auto& [wan, link] : figures_) {
      if (link.peer && config_.role == model::Role::kServer) out[wan] = link.peer->address;
    }
    return out;
  }
  void tell_peer(const std::string& text) override {
    if (text == told_) return;
    told_ = text;
    send_notice();
  }
  [[nodiscard]] std::optional<std::string> peer_told() const override { return peer_told_; }

  void shut_down() override {
    shutting_down_ = true;
    status_timer_.cancel();
    start_timer_.cancel();
    add_timer_.cancel();
    tun_.reset();
    if (!engine_) return;
    if (auto asked = engine_->request(ipc::EngineStop{}); !asked) kill_engine();
    start_timer_ = context_.loop->after(kGrace, [this] {
      if (engine_) kill_engine();
    });
  }
  [[nodiscard]] bool idle() const override { return !engine_; }

 private:
  // --- what the file wants ---

  [[nodiscard]] std::vector<WantedLink> wanted_links(const Followed& now) const {
    std::vector<WantedLink> links;
    for (std::size_t i = 0; i < now.config.wans.size(); ++i) {
      const model::Wan& wan = now.config.wans[i];
      WantedLink wanted;
      wanted.link.name = wan.name;
      wanted.link.upload = wan.upload.value_or(Rate{});
      wanted.link.weight = wan.weight.value_or(0);
      // A drained link goes on to be measured, and carries when no other one can.
      const std::string& alone = now.drained.alone();
      const bool rests = wan.fallback_only && wan.name != alone;
      wanted.link.fallback_only = rests || now.drained.out_of_use().contains(wan.name);
      const model::Mlvpn& all = now.config.mlvpn;
      wanted.link.timeout = wan.timeout.value_or(all.timeout);
      wanted.link.loss_tolerance = wan.loss_tolerance.value_or(all.loss_tolerance.value_or(kToleranceOff));
      wanted.link.latency_tolerance =
          wan.latency_tolerance.value_or(all.latency_tolerance.value_or(Duration(0)));
      wanted.socket.address = wan.bind;
      wanted.socket.may_come_later = true;
      if (now.config.role == model::Role::kServer) {
        if (!wan.bind && !now.server_addresses.empty()) {
          wanted.socket.address = now.server_addresses.front();
        }
        wanted.socket.port = wan.port;
        wanted.socket.mark = plan::server_mark(now.config, now.slot);
      } else {
        wanted.socket.mark = model::tunnel_mark(now.config.mark_mask, now.slot, static_cast<unsigned>(i) + 1);
        if (const auto server = now.server_of.find(wan.name); server != now.server_of.end()) {
          wanted.link.remote = ipc::EngineEndpoint{server->second, wan.port};
          wanted.socket.family = wanted.link.remote->address.family();
        }
      }
      if (wanted.socket.address) wanted.socket.family = wanted.socket.address->family();
      links.push_back(std::move(wanted));
    }
    return links;
  }

  [[nodiscard]] ipc::EngineStart wanted_start() const {
    ipc::EngineStart start;
    start.server = config_.role == model::Role::kServer;
    start.clear_data = config_.mlvpn.cleartext_data;
    start.peer = config_.mlvpn.peer;
    start.reorder = config_.mlvpn.reorder.value_or(1) != 0;
    start.repair = config_.mlvpn.repair == model::Repair::kAuto;
    return start;
  }

  // --- the engine's life ---

  // The tun is ours as long as the site is up: addresses and routes stay when an engine dies.
  Result<> open_tun() {
    const std::string& name = config_.bond.interface;
    const unsigned index = if_nametoindex(name.c_str());
    if (index == 0)
      return failure(fmt::format("{} is not there yet", name), ENODEV);  // or opening would make it
    if (tun_ && index == tun_index_) return {};
    if (tun_) {
      context_.log->warning(fmt::format("{} was made anew by somebody, the engine starts again on it", name));
      stop_engine();
    }
    auto tun = mlvpn::open_tun(name, config_.mlvpn.tap);
    if (!tun) return tl::make_unexpected(tun.error());
    tun_ = std::move(*tun);
    tun_index_ = index;
    return {};
  }

  // Once per load of the file: an engine that starts again gets what the other one had, whatever
  // stands in the secrets' files meanwhile. Of the password only its keys are kept.
  Result<> read_secrets() {
    if (secrets_read_) return {};
    auto pair = read_key_file(config_.mlvpn.key_file);
    if (!pair) return tl::make_unexpected(pair.error());
    auto password = read_password_file(config_.mlvpn.password_file);
    if (!password) return tl::make_unexpected(password.error());
    if (!mlvpn::is_password_of(keys_, password->view())) {
      auto keys = mlvpn::keys_of_password(password->view());
      if (!keys) return tl::make_unexpected(keys.error());
      keys_ = std::move(*keys);
      peer_noted_ = peer_memory_.proved(mlvpn::mark_of(keys_));
    }
    pair_is_new_ = pair_is_new_ || !mlvpn::same(pair_, *pair);
    pair_ = std::move(*pair);
    secrets_read_ = true;
    return {};
  }

  // With peer = "mlvpn" no session keys are expected, and what the peer proved before is forgotten.
  bool peer_proved() {
    if (config_.mlvpn.peer == model::MlvpnPeer::kMlvpn && std::exchange(peer_noted_, false))
      peer_memory_.forget();
    return peer_noted_;
  }

  void note_peer(const model::WanStatus& wan) {
    if (peer_noted_ || wan.protection != model::Protection::kSession) return;
    peer_noted_ = true;
    if (auto noted = peer_memory_.note(mlvpn::mark_of(keys_)); !noted)
      context_.log->warning(fmt::format("that the other end has session keys is forgotten with a restart: {}",
                                        noted.error().message));
  }

  Result<> start_engine() {
    if (auto read = read_secrets(); !read) return read;
    ipc::EngineStart start = wanted_start();
    start.peer_proved = peer_proved();
    std::vector<UniqueFd> sockets;
    std::vector<int> numbers;
    for (const WantedLink& wanted : wanted_) {
      auto socket = mlvpn::open_udp(wanted.socket);
      if (!socket) return tl::make_unexpected(socket.error().in(wanted.link.name));
      start.links.push_back(wanted.link);
      numbers.push_back(socket->get());
      sockets.push_back(std::move(*socket));
    }
    int ends[2] = {-1, -1};
    if (pipe2(ends, O_CLOEXEC) != 0) return errno_failure("pipe");
    output_.reset(ends[0]);
    fcntl(output_.get(), F_SETFL, O_NONBLOCK);
    const UniqueFd output_end(ends[1]);
    auto engine = ipc::EngineClient::spawn({program_.string(), context_.user, output_end.get()});
    if (!engine) return tl::make_unexpected(engine.error());
    engine_.emplace(std::move(*engine));
    started_ = EventLoop::now();
    has_ = wanted_;
    has_start_ = wanted_start();
    pair_is_new_ = false;
    watch_engine();
    if (auto sent = engine_->start(start, tun_.get(), mlvpn::engine_keys(keys_, pair_).span(), numbers);
        !sent) {
      stop_engine();
      return sent;
    }
    return {};
  }

  void watch_engine() {
    watch_reports();
    pid_watch_ = context_.loop->watch(engine_->pidfd(), EPOLLIN, [this](std::uint32_t) { reap(); });
    output_watch_ = context_.loop->watch(output_.get(), EPOLLIN, [this](std::uint32_t) { read_output(); });
    ask_status();
    send_notice();
  }

  void send_notice() {
    if (!engine_ || told_.empty()) return;
    // An engine that does not read is busy or dying; another one gets it when it starts.
    [[maybe_unused]] const auto sent = engine_->request(ipc::EngineSetNotice{told_});
  }

  void kill_engine() { (void)supervise::send_signal(engine_->pidfd(), SIGKILL); }

  // For a reason of ours, so the next one may start at once.
  void stop_engine() {
    if (!engine_) return;
    kill_engine();
    collect();
    start_timer_.cancel();
    next_start_ = EventLoop::now();
  }

  // Forgets an ended engine and all that it said. Returns how it ended, as waitpid(2) tells it.
  int collect() {
    int how = 0;
    while (waitpid(engine_->pid(), &how, 0) < 0 && errno == EINTR) {
    }
    output_watch_.cancel();
    pid_watch_.cancel();
    channel_watch_.cancel();
    status_timer_.cancel();
    resume_timer_.cancel();
    add_timer_.cancel();
    engine_.reset();
    figures_.clear();
    wrong_secrets_.clear();
    refused_peers_.clear();
    return how;
  }

  // Whether the interface that the engine holds is there no more. The next pass makes it anew.
  [[nodiscard]] bool device_is_gone() const {
    return if_nametoindex(config_.bond.interface.c_str()) != tun_index_;
  }

  // It ended by itself: said in words, started again unless the site ends. One that lost its device is not at
  // fault, so it does not wait.
  void reap() {
    read_reports();
    read_output();
    if (!engine_) return;
    const int how = collect();
    if (shutting_down_) return;
    if (device_is_gone()) {
      next_start_ = EventLoop::now();
      context_.log->warning(fmt::format("{} was taken away by somebody, the engine starts again on a new one",
                                        config_.bond.interface));
      return context_.changed();
    }
    const bool stable = EventLoop::now() - started_ > kStable;
    backoff_ =
        stable ? Duration(kFirstBackoff) : std::clamp<Duration>(backoff_ * 2, kFirstBackoff, kLastBackoff);
    next_start_ = EventLoop::now() + backoff_;
    const std::string cause = WIFSIGNALED(how) && WTERMSIG(how) == SIGSYS ? "was killed by its seccomp filter"
                              : WIFSIGNALED(how) ? fmt::format("was killed by signal {}", WTERMSIG(how))
                                                 : fmt::format("ended with status {}", WEXITSTATUS(how));
    context_.log->warning(fmt::format("the engine {}{}, starting again in {}", cause,
                                      last_line_.empty() ? "" : fmt::format(" ({})", last_line_),
                                      format_duration(backoff_)));
    start_timer_ = context_.loop->at(next_start_, [this] { start_again(); });
    context_.changed();
  }

  void start_again() {
    if (engine_) return;  // a pass was faster
    if (auto started = start_engine(); !started) {
      context_.log->warning(fmt::format("the engine does not start: {}", started.error().message));
      next_start_ = EventLoop::now() + kLastBackoff;
    }
  }

  // --- a running engine and a changed file ---

  Result<> adapt_engine() {
    const bool reloaded = !secrets_read_;
    if (auto read = read_secrets(); !read) return read;
    if (wanted_start() != has_start_ || pair_is_new_) {
      context_.log->info("the engine starts again with its new settings");
      stop_engine();
      return start_engine();
    }
    if (reloaded) {
      if (auto sent = engine_->set_password(mlvpn::engine_keys(keys_, pair_).span()); !sent) return sent;
    }
    auto freed = remove_links();
    if (!freed) return tl::make_unexpected(freed.error());
    if (*freed) {
      // The engine closes their sockets in a moment; what is added may want the same ports.
      may_add_ = EventLoop::now() + kSocketsClose;
      add_timer_ = context_.loop->at(may_add_, [this] { context_.changed(); });
    }
    if (EventLoop::now() < may_add_) return {};
    for (const WantedLink& wanted : wanted_) {
      if (auto adapted = adapt_link(wanted); !adapted)
        return tl::make_unexpected(adapted.error().in(wanted.link.name));
    }
    return {};
  }

  // Those that are not wanted any more, and those that are to meet another link of the peer, or to listen
  // elsewhere: such a one begins anew, for its session is with the other. Whether a port was freed that a
  // link still to be added wants.
  Result<bool> remove_links() {
    bool freed = false;
    for (auto link = has_.begin(); link != has_.end();) {
      const WantedLink* const wanted = find(wanted_, link->link.name);
      if (wanted != nullptr && same_place(*link, *wanted)) {
        ++link;
        continue;
      }
      if (auto sent = engine_->request(ipc::EngineRemoveLink{link->link.name}); !sent)
        return tl::make_unexpected(sent.error());
      const std::uint16_t port = link->socket.port;
      freed = freed || (port != 0 && std::ranges::any_of(wanted_, [&](const WantedLink& one) {
                          return one.socket.port == port;
                        }));
      link = has_.erase(link);
    }
    return freed;
  }

  Result<> adapt_link(const WantedLink& wanted) {
    WantedLink* has = find(has_, wanted.link.name);
    if (has == nullptr || !same_socket(has->socket, wanted.socket)) {
      auto socket = mlvpn::open_udp(wanted.socket);
      if (!socket) return tl::make_unexpected(socket.error());
      const std::array<int, 1> fds = {socket->get()};
      if (has == nullptr) {
        auto sent = engine_->request(ipc::EngineAddLink{wanted.link}, fds);
        if (sent) has_.push_back(wanted);
        return sent;
      }
      if (auto sent = engine_->request(ipc::EngineReplaceSocket{wanted.link.name}, fds); !sent) return sent;
      has->socket = wanted.socket;
    }
    if (has->link.remote != wanted.link.remote && wanted.link.remote) {
      if (auto sent = engine_->request(ipc::EngineSetRemote{wanted.link.name, *wanted.link.remote}); !sent)
        return sent;
      has->link.remote = wanted.link.remote;
    }
    if (has->link == wanted.link) return {};
    auto sent = engine_->request(ipc::EngineUpdateLink{wanted.link});
    if (sent) has->link = wanted.link;
    return sent;
  }

  static WantedLink* find(std::vector<WantedLink>& links, const std::string& name) {
    const auto found = std::find_if(links.begin(), links.end(),
                                    [&](const WantedLink& one) { return one.link.name == name; });
    return found == links.end() ? nullptr : &*found;
  }

  // --- what the engine says ---

  void ask_status() {
    if (!engine_) return;
    // An engine that does not read is busy or dying; the next question comes soon.
    [[maybe_unused]] const auto asked = engine_->request(ipc::EngineGetStatus{});
    status_timer_ = context_.loop->after(kStatusEvery, [this] { ask_status(); });
  }

  // An engine that says more than it has to say waits; its socket is full soon.
  bool may_read_reports() {
    const TimePoint now = EventLoop::now();
    if (now - reports_second_ >= 1s) {
      reports_second_ = now;
      reports_ = 0;
    }
    if (++reports_ <= kReportsPerSecond) return true;
    if (!std::exchange(talks_too_much_, true))
      context_.log->warning("the engine says more than it should; bondd reads a part of it each second");
    channel_watch_.cancel();
    resume_timer_ = context_.loop->at(reports_second_ + 1s, [this] {
      if (engine_) watch_reports();
    });
    return false;
  }

  void watch_reports() {
    channel_watch_ = context_.loop->watch(engine_->fd(), EPOLLIN, [this](std::uint32_t) { read_reports(); });
  }

  void read_reports() {
    while (engine_ && may_read_reports()) {
      auto report = engine_->receive();
      if (!report) {
        // EPIPE: it is gone, and its pidfd says how. Anything else is nonsense from a process we trust
        // little.
        channel_watch_.cancel();
        if (report.error().code != EPIPE) {
          context_.log->error(report.error().message);
          kill_engine();
        }
        return;
      }
      if (!*report) {
        if (reports_ > 0) --reports_;  // that was none
        return;
      }
      std::visit([this](const auto& one) { on_report(one); }, **report);
    }
  }

  void on_report(const ipc::EngineReady& ready) {
    context_.log->detail(fmt::format("engine ready: crypto {}, tun {}, {}", words_of_engine(ready.crypto),
                                     words_of_engine(ready.tun), words_of_engine(ready.sandbox)));
  }

  // The engine may speak of a link that it was told to remove a moment ago, so others are passed over in
  // silence.
  bool is_link(const std::string& name) { return find(has_, name) != nullptr; }

  void on_report(const ipc::EngineEvent& event) {
    const bool of_site =
        event.kind == ipc::EngineEvent::Kind::kResolve || event.kind == ipc::EngineEvent::Kind::kNotice;
    if (!of_site && !is_link(event.link)) return;
    const std::string reason = words_of_engine(event.reason);
    switch (event.kind) {
      case ipc::EngineEvent::Kind::kState: {
        model::WanStatus& wan = figures_[event.link].wan;
        const bool changed = wan.state != event.state || wan.reason != reason;
        wan.state = event.state;
        wan.reason = reason;
        if (event.state == model::WanState::kUp) {
          wrong_secrets_.erase(event.link);
          refused_peers_.erase(event.link);
        }
        if (changed) context_.changed();
        return;
      }
      case ipc::EngineEvent::Kind::kPeerMoved:
        context_.log->info(
            fmt::format("{}: {}", event.link, reason.empty() ? "the peer sends from a new address" : reason));
        return;
      case ipc::EngineEvent::Kind::kResolve:
        context_.resolve();
        return;
      case ipc::EngineEvent::Kind::kWrongPassword:
        wrong_secrets_[event.link] = EventLoop::now();
        return;
      case ipc::EngineEvent::Kind::kDowngrade:
        // It comes again as long as the peer asks.
        if (std::exchange(refused_peers_[event.link], reason) != reason)
          context_.log->warning(fmt::format("{}: refused: {}", event.link, reason));
        return;
      case ipc::EngineEvent::Kind::kNotice:
        peer_told_ = event.reason;
        return;
    }
  }

  void on_report(const ipc::EngineStatus& status) {
    bool changed = false;
    for (ipc::EngineLinkStatus link : status.links) {
      if (!is_link(link.wan.name)) continue;
      link.wan.reason = words_of_engine(link.wan.reason);
      link.wan.explanation = words_of_engine(link.wan.explanation);
      const auto known = figures_.find(link.wan.name);
      note_peer(link.wan);
      changed = changed || known == figures_.end() || known->second.wan.state != link.wan.state;
      figures_[link.wan.name] = std::move(link);
    }
    figures_at_ = EventLoop::now();
    if (changed) context_.changed();
  }

  void on_report(const ipc::EngineFailure& failed) {
    last_line_ = words_of_engine(failed.message);
    context_.log->warning(fmt::format("engine: {}", last_line_));
  }

  void read_output() {
    std::array<char, 4096> buffer{};
    const ssize_t got = read(output_.get(), buffer.data(), buffer.size());
    if (got <= 0) {
      if (got == 0) output_watch_.cancel();
      return;
    }
    // Lines that are printable, cut, and not too many.
    output_lines_.feed(EventLoop::now(), {buffer.data(), static_cast<std::size_t>(got)},
                       [this](std::string_view line) {
                         last_line_ = line.substr(0, kWordsMax);
                         context_.log->detail(fmt::format("engine: {}", line));
                       });
  }

  [[nodiscard]] model::WanStatus wan_status(const std::string& name) const {
    model::WanStatus status;
    if (const auto found = figures_.find(name); found != figures_.end()) {
      status = found->second.wan;
      // A loop that was busy for long has not read what the engine said meanwhile.
      const Duration age = std::min<Duration>(EventLoop::now() - figures_at_, 2 * kStatusEvery);
      if (status.heard_ms_ago) *status.heard_ms_ago += to_ms(age);
      const Duration patience = found->second.peer_is_bondd ? kHeardLately : kHeardLatelyOriginal;
      status = only_if_heard(std::move(status), patience + from_ms(found->second.peer_rest_ms));
    } else if (!engine_) {
      status.state = model::WanState::kDown;
      status.reason =
          last_line_.empty() ? "the engine does not run" : "the engine does not run: " + last_line_;
    }
    status.name = name;
    if (status.state == model::WanState::kUp) status.reason.clear();
    return status;
  }

  BackendContext context_;
  model::Config config_;
  std::filesystem::path program_;
  UniqueFd tun_, output_;
  unsigned tun_index_ = 0;
  mlvpn::Wiped<mlvpn::kPasswordKeys> keys_;  // all zeros: none yet
  std::optional<mlvpn::KeyPair> pair_;
  bool pair_is_new_ = false;  // another one than the running engine has
  PeerMemory peer_memory_;
  bool peer_noted_ = false;
  bool secrets_read_ = false, shutting_down_ = false;
  std::vector<WantedLink> wanted_, has_;
  ipc::EngineStart has_start_;
  std::optional<ipc::EngineClient> engine_;
  TimePoint started_, next_start_, may_add_;
  Duration backoff_{};
  std::map<std::string, ipc::EngineLinkStatus> figures_;
  TimePoint figures_at_;
  std::map<std::string, TimePoint> wrong_secrets_;    // by WAN: when packets came last that do not decrypt
  std::map<std::string, std::string> refused_peers_;  // by WAN
  std::string told_;                                  // to the peer
  std::optional<std::string> peer_told_;
  supervise::LineReader output_lines_;
  std::string last_line_;
  TimePoint reports_second_;
  unsigned reports_ = 0;
  bool talks_too_much_ = false;
  Registration channel_watch_, pid_watch_, output_watch_, status_timer_, start_timer_, resume_timer_,
      add_timer_;
};

}  // namespace

Result<std::unique_ptr<Backend>> make_mlvpn_backend(const model::Config& config, BackendContext context) {
  auto program = supervise::find_own_program("bondd-engine");
  if (!program)
    return failure(
        "bondd-engine is not installed beside bondd; install it, or use backend = \"openvpn-bond\"");
  return std::make_unique<MlvpnBackend>(config, std::move(context), std::move(*program));
}

}  // namespace bondd::control

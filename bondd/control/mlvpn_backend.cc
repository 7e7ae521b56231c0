// backend = "mlvpn": one bondd-engine that holds the tun and a UDP socket per WAN. bondd makes
// the descriptors and passes them; the engine has no rights of its own.
//
//   follow(): what the file wants  --compare-->  what the engine has  -->  add, update, remove link, …
//   the engine dies: it is started again with back-off, on the same tun
#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "bondd/control/backend.h"
#include "bondd/control/heard_lately.h"
#include "bondd/control/run_dir.h"
#include "bondd/ipc/engine_client.h"
#include "bondd/mlvpn/io/open_device.h"
#include "bondd/model/ownership.h"

namespace bondd::control {
namespace {

using namespace std::chrono_literals;

constexpr auto kStatusEvery = 500ms;
constexpr auto kFirstBackoff = 250ms;
constexpr auto kLastBackoff = 30s;
constexpr auto kStable = 10s;  // an engine that ran that long starts again at once
constexpr auto kGrace = 3s;    // from EngineStop to SIGKILL
constexpr double kToleranceOff = 100;

// One link as it shall be: what the engine is told, and how its socket is made.
struct WantedLink {
  ipc::EngineLink link;
  mlvpn::UdpOptions socket;
};

bool same_socket(const mlvpn::UdpOptions& a, const mlvpn::UdpOptions& b) {
  return a.family == b.family && a.address == b.address && a.port == b.port && a.device == b.device &&
         a.mark == b.mark;
}

// P/sbin/bondd finds P/libexec/bondd/bondd-engine; the build tree has it two levels up.
std::optional<std::filesystem::path> find_engine() {
  std::error_code ignored;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const auto& base : {own.parent_path(), own.parent_path().parent_path()}) {
    const auto program = base / "libexec/bondd/bondd-engine";
    if (access(program.c_str(), X_OK) == 0) return program;
  }
  return std::nullopt;
}

std::string first_line(std::string text) {
  const auto end = text.find_first_of("\r\n");
  if (end != std::string::npos) {
    explicit_bzero(text.data() + end, text.size() - end);
    text.resize(end);
  }
  return text;
}

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}
  Secret(Secret&& other) noexcept : text_(std::move(other.text_)) {}
  Secret& operator=(Secret&& other) noexcept {
    wipe();
    text_ = std::move(other.text_);
    return *this;
  }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { wipe(); }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  void wipe() { explicit_bzero(text_.data(), text_.size()); }
  std::string text_;
};

class MlvpnBackend : public Backend {
 public:
  MlvpnBackend(const model::Config& config, BackendContext context, std::filesystem::path program)
      : context_(std::move(context)), config_(config), program_(std::move(program)) {}

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

  void reloaded() override { password_read_ = false; }
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
  [[nodiscard]] std::map<std::string, std::string> wrong_secrets() const override { return wrong_secrets_; }
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
    tun_.reset();
    if (!engine_) return;
    if (auto asked = engine_->request(ipc::EngineStop{}); !asked) kill(engine_->pid(), SIGKILL);
    start_timer_ = context_.loop->after(kGrace, [this] {
      if (engine_) kill(engine_->pid(), SIGKILL);
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
      wanted.link.fallback_only = wan.fallback_only;
      const model::Mlvpn& all = now.config.mlvpn;
      wanted.link.timeout = wan.timeout.value_or(all.timeout);
      wanted.link.loss_tolerance = wan.loss_tolerance.value_or(all.loss_tolerance.value_or(kToleranceOff));
      wanted.link.latency_tolerance =
          wan.latency_tolerance.value_or(all.latency_tolerance.value_or(Duration(0)));
      wanted.socket.address = wan.bind;
      if (now.config.role == model::Role::kServer) {
        if (!wan.bind && !now.server_addresses.empty()) {
          wanted.socket.address = now.server_addresses.front();
        }
        wanted.socket.port = wan.port;
      } else {
        wanted.socket.may_come_later = true;
        wanted.socket.mark = model::tunnel_mark(now.slot, static_cast<unsigned>(i) + 1);
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

  Result<> read_password() {
    auto text = read_small_file(config_.mlvpn.password_file);
    if (!text) return tl::make_unexpected(text.error());
    password_ = Secret(first_line(std::move(*text)));
    password_read_ = true;
    return {};
  }

  Result<> start_engine() {
    if (auto read = read_password(); !read) return read;
    ipc::EngineStart start = wanted_start();
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
    watch_engine();
    if (auto sent = engine_->start(start, tun_.get(), password_.text(), numbers); !sent) {
      stop_engine();
      return sent;
    }
    return {};
  }

  void watch_engine() {
    channel_watch_ = context_.loop->watch(engine_->fd(), EPOLLIN, [this](std::uint32_t) { read_reports(); });
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

  void stop_engine() {
    if (!engine_) return;
    kill(engine_->pid(), SIGKILL);
    reap();
  }

  // Said in words, started again unless we asked for it.
  void reap() {
    if (!engine_) return;
    int how = 0;
    while (waitpid(engine_->pid(), &how, 0) < 0 && errno == EINTR) {
    }
    read_reports();
    read_output();
    output_watch_.cancel();
    pid_watch_.cancel();
    channel_watch_.cancel();
    status_timer_.cancel();
    engine_.reset();
    figures_.clear();
    if (shutting_down_) return;
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
    start_timer_ = context_.loop->at(next_start_, [this] {
      if (auto started = start_engine(); !started) {
        context_.log->warning(fmt::format("the engine does not start: {}", started.error().message));
        next_start_ = EventLoop::now() + kLastBackoff;
      }
    });
    context_.changed();
  }

  // --- a running engine and a changed file ---

  Result<> adapt_engine() {
    if (wanted_start() != has_start_) {
      context_.log->info("the engine starts again with its new settings");
      stop_engine();
      start_timer_.cancel();
      return start_engine();
    }
    if (!password_read_) {
      if (auto read = read_password(); !read) return read;
      if (auto sent = engine_->set_password(password_.text()); !sent) return sent;
    }
    // A link that goes may free the port of one that comes.
    for (auto link = has_.begin(); link != has_.end();) {
      if (find(wanted_, link->link.name) != nullptr) {
        ++link;
        continue;
      }
      if (auto sent = engine_->request(ipc::EngineRemoveLink{link->link.name}); !sent) return sent;
      link = has_.erase(link);
    }
    for (const WantedLink& wanted : wanted_) {
      if (auto adapted = adapt_link(wanted); !adapted)
        return tl::make_unexpected(adapted.error().in(wanted.link.name));
    }
    return {};
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

  void read_reports() {
    while (engine_) {
      auto report = engine_->receive();
      if (!report) {
        // EPIPE: it is gone, and its pidfd says how. Anything else is nonsense from a process we trust
        // little.
        channel_watch_.cancel();
        if (report.error().code != EPIPE) {
          context_.log->error(report.error().message);
          kill(engine_->pid(), SIGKILL);
        }
        return;
      }
      if (!*report) return;
      std::visit([this](const auto& one) { on_report(one); }, **report);
    }
  }

  void on_report(const ipc::EngineReady& ready) {
    context_.log->detail(
        fmt::format("engine ready: crypto {}, tun {}, {}", ready.crypto, ready.tun, ready.sandbox));
  }

  void on_report(const ipc::EngineEvent& event) {
    switch (event.kind) {
      case ipc::EngineEvent::Kind::kState:
        figures_[event.link].wan.state = event.state;
        figures_[event.link].wan.reason = event.reason;
        if (event.state == model::WanState::kUp) wrong_secrets_.erase(event.link);
        context_.changed();
        return;
      case ipc::EngineEvent::Kind::kPeerMoved:
        context_.log->info(fmt::format(
            "{}: {}", event.link, event.reason.empty() ? "the peer sends from a new address" : event.reason));
        return;
      case ipc::EngineEvent::Kind::kResolve:
        context_.resolve();
        return;
      case ipc::EngineEvent::Kind::kWrongPassword:
        wrong_secrets_[event.link] = "the password of the two ends, or cleartext_data, differs";
        return;
      case ipc::EngineEvent::Kind::kNotice:
        peer_told_ = event.reason;
        return;
    }
  }

  void on_report(const ipc::EngineStatus& status) {
    bool changed = false;
    for (const ipc::EngineLinkStatus& link : status.links) {
      const auto known = figures_.find(link.wan.name);
      changed = changed || known == figures_.end() || known->second.wan.state != link.wan.state;
      figures_[link.wan.name] = link;
    }
    figures_at_ = EventLoop::now();
    if (changed) context_.changed();
  }

  void on_report(const ipc::EngineFailure& failed) {
    context_.log->warning(fmt::format("engine: {}", failed.message));
    last_line_ = failed.message;
  }

  void read_output() {
    std::array<char, 4096> buffer{};
    for (;;) {
      const ssize_t got = read(output_.get(), buffer.data(), buffer.size());
      if (got <= 0) {
        if (got == 0) output_watch_.cancel();
        return;
      }
      output_text_.append(buffer.data(), static_cast<std::size_t>(got));
      for (std::size_t end = 0; (end = output_text_.find('\n')) != std::string::npos;) {
        last_line_ = output_text_.substr(0, end);
        output_text_.erase(0, end + 1);
        context_.log->detail(fmt::format("engine: {}", last_line_));
      }
      if (output_text_.size() > buffer.size()) output_text_.clear();  // no line is that long
    }
  }

  [[nodiscard]] model::WanStatus wan_status(const std::string& name) const {
    model::WanStatus status;
    if (const auto found = figures_.find(name); found != figures_.end()) {
      status = found->second.wan;
      // A loop that was busy for long has not read what the engine said meanwhile.
      const Duration age = std::min<Duration>(EventLoop::now() - figures_at_, 2 * kStatusEvery);
      if (status.heard_ms_ago) *status.heard_ms_ago += to_ms(age);
      const Duration patience = found->second.peer_is_bondd ? kHeardLately : kHeardLatelyOriginal;
      status = only_if_heard(std::move(status), patience);
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
  Secret password_;
  bool password_read_ = false, shutting_down_ = false;
  std::vector<WantedLink> wanted_, has_;
  ipc::EngineStart has_start_;
  std::optional<ipc::EngineClient> engine_;
  TimePoint started_, next_start_;
  Duration backoff_{};
  std::map<std::string, ipc::EngineLinkStatus> figures_;
  TimePoint figures_at_;
  std::map<std::string, std::string> wrong_secrets_;  // by WAN
  std::string told_;                                  // to the peer
  std::optional<std::string> peer_told_;
  std::string output_text_, last_line_;
  Registration channel_watch_, pid_watch_, output_watch_, status_timer_, start_timer_;
};

}  // namespace

Result<std::unique_ptr<Backend>> make_mlvpn_backend(const model::Config& config, BackendContext context) {
  auto program = find_engine();
  if (!program)
    return failure(
        "bondd-engine is not installed beside bondd; install it, or use backend = \"openvpn-bond\"");
  return std::make_unique<MlvpnBackend>(config, std::move(context), std::move(*program));
}

}  // namespace bondd::control

#include "bondd/control/web_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <ctime>

#include "bondd/mlvpn/io/endpoint.h"
#include "bondd/supervise/run_program.h"

namespace bondd::control {
namespace {

using namespace std::chrono_literals;

constexpr auto kFirstBackoff = 1s;
constexpr auto kLastBackoff = 30s;
constexpr auto kStable = 10s;  // one that ran that long starts again soon
constexpr auto kGrace = 500ms;
constexpr int kBacklog = 32;  // browsers open 6 connections at once

// Says 127.0.0.1:8080, or [::1]:8080.
std::string shown(const model::Web& web) {
  const std::string address = to_string(web.address);
  return fmt::format("{}:{}", web.address.is_v4() ? address : "[" + address + "]", web.port);
}

// The address may be one that the machine gets later.
Result<UniqueFd> listen_at(const model::Web& web) {
  UniqueFd fd(socket(web.address.af(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  const bool v4 = web.address.is_v4();
  const mlvpn::SocketAddress own(mlvpn::Endpoint{web.address, web.port});
  if (!fd || setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      setsockopt(fd.get(), SOL_IP, IP_FREEBIND, &on, sizeof on) != 0 ||
      (!v4 && setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) ||
      bind(fd.get(), own.get(), own.size()) != 0 || ::listen(fd.get(), kBacklog) != 0) {
    return errno_failure(fmt::format("cannot listen at {}", shown(web)));
  }
  return fd;
}

Result<Secret> read_token(const model::Web& web) {
  if (web.token_file.empty()) return Secret();
  auto token = read_secret(web.token_file);
  if (!token) return token;
  token->shorten(model::web_token_of(token->view()).size());
  if (!model::is_web_token(token->view()))
    return failure(fmt::format("the first line of {} is no token", web.token_file.string()));
  return token;
}

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

std::string user_of_page(const std::string& user) {
  if (!user.empty()) return user;
  return getpwnam("_bondd-web") != nullptr ? "_bondd-web" : "nobody";
}

}  // namespace

WebProcess::WebProcess(EventLoop& loop, Log& log) : loop_(loop), log_(log), started_s_(std::time(nullptr)) {}

void WebProcess::follow(const model::Config& config, const std::string& user) {
  const bool same_place = config.web == config_.web;
  config_ = config;
  user_ = user_of_page(user);
  loaded_s_ = std::time(nullptr);
  const auto token = read_token(config.web);
  if (runs() && same_place && token && same(*token, token_)) return tell_site();
  stop();
  error_.clear();
  backoff_ = {};
  if (config_.web.port != 0) start();
}

void WebProcess::start() {
  auto started = try_start();
  if (started) {
    error_.clear();
    log_.info(fmt::format("the page is at http://{}/", shown(config_.web)));
    return;
  }
  std::string why = fmt::format("there is no page for browsers: {}; trying again", started.error().message);
  if (why != error_) log_.warning(why);
  error_ = std::move(why);
  start_later();
}

Result<> WebProcess::try_start() {
  const auto program = supervise::find_own_program("bondd-web");
  if (!program) return failure("bondd-web is not installed");
  auto token = read_token(config_.web);
  if (!token) return tl::make_unexpected(token.error());
  const auto listener = listen_at(config_.web);
  if (!listener) return tl::make_unexpected(listener.error());
  auto pair = ipc::FdChannel::make_pair();
  if (!pair) return tl::make_unexpected(pair.error());
  std::array<int, 2> pipe{};
  if (pipe2(pipe.data(), O_CLOEXEC | O_NONBLOCK) != 0) return errno_failure("pipe");
  UniqueFd output(pipe[0]);
  const UniqueFd write_end(pipe[1]);
  supervise::SpawnOptions options;
  options.input = pair->second.fd();
  options.output = options.errors = write_end.get();
  options.writes_files = false;
  auto process = supervise::spawn({program->string(), user_}, options);
  if (!process) return tl::make_unexpected(process.error());

  std::string start = ipc::render(ipc::WebStart{config_.web.address, host_name(), secret_of(token->view())});
  std::string message = ipc::render(ipc::WebMessage{ipc::WebMessage::Kind::kStart, start});
  const int fd = listener->get();
  auto sent = pair->first.send(message, std::span(&fd, 1));
  wipe(start);
  wipe(message);
  process_ = std::move(*process);
  channel_.emplace(std::move(pair->first));
  output_ = std::move(output);
  token_ = std::move(*token);
  began_ = EventLoop::now();
  if (!sent) return stop(), sent;
  watch();
  tell_site();
  return {};
}

void WebProcess::watch() {
  reader_ = {};
  output_watch_ = loop_.watch(output_.get(), EPOLLIN, [this](std::uint32_t) { read_output(); });
  exit_watch_ = loop_.watch(process_.pidfd.get(), EPOLLIN, [this](std::uint32_t) { on_exit(); });
}

void WebProcess::start_later() {
  backoff_ = std::clamp<Duration>(backoff_ * 2, kFirstBackoff, kLastBackoff);
  start_timer_ = loop_.after(backoff_, [this] { start(); });
}

void WebProcess::tell_site() {
  tell(ipc::WebMessage::Kind::kSite, ipc::web_site_json(config_, started_s_, loaded_s_));
}

// One that hangs misses some of it; when it is gone, on_exit() says so.
void WebProcess::tell(ipc::WebMessage::Kind kind, const std::string& text) {
  if (channel_) (void)channel_->send(ipc::render(ipc::WebMessage{kind, text}));
}

void WebProcess::read_output() {
  std::array<char, 4096> buffer{};
  const ssize_t got = ::read(output_.get(), buffer.data(), buffer.size());
  if (got > 0) {
    reader_.feed(EventLoop::now(), {buffer.data(), static_cast<std::size_t>(got)},
                 [this](std::string_view line) { log_.detail(fmt::format("bondd-web: {}", line)); });
  } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
    output_watch_.cancel();
  }
}

void WebProcess::on_exit() {
  const auto ended = supervise::try_wait(process_.pidfd.get());
  if (!ended) return;
  read_output();
  const std::string last = reader_.last_line();
  if (EventLoop::now() - began_ > kStable) backoff_ = {};
  forget();
  start_later();
  const std::string how = ended->signal == SIGSYS ? "was killed by its seccomp filter"
                          : ended->signal         ? fmt::format("was killed by signal {}", *ended->signal)
                                          : fmt::format("ended with status {}", ended->status.value_or(-1));
  log_.warning(fmt::format("bondd-web {}{}, starting again in {}", how,
                           last.empty() ? "" : fmt::format(" ({})", last), format_duration(backoff_)));
}

void WebProcess::stop() {
  start_timer_.cancel();
  if (!channel_) return;
  channel_.reset();  // by which it ends, whoever its user is
  pollfd entry{process_.pidfd.get(), POLLIN, 0};
  const auto grace = duration_cast<std::chrono::milliseconds>(Duration(kGrace)).count();
  if (poll(&entry, 1, static_cast<int>(grace)) == 0)
    (void)supervise::send_signal(process_.pidfd.get(), SIGKILL);
  (void)supervise::try_wait(process_.pidfd.get());
  forget();
}

void WebProcess::forget() {
  output_watch_.cancel();
  exit_watch_.cancel();
  channel_.reset();
  output_.reset();
  process_ = {};
  token_.wipe();
}

}  // namespace bondd::control

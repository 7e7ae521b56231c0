#include "bondd/ipc/engine_client.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

namespace bondd::ipc {
namespace {

constexpr int kEngineFd = 3;  // the channel's number in the engine

// Nothing of root's shell is the engine's business.
std::vector<char*> clean_environment() {
  std::vector<char*> out{const_cast<char*>("PATH=/usr/sbin:/usr/bin:/sbin:/bin"),
                         const_cast<char*>("LC_ALL=C")};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (std::strstr(*variable, "SAN_OPTIONS=") != nullptr) out.push_back(*variable);
  }
#endif
  out.push_back(nullptr);
  return out;
}

// A memory file that holds `secret`, to be read from its start.
Result<UniqueFd> secret_file(std::span<const std::uint8_t> secret) {
  UniqueFd fd(memfd_create("bondd-secret", MFD_CLOEXEC));
  if (!fd) return errno_failure("memory file");
  if (write(fd.get(), secret.data(), secret.size()) != static_cast<ssize_t>(secret.size()) ||
      lseek(fd.get(), 0, SEEK_SET) != 0) {
    return errno_failure("memory file");
  }
  return fd;
}

struct SpawnActions {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  SpawnActions() {
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnActions() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;

  // All signals as a fresh program has them, whatever the supervisor blocks; and a session of its own, so
  // that the keys of bondd's terminal, and its end, are bondd's alone to handle.
  void own_signals() {
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  }

  void redirect(int log_fd) {
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    if (log_fd >= 0) {
      if (log_fd != 1) posix_spawn_file_actions_adddup2(&files, log_fd, 1);
      if (log_fd != 2) posix_spawn_file_actions_adddup2(&files, log_fd, 2);
    } else {
      posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
      posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    }
  }
};

}  // namespace

EngineClient::EngineClient(FdChannel channel, pid_t pid, UniqueFd pidfd)
    : channel_(std::move(channel)), pid_(pid), pidfd_(std::move(pidfd)) {}

std::vector<std::string> EngineClient::arguments(const SpawnOptions& options, int fd) {
  std::vector<std::string> words{options.program, "--channel", std::to_string(fd)};
  if (!options.user.empty()) words.insert(words.end(), {"--user", options.user});
  return words;
}

Result<EngineClient> EngineClient::spawn(const SpawnOptions& options) {
  auto pair = FdChannel::make_pair();
  if (!pair) return tl::make_unexpected(pair.error());
  SpawnActions actions;
  actions.own_signals();
  actions.redirect(options.log_fd);
  posix_spawn_file_actions_adddup2(&actions.files, pair->second.fd(), kEngineFd);
  // Not every library opens its files with CLOEXEC: the log's does not.
  posix_spawn_file_actions_addclosefrom_np(&actions.files, kEngineFd + 1);
  std::vector<std::string> words = arguments(options, kEngineFd);
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = -1;
  std::vector<char*> environment = clean_environment();
  const int error = posix_spawn(&pid, options.program.c_str(), &actions.files, &actions.attributes,
                                argv.data(), environment.data());
  if (error != 0) return errno_failure("start " + options.program, error);
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  return EngineClient(std::move(pair->first), pid, std::move(pidfd));
}

Result<> EngineClient::start(const EngineStart& config, int tun, std::span<const std::uint8_t> keys,
                             std::span<const int> sockets) {
  auto secret = secret_file(keys);
  if (!secret) return tl::make_unexpected(secret.error());
  std::vector<int> fds{tun, secret->get()};
  fds.insert(fds.end(), sockets.begin(), sockets.end());
  return request(config, fds);
}

Result<> EngineClient::set_password(std::span<const std::uint8_t> keys) {
  auto secret = secret_file(keys);
  if (!secret) return tl::make_unexpected(secret.error());
  const int fd = secret->get();
  return request(EngineSetPassword{}, std::span{&fd, 1});
}

Result<> EngineClient::request(const EngineRequest& request, std::span<const int> fds) {
  return channel_.send(render(request), fds).map_error([](const Error& error) {
    return error.in("bondd-engine");
  });
}

Result<std::optional<EngineReport>> EngineClient::receive() {
  auto message = channel_.receive();
  if (!message) return tl::make_unexpected(message.error().in("bondd-engine"));
  if (!*message) return std::optional<EngineReport>{};
  auto report = parse_report((*message)->text);
  if (!report) return tl::make_unexpected(report.error().in("bondd-engine"));
  return std::optional<EngineReport>{std::move(*report)};
}

}  // namespace bondd::ipc

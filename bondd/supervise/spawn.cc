#include "bondd/supervise/spawn.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <csignal>
#include <cstdlib>

#include "bondd/base/file.h"

namespace bondd::supervise {
namespace {

constexpr const char* kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr int kExecFailed = 127;

// What the child needs, made ready before fork(): after it only async-signal-safe
// calls are allowed.
struct Image {
  std::vector<char*> argv;
  std::vector<char*> environment;
};

Image make_image(const std::vector<std::string>& argv, const std::vector<std::string>& environment) {
  Image image;
  for (const std::string& word : argv) image.argv.push_back(const_cast<char*>(word.c_str()));
  image.argv.push_back(nullptr);
  image.environment = {const_cast<char*>(kPath), const_cast<char*>("LC_ALL=C")};
  for (const std::string& entry : environment) image.environment.push_back(const_cast<char*>(entry.c_str()));
  image.environment.push_back(nullptr);
  return image;
}

// Puts fds[i] at descriptor i. Each is first moved out of the way of the three.
bool place(std::array<int, 3> fds) {
  for (int& fd : fds) {
    fd = ::fcntl(fd, F_DUPFD_CLOEXEC, 10);
    if (fd < 0) return false;
  }
  for (int i = 0; i < 3; ++i) {
    if (::dup2(fds[static_cast<std::size_t>(i)], i) < 0) return false;
  }
  return true;
}

void reset_signals() {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  for (int i = 1; i < NSIG; ++i) ::sigaction(i, &action, nullptr);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// What reads the Internet writes no files, leaves no core file and has bounded memory: openvpn needs 20 MB.
constexpr rlim_t kMaxData = 512U << 20U;

void limit_itself() {
  const rlimit none{0, 0}, data{kMaxData, kMaxData};
  ::setrlimit(RLIMIT_FSIZE, &none);
  ::setrlimit(RLIMIT_CORE, &none);
  ::setrlimit(RLIMIT_DATA, &data);
}

// In the child. `report` closes when exec succeeds, and carries errno when it does not.
[[noreturn]] void become(const Image& image, std::array<int, 3> fds, const SpawnOptions& options,
                         pid_t parent, int report) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kExecFailed);  // it died before we asked to be told
  if (options.own_group) ::setpgid(0, 0);
  if (!options.writes_files) limit_itself();
  if (place(fds)) {
    reset_signals();
    ::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
    ::execve(image.argv[0], image.argv.data(), image.environment.data());
  }
  const int error = errno;
  [[maybe_unused]] const ssize_t n = ::write(report, &error, sizeof error);
  ::_exit(kExecFailed);
}

// A process may signal those that have its real user. Only this thread's changes (setresuid(3) changes all),
// and neither its rights nor its effective user. Returns errno, or 0.
int signal_as(uid_t user, int pidfd, int signal) {
  constexpr auto kSame = static_cast<uid_t>(-1);
  const uid_t own = ::getuid();
  if (::syscall(SYS_setresuid, user, kSame, kSame) != 0) return errno;
  const long sent = ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0);
  const int error = sent == 0 ? 0 : errno;
  if (::syscall(SYS_setresuid, own, kSame, kSame) != 0) return errno;
  return error;
}

}  // namespace

Result<Spawned> spawn(const std::vector<std::string>& argv, const SpawnOptions& options) {
  if (argv.empty()) return failure("no program to start");
  const std::string what = fmt::format("cannot start {}", argv[0]);
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return errno_failure("/dev/null");
  std::array<int, 2> report{};
  if (::pipe2(report.data(), O_CLOEXEC) != 0) return errno_failure("pipe2");
  const UniqueFd read_end(report[0]);
  UniqueFd write_end(report[1]);

  const auto or_null = [&](int fd) { return fd >= 0 ? fd : null.get(); };
  const std::array<int, 3> fds{or_null(options.input), or_null(options.output), or_null(options.errors)};
  const Image image = make_image(argv, options.environment);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return errno_failure(what);
  if (pid == 0) become(image, fds, options, parent, write_end.get());

  write_end.reset();
  Spawned child{pid, UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)))};
  const int pidfd_error = child.pidfd ? 0 : errno;
  int error = 0;
  ssize_t n = 0;
  do {
    n = ::read(read_end.get(), &error, sizeof error);
  } while (n < 0 && errno == EINTR);
  if (n == sizeof error || pidfd_error != 0) {
    if (pidfd_error != 0) ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return errno_failure(what, n == sizeof error ? error : pidfd_error);
  }
  return child;
}

std::optional<Ended> try_wait(int pidfd) {
  siginfo_t info{};
  const auto id = static_cast<id_t>(pidfd);
  if (::waitid(static_cast<idtype_t>(P_PIDFD), id, &info, WEXITED | WNOHANG) != 0) {
    return Ended{-1, {}};  // ECHILD: somebody else reaped it
  }
  if (info.si_pid == 0) return std::nullopt;
  if (info.si_code == CLD_EXITED) return Ended{info.si_status, {}};
  return Ended{{}, info.si_status};
}

Result<> send_signal(int pidfd, int signal) {
  int error = ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) == 0 ? 0 : errno;
  // bondd@.service has no CAP_KILL.
  const passwd* user = error == EPERM ? unprivileged_user() : nullptr;
  if (user != nullptr) error = signal_as(user->pw_uid, pidfd, signal);
  return error == 0 || error == ESRCH ? Result<>() : errno_failure("pidfd_send_signal", error);
}

const passwd* unprivileged_user() {
  for (const char* name : {"_bondd", "openvpn", "nobody"}) {
    if (const passwd* user = ::getpwnam(name)) return user;
  }
  return nullptr;
}

std::optional<std::uint64_t> start_time(pid_t pid) {
  const Result<std::string> stat = read_file(fmt::format("/proc/{}/stat", pid));
  if (!stat) return std::nullopt;
  // "PID (NAME) STATE …": the name may hold anything, so count fields from the last ')'.
  std::size_t at = stat->rfind(')');
  if (at == std::string::npos) return std::nullopt;
  for (int field = 2; field < 22; ++field) {
    at = stat->find(' ', at + 1);
    if (at == std::string::npos) return std::nullopt;
  }
  std::uint64_t ticks = 0;
  const auto [end, error] = std::from_chars(stat->data() + at + 1, stat->data() + stat->size(), ticks);
  if (error != std::errc{}) return std::nullopt;
  return ticks;
}

std::vector<std::string> arguments(pid_t pid) {
  std::vector<std::string> out;
  const Result<std::string> text = read_file(fmt::format("/proc/{}/cmdline", pid));
  if (!text) return out;
  for (std::size_t at = 0; at < text->size();) {
    const std::size_t end = std::min(text->find('\0', at), text->size());
    out.push_back(text->substr(at, end - at));
    at = end + 1;
  }
  return out;
}

}  // namespace bondd::supervise

#include "bondd/supervise/run_program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "bondd/base/unique_fd.h"
#include "bondd/supervise/spawn.h"

namespace bondd::supervise {
namespace {

constexpr std::size_t kOutputMax = 4 << 20;
using Clock = std::chrono::steady_clock;

struct Pipe {
  UniqueFd read, write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) return errno_failure("pipe2");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

void set_nonblocking(int fd) {
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
}

// Reads once; closes `fd` at its end. What is over the limit is read and forgotten.
void read_some(UniqueFd& fd, std::string& into) {
  std::array<char, 16384> buffer{};
  const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
  if (n > 0) {
    const std::size_t room = kOutputMax - std::min(kOutputMax, into.size());
    into.append(buffer.data(), std::min(room, static_cast<std::size_t>(n)));
  } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
    fd.reset();
  }
}

void write_some(UniqueFd& fd, std::string_view& rest) {
  const ssize_t n = ::write(fd.get(), rest.data(), rest.size());
  if (n > 0) rest.remove_prefix(static_cast<std::size_t>(n));
  if (rest.empty() || (n < 0 && errno != EAGAIN && errno != EINTR)) fd.reset();
}

// A program may end without reading its input: EPIPE is then enough of an answer.
class IgnoreSigpipe {
 public:
  IgnoreSigpipe() : before_(std::signal(SIGPIPE, SIG_IGN)) {}
  ~IgnoreSigpipe() { std::signal(SIGPIPE, before_); }
  IgnoreSigpipe(const IgnoreSigpipe&) = delete;
  IgnoreSigpipe& operator=(const IgnoreSigpipe&) = delete;

 private:
  void (*before_)(int);
};

struct Run {
  Spawned child;
  UniqueFd input, output, errors;
  std::string_view rest;
  ProgramResult result;
};

// One turn of waiting. True when the program has ended and all it wrote is read.
bool turn(Run& run, Clock::time_point deadline) {
  std::array<pollfd, 4> fds{pollfd{run.child.pidfd.get(), POLLIN, 0}, pollfd{run.input.get(), POLLOUT, 0},
                            pollfd{run.output.get(), POLLIN, 0}, pollfd{run.errors.get(), POLLIN, 0}};
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  ::poll(fds.data(), fds.size(), static_cast<int>(std::max<std::int64_t>(0, left)));
  if (fds[1].revents != 0) write_some(run.input, run.rest);
  if (fds[2].revents != 0) read_some(run.output, run.result.output);
  if (fds[3].revents != 0) read_some(run.errors, run.result.errors);
  // A grandchild may hold the pipes: the program's end is enough once nothing more is there.
  const bool quiet = fds[2].revents == 0 && fds[3].revents == 0;
  return fds[0].revents != 0 && quiet;
}

}  // namespace

std::optional<std::string> find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    return ::access(name.c_str(), X_OK) == 0 ? std::optional(name) : std::nullopt;
  }
  for (const char* dir : {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}) {
    std::string path = fmt::format("{}/{}", dir, name);
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return std::nullopt;
}

std::optional<std::filesystem::path> find_own_program(const std::string& name) {
  std::error_code ignored;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const auto& base : {own.parent_path(), own.parent_path().parent_path()}) {
    auto program = base / "libexec/bondd" / name;
    if (::access(program.c_str(), X_OK) == 0) return program;
  }
  return std::nullopt;
}

Result<ProgramResult> run_program(const std::vector<std::string>& argv, const std::string& input,
                                  Duration timeout) {
  if (argv.empty()) return failure("no program to run");
  std::vector<std::string> words = argv;
  const std::optional<std::string> path = find_program(words[0]);
  if (!path) return failure(fmt::format("{} is not installed", words[0]), ENOENT);
  words[0] = *path;

  Result<Pipe> in = make_pipe();
  Result<Pipe> out = make_pipe();
  Result<Pipe> err = make_pipe();
  if (!in || !out || !err) return failure("cannot make a pipe");
  SpawnOptions options;
  options.input = in->read.get();
  options.output = out->write.get();
  options.errors = err->write.get();
  Result<Spawned> child = spawn(words, options);
  if (!child) return tl::make_unexpected(child.error());

  const IgnoreSigpipe guard;
  Run run{std::move(*child), std::move(in->write), std::move(out->read), std::move(err->read), input, {}};
  in->read.reset();
  out->write.reset();
  err->write.reset();
  for (const UniqueFd* fd : {&run.input, &run.output, &run.errors}) set_nonblocking(fd->get());
  if (input.empty()) run.input.reset();

  const Clock::time_point deadline = Clock::now() + timeout;
  while (!turn(run, deadline)) {
    if (Clock::now() < deadline) continue;
    (void)send_signal(run.child.pidfd.get(), SIGKILL);
    ::waitpid(run.child.pid, nullptr, 0);
    return failure(fmt::format("{} did not end within {}", words[0], format_duration(timeout)), ETIMEDOUT);
  }
  const std::optional<Ended> ended = try_wait(run.child.pidfd.get());
  if (ended && ended->status) run.result.status = *ended->status;
  if (ended) run.result.signal = ended->signal;
  return std::move(run.result);
}

}  // namespace bondd::supervise

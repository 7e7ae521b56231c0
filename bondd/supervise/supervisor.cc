#include "bondd/supervise/supervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <map>
#include <utility>

#include "bondd/base/file.h"
#include "bondd/base/unique_fd.h"
#include "bondd/supervise/lines.h"
#include "bondd/supervise/pid_file.h"
#include "bondd/supervise/spawn.h"

namespace bondd::supervise {
namespace {

struct Entry {
  explicit Entry(model::Process what) : process(std::move(what)) {}

  model::Process process;
  ChildState state = ChildState::kWaiting;
  Spawned child;
  UniqueFd output;
  LineReader lines;
  TimePoint since;
  std::optional<TimePoint> deadline;   // waiting: start again; stopping: kill
  std::optional<model::Process> next;  // to start when this one is gone
  unsigned early_deaths = 0, restarts = 0;
};

class RealSupervisor final : public Supervisor {
 public:
  RealSupervisor(Options options, Callbacks callbacks, UniqueFd epoll)
      : options_(std::move(options)), callbacks_(std::move(callbacks)), epoll_(std::move(epoll)) {}
  ~RealSupervisor() override;

  [[nodiscard]] int fd() const override { return epoll_.get(); }
  [[nodiscard]] std::optional<TimePoint> next_deadline() const override;
  void dispatch(TimePoint now) override;
  Result<> start(TimePoint now, const model::Process& process) override;
  void stop(TimePoint now, const std::string& id) override;
  void restart(TimePoint now, const std::string& id) override;
  void stop_all(TimePoint now) override;
  [[nodiscard]] std::vector<Child> children() const override;
  [[nodiscard]] bool idle() const override { return entries_.empty(); }

 private:
  Result<> launch(TimePoint now, Entry& entry);
  Result<> spawn_child(Entry& entry);
  void watch(int fd);
  void terminate(TimePoint now, Entry& entry);
  void remove_files(const model::Process& process) const;
  void read_output(TimePoint now, Entry& entry);
  void tell_line(const Entry& entry, std::string_view line);
  void check_ended(TimePoint now, const std::string& id);
  void handle_wanted_end(TimePoint now, Entry& entry);
  void handle_death(TimePoint now, Entry& entry, Exit exit);
  void check_deadline(TimePoint now, Entry& entry);
  [[nodiscard]] Duration backoff(unsigned early_deaths) const;
  // Callbacks may call us back, so they run when the tables are at rest.
  template <typename Callback, typename... Args>
  void later(const Callback& callback, Args... args) {
    if (callback) later_.push_back([&callback, ... args = std::move(args)] { callback(args...); });
  }
  void run_later();

  Options options_;
  Callbacks callbacks_;
  UniqueFd epoll_;
  std::map<std::string, Entry> entries_;
  std::vector<std::function<void()>> later_;
};

// Nobody outlives its supervisor. What dies here is not waited for longer than SIGKILL takes.
RealSupervisor::~RealSupervisor() {
  for (auto& [id, entry] : entries_) {
    if (!entry.child.pidfd) continue;
    (void)send_signal(entry.child.pidfd.get(), SIGKILL);
    while (!try_wait(entry.child.pidfd.get())) ::usleep(1000);
    remove_files(entry.process);
  }
}

std::optional<TimePoint> RealSupervisor::next_deadline() const {
  std::optional<TimePoint> first;
  for (const auto& [id, entry] : entries_) {
    if (entry.deadline && (!first || *entry.deadline < *first)) first = entry.deadline;
  }
  return first;
}

Duration RealSupervisor::backoff(unsigned early_deaths) const {
  Duration delay = options_.first_backoff;
  for (unsigned i = 1; i < early_deaths && delay < options_.max_backoff; ++i) delay *= 2;
  return std::min(delay, options_.max_backoff);
}

void RealSupervisor::watch(int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

Result<> RealSupervisor::spawn_child(Entry& entry) {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) return errno_failure("pipe2");
  UniqueFd read_end(fds[0]);
  const UniqueFd write_end(fds[1]);
  ::fcntl(read_end.get(), F_SETFL, O_NONBLOCK);
  SpawnOptions options;
  options.output = options.errors = write_end.get();
  options.writes_files = false;
  Result<Spawned> child = spawn(entry.process.argv, options);
  if (!child) return tl::make_unexpected(child.error());
  Result<> noted = write_pid_file(options_.run_dir, entry.process, child->pid);
  if (!noted) {
    (void)send_signal(child->pidfd.get(), SIGKILL);
    while (!try_wait(child->pidfd.get())) ::usleep(1000);
    return noted;
  }
  entry.child = std::move(*child);
  entry.output = std::move(read_end);
  entry.lines = LineReader();
  watch(entry.child.pidfd.get());
  watch(entry.output.get());
  return {};
}

Result<> RealSupervisor::launch(TimePoint now, Entry& entry) {
  for (const model::File& file : entry.process.files) {
    Result<> written = write_file_atomically(file.path, file.content, file.mode);
    if (!written) {
      remove_files(entry.process);
      return written;
    }
  }
  Result<> spawned = spawn_child(entry);
  if (!spawned) {
    remove_files(entry.process);
    return spawned;
  }
  entry.state = ChildState::kRunning;
  entry.since = now;
  entry.deadline.reset();
  return {};
}

Result<> RealSupervisor::start(TimePoint now, const model::Process& process) {
  const auto found = entries_.find(process.id);
  if (found != entries_.end()) {
    Entry& old = found->second;
    if (old.state == ChildState::kRunning && old.process == process) return {};
    if (old.state != ChildState::kWaiting) {
      old.next = process;
      if (old.state == ChildState::kRunning) terminate(now, old);
      return {};
    }
    entries_.erase(found);
  }
  Entry entry(process);
  const Result<> launched = launch(now, entry);
  if (!launched) return tl::make_unexpected(launched.error().in(process.id));
  entries_.emplace(process.id, std::move(entry));
  return {};
}

void RealSupervisor::terminate(TimePoint now, Entry& entry) {
  (void)send_signal(entry.child.pidfd.get(), SIGTERM);
  entry.state = ChildState::kStopping;
  entry.deadline = now + options_.grace;
}

void RealSupervisor::stop(TimePoint now, const std::string& id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  entry.next.reset();
  if (entry.state == ChildState::kRunning) terminate(now, entry);
  if (entry.state == ChildState::kWaiting) {
    remove_files(entry.process);
    entries_.erase(found);
  }
}

void RealSupervisor::restart(TimePoint now, const std::string& id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  if (entry.state == ChildState::kRunning) {
    entry.next = entry.process;
    terminate(now, entry);
  } else if (entry.state == ChildState::kWaiting) {
    entry.deadline = now;
  }
}

void RealSupervisor::stop_all(TimePoint now) {
  std::vector<std::string> ids;
  for (const auto& [id, entry] : entries_) ids.push_back(id);
  for (const std::string& id : ids) stop(now, id);
}

std::vector<Child> RealSupervisor::children() const {
  std::vector<Child> out;
  for (const auto& [id, entry] : entries_) {
    out.push_back(
        {entry.process, entry.state, entry.child.pidfd ? entry.child.pid : -1, entry.since, entry.restarts});
  }
  return out;
}

void RealSupervisor::remove_files(const model::Process& process) const {
  remove_pid_file(options_.run_dir, process.id);
  for (const model::File& file : process.files) ::unlink(file.path.c_str());
  if (!process.management_socket.empty()) ::unlink(process.management_socket.c_str());
}

void RealSupervisor::tell_line(const Entry& entry, std::string_view line) {
  if (!callbacks_.on_line) return;
  later_.push_back(
      [this, process = entry.process, text = std::string(line)] { callbacks_.on_line(process, text); });
}

void RealSupervisor::read_output(TimePoint now, Entry& entry) {
  const auto on_line = [&](std::string_view line) { tell_line(entry, line); };
  std::array<char, 16384> buffer{};
  // A bounded number of reads: a child that never stops talking must not hold the others up.
  for (int i = 0; i < 16 && entry.output; ++i) {
    const ssize_t n = ::read(entry.output.get(), buffer.data(), buffer.size());
    if (n > 0) {
      entry.lines.feed(now, {buffer.data(), static_cast<std::size_t>(n)}, on_line);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
      entry.output.reset();
    } else {
      return;
    }
  }
}

void RealSupervisor::check_ended(TimePoint now, const std::string& id) {
  Entry& entry = entries_.at(id);
  if (!entry.child.pidfd) return;
  const std::optional<Ended> ended = try_wait(entry.child.pidfd.get());
  if (!ended) return;
  read_output(now, entry);
  entry.output.reset();  // a grandchild may hold the other end
  entry.lines.finish(now, [&](std::string_view line) { tell_line(entry, line); });
  entry.child.pidfd.reset();

  Exit exit;
  exit.id = id;
  exit.wan = entry.process.wan;
  exit.status = ended->status;
  exit.signal = ended->signal;
  exit.last_line = entry.lines.last_line();
  if (entry.state == ChildState::kStopping) {
    exit.wanted = true;
    later(callbacks_.on_exit, exit);
    handle_wanted_end(now, entry);
  } else {
    handle_death(now, entry, std::move(exit));
  }
}

void RealSupervisor::handle_wanted_end(TimePoint now, Entry& entry) {
  remove_files(entry.process);
  if (!entry.next) {
    entries_.erase(entry.process.id);
    return;
  }
  entry.process = std::move(*entry.next);
  entry.next.reset();
  entry.early_deaths = 0;
  entry.state = ChildState::kWaiting;
  entry.since = entry.deadline.emplace(now);
  check_deadline(now, entry);
}

void RealSupervisor::handle_death(TimePoint now, Entry& entry, Exit exit) {
  const bool stable = now - entry.since >= options_.stable_after;
  entry.early_deaths = stable ? 1 : entry.early_deaths + 1;
  exit.retry_in = backoff(entry.early_deaths);
  entry.state = ChildState::kWaiting;
  entry.since = now;
  entry.deadline = now + *exit.retry_in;
  remove_pid_file(options_.run_dir, entry.process.id);
  later(callbacks_.on_exit, std::move(exit));
}

void RealSupervisor::check_deadline(TimePoint now, Entry& entry) {
  if (!entry.deadline || *entry.deadline > now) return;
  if (entry.state == ChildState::kStopping) {
    (void)send_signal(entry.child.pidfd.get(), SIGKILL);
    entry.deadline.reset();
    return;
  }
  const Result<> launched = launch(now, entry);
  if (launched) {
    ++entry.restarts;
    later(callbacks_.on_started, entry.process, entry.child.pid);
    return;
  }
  const Duration delay = backoff(++entry.early_deaths);
  entry.deadline = now + delay;
  later(callbacks_.on_start_failed, entry.process, launched.error(), delay);
}

void RealSupervisor::dispatch(TimePoint now) {
  std::array<epoll_event, 64> events{};
  ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  // Few children: looking at each is cheaper than a table from descriptors to them, which
  // would have to be kept right while they come and go.
  std::vector<std::string> ids;
  for (const auto& [id, entry] : entries_) ids.push_back(id);
  for (const std::string& id : ids) {
    Entry& entry = entries_.at(id);
    read_output(now, entry);
    check_deadline(now, entry);
    check_ended(now, id);
  }
  run_later();
}

void RealSupervisor::run_later() {
  const auto queue = std::exchange(later_, {});
  for (const auto& callback : queue) callback();
}

}  // namespace

std::string describe(const Exit& exit) {
  std::string out = exit.signal
                        ? fmt::format("was ended by signal {} ({})", *exit.signal, ::strsignal(*exit.signal))
                        : fmt::format("ended with status {}", exit.status.value_or(-1));
  if (exit.retry_in) out += fmt::format(", retrying in {}", format_duration(*exit.retry_in));
  return out;
}

Result<std::unique_ptr<Supervisor>> make_supervisor(Options options, Callbacks callbacks) {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return errno_failure("epoll_create1");
  return std::make_unique<RealSupervisor>(std::move(options), std::move(callbacks), std::move(epoll));
}

}  // namespace bondd::supervise

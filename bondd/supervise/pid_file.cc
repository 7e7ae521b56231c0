#include "bondd/supervise/pid_file.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <csignal>
#include <optional>
#include <string_view>
#include <utility>

#include "bondd/base/file.h"
#include "bondd/base/unique_fd.h"
#include "bondd/supervise/spawn.h"
#include "bondd/supervise/supervisor.h"

namespace bondd::supervise {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".pid";

// Lines "KEY VALUE" (values have no line ends: a word with one is not recorded whole, and
// then matches no process).
struct Record {
  std::string boot;
  pid_t pid = -1;
  std::uint64_t started = 0;
  std::vector<std::string> argv;
  std::vector<std::string> files;
};

std::string boot_id() {
  const Result<std::string> text = read_file("/proc/sys/kernel/random/boot_id");
  return text ? text->substr(0, text->find('\n')) : "unknown";
}

fs::path pid_path(const fs::path& run_dir, const std::string& id) {
  return run_dir / (id + std::string(kSuffix));
}

template <typename Number>
bool to_number(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

std::optional<Record> parse(std::string_view text) {
  Record record;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) return std::nullopt;
    const std::string_view key = line.substr(0, space), value = line.substr(space + 1);
    if (key == "boot") record.boot = value;
    if (key == "pid" && !to_number(value, record.pid)) return std::nullopt;
    if (key == "started" && !to_number(value, record.started)) return std::nullopt;
    if (key == "arg") record.argv.emplace_back(value);
    if (key == "file") record.files.emplace_back(value);
  }
  if (record.pid <= 1 || record.argv.empty()) return std::nullopt;
  return record;
}

// Every pid file of the directory with its id; unreadable ones as empty records.
std::vector<std::pair<std::string, std::optional<Record>>> read_all(const fs::path& run_dir) {
  std::vector<std::pair<std::string, std::optional<Record>>> out;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(run_dir, error)) {
    const std::string name = entry.path().filename();
    if (!name.ends_with(kSuffix)) continue;
    const Result<std::string> text = read_file(entry.path());
    out.emplace_back(name.substr(0, name.size() - kSuffix.size()), text ? parse(*text) : std::nullopt);
  }
  return out;
}

bool is_alive(const Record& record, const std::string& boot) {
  return record.boot == boot && start_time(record.pid) == record.started &&
         arguments(record.pid) == record.argv;
}

// A descriptor for exactly that process: looked at again after it is held, so that the
// pid cannot have changed hands in between.
UniqueFd hold(const Record& record, const std::string& boot) {
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, record.pid, 0)));
  if (pidfd && !is_alive(record, boot)) pidfd.reset();
  return pidfd;
}

struct Held {
  std::string id;
  Record record;
  UniqueFd pidfd;
};

// Waits until all are gone or the time is over; drops those that are.
void await(std::vector<Held>& held, Duration timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!held.empty()) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd first{held[0].pidfd.get(), POLLIN, 0};
    const int n = ::poll(&first, 1, static_cast<int>(std::max<std::int64_t>(0, left)));
    if (n == 0) return;
    if (n > 0) held.erase(held.begin());
  }
}

void signal_all(const std::vector<Held>& held, int signal) {
  for (const Held& one : held) (void)send_signal(one.pidfd.get(), signal);
}

}  // namespace

Result<> write_pid_file(const fs::path& run_dir, const model::Process& process, pid_t pid) {
  const std::optional<std::uint64_t> started = start_time(pid);
  // Gone already: its exit will be seen and told; there is nothing to find later.
  if (!started) return {};
  std::string text = fmt::format("boot {}\npid {}\nstarted {}\n", boot_id(), pid, *started);
  for (const std::string& word : process.argv) text += fmt::format("arg {}\n", word);
  for (const model::File& file : process.files) text += fmt::format("file {}\n", file.path.string());
  if (!process.management_socket.empty()) {
    text += fmt::format("file {}\n", process.management_socket.string());
  }
  return write_file_atomically(pid_path(run_dir, process.id), text);
}

void remove_pid_file(const fs::path& run_dir, const std::string& id) {
  ::unlink(pid_path(run_dir, id).c_str());
}

std::vector<Leftover> find_leftovers(const fs::path& run_dir) {
  std::vector<Leftover> out;
  const std::string boot = boot_id();
  for (const auto& [id, record] : read_all(run_dir)) {
    if (record && is_alive(*record, boot)) out.push_back({id, record->pid});
  }
  return out;
}

Result<> end_leftovers(const fs::path& run_dir, Duration grace) {
  const std::string boot = boot_id();
  const auto records = read_all(run_dir);
  std::vector<Held> held;
  for (const auto& [id, record] : records) {
    if (!record) continue;
    UniqueFd pidfd = hold(*record, boot);
    if (pidfd) held.push_back({id, *record, std::move(pidfd)});
  }
  signal_all(held, SIGTERM);
  await(held, grace);
  signal_all(held, SIGKILL);
  await(held, std::chrono::seconds(1));
  if (!held.empty()) {
    return failure(fmt::format("{} (process {}) does not end", held[0].id, held[0].record.pid));
  }
  for (const auto& [id, record] : records) {
    if (record) {
      for (const std::string& file : record->files) ::unlink(file.c_str());
    }
    remove_pid_file(run_dir, id);
  }
  return {};
}

}  // namespace bondd::supervise

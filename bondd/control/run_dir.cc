#include "bondd/control/run_dir.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <sstream>
#include <thread>

#include "bondd/base/secret.h"
#include "bondd/control/sysctls.h"
#include "bondd/model/ownership.h"
#include "bondd/supervise/spawn.h"

namespace bondd::control {
namespace fs = std::filesystem;
namespace {

std::optional<unsigned> parse_number(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  return value;
}

Result<> make_private_dir(const fs::path& path) {
  if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return errno_failure(fmt::format("cannot make {}", path.native()));
}

constexpr const char* kForwardingUsers = "forwarding";

// "0\n1\n7\n"; a bondd before 0.2 wrote the first line only.
struct SysctlRecord {
  std::string before;
  std::optional<std::string> set;
  unsigned device = 0;
};

std::string to_text(const SysctlRecord& record) {
  return fmt::format("{}\n{}\n{}\n", record.before, record.set.value_or(record.before), record.device);
}

std::optional<SysctlRecord> read_sysctl_record(const fs::path& file) {
  const auto text = read_small_file(file);
  if (!text) return std::nullopt;
  std::istringstream lines(*text);
  SysctlRecord record;
  std::getline(lines, record.before);
  if (std::string set; std::getline(lines, set)) record.set = set;
  lines >> record.device;
  return record;
}

// "net:[4026531840]"
std::string own_netns() {
  std::error_code failed;
  return fs::read_symlink("/proc/self/ns/net", failed).native();
}

std::string replaced(std::string text, char from, char to) {
  std::replace(text.begin(), text.end(), from, to);
  return text;
}

Result<> write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno_failure("write");
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

}  // namespace

Result<> write_durably(const fs::path& path, std::string_view content, mode_t mode) {
  const fs::path temporary = path.parent_path() / fmt::format(".{}.new", path.filename().native());
  const UniqueFd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd) return errno_failure(fmt::format("cannot write {}", temporary.native()));
  if (auto done = write_all(fd.get(), content); !done)
    return tl::make_unexpected(done.error().in(path.native()));
  if (fsync(fd.get()) != 0 || rename(temporary.c_str(), path.c_str()) != 0) {
    return errno_failure(fmt::format("cannot write {}", path.native()));
  }
  return {};
}

Result<std::string> read_small_file(const fs::path& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_failure(fmt::format("cannot read {}", path.native()));
  std::string content;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t got = read(fd.get(), buffer.data(), buffer.size());
    if (got < 0) return errno_failure(fmt::format("cannot read {}", path.native()));
    if (got == 0) return content;
    content.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

Result<FileLock> FileLock::take(const fs::path& path, bool wait) {
  for (;;) {
    UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!fd) return errno_failure(fmt::format("cannot open {}", path.native()));
    if (flock(fd.get(), LOCK_EX | (wait ? 0 : LOCK_NB)) != 0) {
      if (errno == EINTR) continue;
      return errno_failure(fmt::format("{} is locked", path.native()));
    }
    // The holder before us may have unlinked it: then this lock protects nothing.
    struct stat held {};
    struct stat named {};
    if (fstat(fd.get(), &held) == 0 && stat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino &&
        held.st_dev == named.st_dev) {
      return FileLock(path, std::move(fd));
    }
  }
}

void FileLock::remove() {
  if (fd_) unlink(path_.c_str());
  fd_.reset();
}

RunDirView::RunDirView(fs::path root, std::string site)
    : root_(std::move(root)), site_(std::move(site)), path_(root_ / site_) {}

bool RunDirView::exists() const {
  std::error_code ignored;
  return fs::is_directory(path_, ignored);
}

bool RunDirView::is_safe() const {
  return unsafe_path(path_ / "lock").empty();
}

UniqueFd RunDirView::running_process() const {
  if (!running()) return {};
  std::istringstream text(read_small_file(path_ / "lock").value_or(""));
  pid_t pid = 0;
  std::uint64_t started = 0;
  if (!(text >> pid >> started) || pid <= 1) return {};
  UniqueFd held(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  std::error_code ignored;
  const std::string program = fs::read_symlink(fmt::format("/proc/{}/exe", pid), ignored).filename().string();
  // Looked at after it is held: the pid cannot have changed hands. A new package leaves "bondd (deleted)".
  const bool same = held && supervise::start_time(pid) == started && program.starts_with("bondd");
  return same ? std::move(held) : UniqueFd();
}

std::optional<pid_t> RunDirView::running() const {
  if (!is_safe()) return std::nullopt;
  const UniqueFd fd(open((path_ / "lock").c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  if (flock(fd.get(), LOCK_SH | LOCK_NB) == 0) return std::nullopt;  // closing lets go again
  const auto text = read_small_file(path_ / "lock");
  const auto pid = text ? parse_number(*text) : std::nullopt;
  return pid ? static_cast<pid_t>(*pid) : 0;
}

std::optional<unsigned> RunDirView::slot() const {
  if (!is_safe()) return std::nullopt;
  const auto text = read_small_file(path_ / "slot");
  const auto slot = text ? parse_number(*text) : std::nullopt;
  return slot && *slot < model::kSlots ? slot : std::nullopt;
}

fs::path RunDirView::sysctl_file(const std::string& key) const {
  return path_ / "sysctl" / replaced(key, '/', '%');
}

std::map<std::string, std::string> RunDirView::saved_sysctls() const {
  std::map<std::string, std::string> saved;
  if (!is_safe()) return saved;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(path_ / "sysctl", ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with('.')) continue;  // a write that was cut short: the change was not made
    const std::string key = replaced(name, '%', '/');
    if (!is_network_sysctl(key)) continue;
    if (const auto record = read_sysctl_record(entry.path())) saved[key] = record->before;
  }
  return saved;
}

unsigned RunDirView::sysctl_device_index(const std::string& key) const {
  const auto record = read_sysctl_record(sysctl_file(key));
  return record ? record->device : 0;
}

std::optional<std::string> RunDirView::sysctl_set(const std::string& key) const {
  const auto record = read_sysctl_record(sysctl_file(key));
  return record ? record->set : std::nullopt;
}

std::optional<std::set<std::string>> RunDirView::forwarding_users() const {
  const auto text = read_small_file(path_ / kForwardingUsers);
  if (!text) return std::nullopt;
  std::set<std::string> users;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) users.insert(line);
  return users;
}

namespace {

// As its bondd wrote it down. The kernel does not tell it of a process with more rights than one's own, which
// a `bondd up` by hand has for bondd@.service.
bool is_of_this_netns(const RunDirView& site) {
  std::istringstream text(read_small_file(site.path() / "lock").value_or(""));
  pid_t pid = 0;
  std::uint64_t started = 0;
  std::string netns;
  return text >> pid >> started >> netns && netns == own_netns();
}

}  // namespace

bool runs_in_this_netns(const RunDirView& site) {
  return site.running().value_or(0) > 0 && is_of_this_netns(site);
}

bool was_killed_in_this_netns(const RunDirView& site) {
  return !site.running() && is_of_this_netns(site);
}

std::vector<std::string> known_sites(const fs::path& root) {
  std::vector<std::string> sites;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(root, ignored)) {
    if (entry.is_directory(ignored)) sites.push_back(entry.path().filename().string());
  }
  std::sort(sites.begin(), sites.end());
  return sites;
}

namespace {

// RunDirView::running() holds the lock for a moment, too.
Result<FileLock> take_patiently(const fs::path& path) {
  constexpr int kTries = 5;
  for (int i = 1;; ++i) {
    auto lock = FileLock::take(path, false);
    if (lock || lock.error().code != EWOULDBLOCK || i == kTries) return lock;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace

std::optional<unsigned> lowest_free_slot(const fs::path& root) {
  std::set<unsigned> used;
  for (const std::string& site : known_sites(root)) {
    if (const auto slot = RunDirView(root, site).slot()) used.insert(*slot);
  }
  for (unsigned slot = 0; slot < model::kSlots; ++slot) {
    if (!used.contains(slot)) return slot;
  }
  return std::nullopt;
}

Result<RunDir> RunDir::take(const fs::path& root, const std::string& site) {
  const fs::path path = root / site;
  for (;;) {
    if (auto made = make_private_dir(root); !made) return tl::make_unexpected(made.error());
    if (auto made = make_private_dir(path); !made && made.error().code == ENOENT) continue;
    if (const std::string why = unsafe_path(path / "lock"); !why.empty())
      return failure(fmt::format("{} is not bondd's own: {}", path.native(), why), EPERM);
    auto lock = take_patiently(path / "lock");
    // Whoever left just now took the directory along: make it again.
    if (!lock && lock.error().code == ENOENT) continue;
    if (!lock) return tl::make_unexpected(lock.error());
    RunDir dir(root, site, std::move(*lock));
    // What a killed bondd wrote: until record_pid() nobody runs the site.
    if (ftruncate(dir.lock_.fd(), 0) != 0)
      return errno_failure(fmt::format("cannot write {}/lock", path.native()));
    if (auto made = make_private_dir(path / "sysctl"); !made) return tl::make_unexpected(made.error());
    return dir;
  }
}

Result<> RunDir::record_pid() {
  const std::string text =
      fmt::format("{} {} {}\n", getpid(), supervise::start_time(getpid()).value_or(0), own_netns());
  if (ftruncate(lock_.fd(), 0) != 0 ||
      pwrite(lock_.fd(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    return errno_failure(fmt::format("cannot write {}/lock", path_.native()));
  }
  return {};
}

Result<unsigned> RunDir::allocate_slot() {
  if (const auto mine = slot()) return *mine;
  auto lock = FileLock::take(root_ / ".lock", true);
  if (!lock) return tl::make_unexpected(lock.error());
  const auto slot_number = lowest_free_slot(root_);
  if (!slot_number) {
    return failure(
        fmt::format("{} sites are up on this machine, and there can be no more; `bondd status` lists them",
                    model::kSlots));
  }
  if (auto written = write_durably(path_ / "slot", fmt::format("{}\n", *slot_number)); !written) {
    return tl::make_unexpected(written.error());
  }
  return *slot_number;
}

Result<> RunDir::save_sysctl(const std::string& key, const std::string& before, const std::string& set,
                             unsigned device) {
  const auto record = read_sysctl_record(sysctl_file(key));
  if (record && record->set == set && record->device == device) return {};
  return write_durably(sysctl_file(key), to_text({record ? record->before : before, set, device}));
}

bool RunDir::hand_over_sysctl(const std::string& key) {
  const auto own = read_sysctl_record(sysctl_file(key));
  if (!own) return false;
  for (const std::string& site : known_sites(root_)) {
    const RunDirView view(root_, site);
    if (site == site_ || !(runs_in_this_netns(view) || was_killed_in_this_netns(view))) continue;
    const fs::path file = root_ / site / "sysctl" / sysctl_file(key).filename();
    const auto other = read_sysctl_record(file);
    if (!other) continue;
    // What it found was ours already, or it came first and ours was its.
    const std::string& before = own->set && other->before == *own->set ? own->before : other->before;
    return write_durably(file, to_text({before, other->set.value_or(before), other->device})).has_value();
  }
  return false;
}

Result<> RunDir::note_forwarding_users(const std::set<std::string>& users) {
  if (forwarding_users()) return {};
  std::string text;
  for (const std::string& user : users) text += user + '\n';
  return write_durably(path_ / kForwardingUsers, text);
}

void RunDir::forget_sysctl(const std::string& key) {
  unlink(sysctl_file(key).c_str());
}

void RunDir::remove() {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(path_, ignored)) {
    if (entry.path().filename() != "lock") fs::remove_all(entry.path(), ignored);
  }
  lock_.remove();
  rmdir(path_.c_str());
  // The root goes only when no other site is there; whoever hands out slots holds .lock.
  if (!known_sites(root_).empty()) return;
  if (auto lock = FileLock::take(root_ / ".lock", false)) lock->remove();
  rmdir(root_.c_str());
}

}  // namespace bondd::control

// What a running site keeps on disk, under /run/bondd (mode 0700, root's):
//
//   /run/bondd/.lock             held while slots are handed out
//   /run/bondd/SITE/lock         held as long as the site's bondd lives; pid, start time, namespace inside
//   /run/bondd/SITE/slot         a number, see model/ownership.h
//   /run/bondd/SITE/sysctl/KEY   the value before bondd's change, bondd's, the device's number; '/' in KEY is
//   '%' /run/bondd/SITE/forwarding   what of others' forwarded packets before bondd switched forwarding on
//   /run/bondd/SITE/PROCESS.pid  pid and start time of a child, see Leftover
//   /run/bondd/SITE/control.sock
//
// A directory that somebody else could have written (unsafe_path in base/secret.h) is not used: `take` fails,
// and a view finds nothing in it.
//
// It survives kill -9, so that the next `up` or `down` finds what to put right.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/unique_fd.h"

namespace bondd::control {

constexpr const char* kRunRoot = "/run/bondd";

// Writes a file so that after a crash either the old or the new content is there:
// a temporary file, fsync, rename.
Result<> write_durably(const std::filesystem::path& path, std::string_view content, mode_t mode = 0600);
// The whole of a small file; ENOENT and the like in the error's code.
Result<std::string> read_small_file(const std::filesystem::path& path);

// An flock(2) on a file of its own. The file goes away with remove().
class FileLock {
 public:
  // Waits at most until the holder lets go if `wait`, else fails with EWOULDBLOCK.
  static Result<FileLock> take(const std::filesystem::path& path, bool wait);
  [[nodiscard]] int fd() const { return fd_.get(); }
  // Unlinks the file and lets go, in this order, so that nobody locks a file without a name.
  void remove();

 private:
  FileLock(std::filesystem::path path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  std::filesystem::path path_;
  UniqueFd fd_;
};

// Looks into a site's directory without taking anything. Works on what is not there.
class RunDirView {
 public:
  RunDirView(std::filesystem::path root, std::string site);

  [[nodiscard]] const std::string& site() const { return site_; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path socket() const { return path_ / "control.sock"; }
  [[nodiscard]] std::filesystem::path log() const { return path_ / "log"; }
  [[nodiscard]] bool exists() const;
  // The pid of the bondd that runs this site, 0 while one takes it down or comes up; nothing if none does.
  [[nodiscard]] std::optional<pid_t> running() const;
  // That process, to be sent a signal: nothing unless it is the one that wrote its pid down, and a bondd.
  [[nodiscard]] UniqueFd running_process() const;
  [[nodiscard]] std::optional<unsigned> slot() const;
  // The values before bondd's changes, by key.
  [[nodiscard]] std::map<std::string, std::string> saved_sysctls() const;
  // The value that bondd set last; nothing if there is none on record.
  [[nodiscard]] std::optional<std::string> sysctl_set(const std::string& key) const;
  // The number of the device that it was of then; 0 if it was of none, or nothing is on record.
  [[nodiscard]] unsigned sysctl_device_index(const std::string& key) const;
  // See note_forwarding_users(); nothing if there is no note.
  [[nodiscard]] std::optional<std::set<std::string>> forwarding_users() const;

 protected:
  [[nodiscard]] bool is_safe() const;
  [[nodiscard]] std::filesystem::path sysctl_file(const std::string& key) const;
  std::filesystem::path root_;
  std::string site_;
  std::filesystem::path path_;
};

// True if a bondd runs the site in this process' network namespace: it shares its settings. Sites of several
// namespaces may share one /run.
bool runs_in_this_netns(const RunDirView& site);
// True if the site's bondd was killed here: what it changed is still to be put back.
bool was_killed_in_this_netns(const RunDirView& site);

// Sites that have a directory, running or left behind, sorted.
std::vector<std::string> known_sites(const std::filesystem::path& root);

// The slot that the next site would get; nothing if all are taken.
std::optional<unsigned> lowest_free_slot(const std::filesystem::path& root);

// The directory of a site that this process runs or cleans up: nobody else does
// while this lives.
class RunDir : public RunDirView {
 public:
  // Makes the directory and takes the site's lock. EWOULDBLOCK if another bondd has it.
  static Result<RunDir> take(const std::filesystem::path& root, const std::string& site);

  // The slot on record, or the lowest free one, then put on record. Fails when
  // other sites have them all.
  Result<unsigned> allocate_slot();
  // From now on this process runs the site: its pid goes into the lock.
  Result<> record_pid();
  // Durable. A value `before` on record stays; `set` is the one that bondd is about to write, `device` the
  // number of the device that it is of (0: of none).
  Result<> save_sysctl(const std::string& key, const std::string& before, const std::string& set,
                       unsigned device = 0);
  void forget_sysctl(const std::string& key);
  // Another site of this network namespace that runs, or was killed, has the setting, too: it puts the value
  // back that was before both. False if none does.
  bool hand_over_sysctl(const std::string& key);
  // Who had to do with forwarded packets before bondd switched forwarding on. Once: a note stays.
  Result<> note_forwarding_users(const std::set<std::string>& users);
  // Removes the directory with all in it, and the root if it was the last.
  void remove();

 private:
  RunDir(std::filesystem::path root, std::string site, FileLock lock)
      : RunDirView(std::move(root), std::move(site)), lock_(std::move(lock)) {}
  FileLock lock_;
};

}  // namespace bondd::control

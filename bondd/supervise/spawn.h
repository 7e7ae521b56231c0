// Making, watching and ending one process.
#pragma once

#include <pwd.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/unique_fd.h"

namespace bondd::supervise {

struct SpawnOptions {
  int input = -1;                // becomes standard input; -1: /dev/null
  int output = -1, errors = -1;  // become standard output and error
  bool writes_files = true;      // false: RLIMIT_FSIZE 0, and its memory bounded; for what reads the Internet
  std::vector<std::string> environment;  // "NAME=value", beside PATH and LC_ALL
  bool own_group = true;                 // Ctrl-C on the terminal is for bondd, not for its children
};

struct Spawned {
  pid_t pid = -1;
  UniqueFd pidfd;  // readable when it has ended
};

// Starts argv[0] (a path) with nothing open but the three standard descriptors, a clean
// environment, no signal blocked or ignored, and SIGKILL for it when the calling thread dies.
// (The kernel forgets that last wish when the program changes its user; openvpn does.)
// Returns after exec has succeeded; fails with its errno.
Result<Spawned> spawn(const std::vector<std::string>& argv, const SpawnOptions& options);

// How it ended, and reaps it. Empty while it still runs.
struct Ended {
  std::optional<int> status, signal;
};
std::optional<Ended> try_wait(int pidfd);
// Without CAP_KILL it reaches bondd's own user and, with CAP_SETUID, unprivileged_user()'s processes.
Result<> send_signal(int pidfd, int signal);

// The user that reads the Internet: _bondd, else openvpn, else nobody; null if there is none of them.
const passwd* unprivileged_user();

// When a process was started, in clock ticks since boot (field 22 of /proc/PID/stat): together
// with the pid it names one process for as long as the machine is up.
std::optional<std::uint64_t> start_time(pid_t pid);
// Its arguments; empty when it is gone or a zombie.
std::vector<std::string> arguments(pid_t pid);

}  // namespace bondd::supervise

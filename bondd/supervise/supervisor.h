// Child processes of a site: started with their files, watched by pidfd, their
// output passed on line by line, started again with back-off when they die, and
// found again by a later bondd when this one was killed.
//
// Life of a child:   start() -> running -> exits -> waits (back-off) -> running …
//                    stop(): SIGTERM -> grace -> SIGKILL -> gone
//
// No call blocks; the caller's loop waits for fd() and next_deadline().
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/units.h"
#include "bondd/model/state.h"

namespace bondd::supervise {

struct Options {
  std::filesystem::path run_dir;                            // exists; pid files "ID.pid" stand in it
  Duration grace = std::chrono::seconds(3);                 // from SIGTERM to SIGKILL
  Duration first_backoff = std::chrono::milliseconds(250);  // doubles with every early death
  Duration max_backoff = std::chrono::seconds(5);
  Duration stable_after = std::chrono::seconds(5);  // who ran that long starts again at once
};

// How a child ended. Exactly one of `status` and `signal` says it.
struct Exit {
  std::string id, wan;
  std::optional<int> status;
  std::optional<int> signal;
  bool wanted = false;               // stop() or restart() asked for it
  std::optional<Duration> retry_in;  // none: it stays down
  std::string last_line;             // of its output; may say why
};
std::string describe(const Exit& exit);  // "ended with status 1, retrying in 500ms"

struct Callbacks {
  // One line of output, without its end, at most 1000 bytes, invalid UTF-8 and
  // control characters replaced. At most 200 lines a second per child; what is
  // more is counted and said in one line.
  std::function<void(const model::Process&, std::string_view line)> on_line;
  std::function<void(const Exit&)> on_exit;
  // Started again after a death, or at last, by itself. Not called for start().
  std::function<void(const model::Process&, pid_t)> on_started;
  // Could not be started again; goes on trying.
  std::function<void(const model::Process&, const Error&, Duration retry_in)> on_start_failed;
};

enum class ChildState : std::uint8_t { kRunning, kWaiting, kStopping };

struct Child {
  model::Process process;
  ChildState state = ChildState::kWaiting;
  pid_t pid = -1;         // -1 while waiting
  TimePoint since;        // start of the present run, or end of the last
  unsigned restarts = 0;  // not asked for
};

class Supervisor {
 public:
  virtual ~Supervisor() = default;

  // An epoll descriptor, readable when dispatch() has something to do.
  [[nodiscard]] virtual int fd() const = 0;
  [[nodiscard]] virtual std::optional<TimePoint> next_deadline() const = 0;
  // Reads output, reaps the dead, starts again what is due, kills what outstays its grace.
  virtual void dispatch(TimePoint now) = 0;

  // Writes the process's files and starts it. Fails, and leaves nothing, when a file
  // cannot be written or the program cannot be executed. A process of that id that is being
  // stopped is waited for: the new one starts when the old is gone.
  virtual Result<> start(TimePoint now, const model::Process& process) = 0;
  // SIGTERM now, SIGKILL after the grace, its files and pid file removed when it
  // is gone. Nothing to do for an unknown id.
  virtual void stop(TimePoint now, const std::string& id) = 0;
  // Ends it, and starts it again as soon as it is gone, without back-off.
  virtual void restart(TimePoint now, const std::string& id) = 0;
  virtual void stop_all(TimePoint now) = 0;

  [[nodiscard]] virtual std::vector<Child> children() const = 0;
  // No child is left, also none that is being stopped.
  [[nodiscard]] virtual bool idle() const = 0;
};

Result<std::unique_ptr<Supervisor>> make_supervisor(Options options, Callbacks callbacks);

// A process that a bondd which was killed left behind in `run_dir`: its pid file's pid
// is alive, was started at that time, and still runs that program. Never another process that
// got the same pid.
struct Leftover {
  std::string id;
  pid_t pid = -1;
};
std::vector<Leftover> find_leftovers(const std::filesystem::path& run_dir);
// SIGTERM, and after `grace` SIGKILL, to all leftovers; then removes the pid files
// and the processes' files. Blocks up to grace + 1 s. Fails, naming it, if one survives.
Result<> end_leftovers(const std::filesystem::path& run_dir, Duration grace = std::chrono::seconds(2));

}  // namespace bondd::supervise

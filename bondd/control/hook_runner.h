// Runs hook programs beside the loop: one after the other, so that a script sees changes in their order, each
// for a limited time. Nothing waits for them.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "bondd/control/event_loop.h"
#include "bondd/control/log.h"
#include "bondd/supervise/lines.h"
#include "bondd/supervise/spawn.h"

namespace bondd::control {

class HookRunner {
 public:
  // A site that flaps while a program hangs must not fill the memory.
  static constexpr std::size_t kMostWaiting = 64;

  // How a run ended.
  struct Outcome {
    bool ok = false;                  // exit status 0
    std::vector<std::string> output;  // its first kMostShown lines, printable
    std::string ended;                // in words: "exit status 0 after 0.1 s"
  };
  static constexpr std::size_t kMostShown = 100;

  struct Run {
    std::vector<std::string> argv;               // argv[0] is an absolute path
    std::vector<std::string> environment;        // "NAME=value", beside PATH and LC_ALL
    Duration timeout{};                          // then it is killed, with what it started
    std::function<void(const Outcome&)> on_end;  // may be empty
  };

  // Both borrowed.
  HookRunner(EventLoop& loop, Log& log) : loop_(loop), log_(log) {}
  ~HookRunner();  // kills the one that runs
  HookRunner(const HookRunner&) = delete;
  HookRunner& operator=(const HookRunner&) = delete;

  // To be run once those before it have ended. With kMostWaiting waiting already it is left out, and the log
  // says so.
  void add(Run run);

 private:
  void start_next();
  void read_output();
  void on_exit();
  void kill_group();
  void finish(Outcome outcome);
  [[nodiscard]] std::string name() const;

  EventLoop& loop_;
  Log& log_;
  std::deque<Run> waiting_;
  std::size_t left_out_ = 0;
  // The one that runs.
  Run run_;
  TimePoint began_;
  bool timed_out_ = false;
  supervise::Spawned child_;
  UniqueFd output_;
  supervise::LineReader reader_;
  Outcome outcome_;
  Registration output_watch_, exit_watch_, timer_;
};

}  // namespace bondd::control

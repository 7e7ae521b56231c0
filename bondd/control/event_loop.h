// The daemon's one loop: descriptors, timers, signals and calls from other threads,
// on epoll. Everything runs on the thread that calls run(), except post().
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/unique_fd.h"
#include "bondd/base/units.h"

namespace bondd::control {

class EventLoop;

// Keeps a watch or a timer alive; dropping it ends it, also from within its own
// call. The loop must outlive it.
class [[nodiscard]] Registration {
 public:
  Registration() = default;
  Registration(Registration&& other) noexcept : loop_(std::exchange(other.loop_, nullptr)), id_(other.id_) {}
  Registration& operator=(Registration&& other) noexcept;
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;
  ~Registration() { cancel(); }
  void cancel();
  explicit operator bool() const { return loop_ != nullptr; }

 private:
  friend class EventLoop;
  Registration(EventLoop* loop, std::uint64_t id) : loop_(loop), id_(id) {}
  EventLoop* loop_ = nullptr;
  std::uint64_t id_ = 0;
};

class EventLoop {
 public:
  // Fails only when the process is out of descriptors.
  static Result<std::unique_ptr<EventLoop>> create();

  // Calls `on_events` with the EPOLL* bits whenever `fd` (borrowed) has one of `events`.
  Registration watch(int fd, std::uint32_t events, std::function<void(std::uint32_t)> on_events);
  // Calls once, at or after that time; the Registration may be kept after that.
  Registration at(TimePoint when, std::function<void()> call);
  Registration after(Duration delay, std::function<void()> call);
  // Blocks these signals for the calling thread (and threads it makes later) and
  // passes them on. Once per loop.
  Result<> watch_signals(const std::vector<int>& signals, std::function<void(int)> on_signal);
  // Runs `call` on the loop's thread, soon. The only member for other threads.
  void post(std::function<void()> call);

  static TimePoint now() { return std::chrono::steady_clock::now(); }

  void run();  // until quit()
  void quit() { quit_ = true; }
  // One turn: waits at most `limit`, handles what is due.
  void turn(Duration limit);

 private:
  friend class Registration;
  struct Timer {
    std::uint64_t id;
    std::shared_ptr<std::function<void()>> call;
  };
  struct Watch {
    int fd;
    std::shared_ptr<std::function<void(std::uint32_t)>> call;
  };
  EventLoop(UniqueFd epoll, UniqueFd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  void cancel(std::uint64_t id);
  void run_posted();
  void run_timers();
  [[nodiscard]] Duration until_next_timer(Duration limit) const;

  UniqueFd epoll_, wake_, signals_;
  std::map<std::uint64_t, Watch> watches_;
  std::multimap<TimePoint, Timer> timers_;
  Registration wake_watch_, signal_watch_;  // after watches_, which they leave last
  std::uint64_t next_id_ = 1;
  bool quit_ = false;
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;  // guarded by mutex_
};

}  // namespace bondd::control

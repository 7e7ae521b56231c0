#include "bondd/control/event_loop.h"

#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

namespace bondd::control {

Registration& Registration::operator=(Registration&& other) noexcept {
  if (this != &other) {
    cancel();
    loop_ = std::exchange(other.loop_, nullptr);
    id_ = other.id_;
  }
  return *this;
}

void Registration::cancel() {
  if (EventLoop* loop = std::exchange(loop_, nullptr)) loop->cancel(id_);
}

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return errno_failure("epoll_create1");
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return errno_failure("eventfd");
  std::unique_ptr<EventLoop> loop(new EventLoop(std::move(epoll), std::move(wake)));
  loop->wake_watch_ =
      loop->watch(loop->wake_.get(), EPOLLIN, [raw = loop.get()](std::uint32_t) { raw->run_posted(); });
  return loop;
}

Registration EventLoop::watch(int fd, std::uint32_t events, std::function<void(std::uint32_t)> on_events) {
  const std::uint64_t id = next_id_++;
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  // A bad descriptor is our own bug; the watch is then never called.
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return {};
  watches_[id] = {fd, std::make_shared<std::function<void(std::uint32_t)>>(std::move(on_events))};
  return {this, id};
}

Registration EventLoop::at(TimePoint when, std::function<void()> call) {
  const std::uint64_t id = next_id_++;
  timers_.emplace(when, Timer{id, std::make_shared<std::function<void()>>(std::move(call))});
  return {this, id};
}

Registration EventLoop::after(Duration delay, std::function<void()> call) {
  return at(now() + delay, std::move(call));
}

Result<> EventLoop::watch_signals(const std::vector<int>& signals, std::function<void(int)> on_signal) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  if (const int code = pthread_sigmask(SIG_BLOCK, &set, nullptr); code != 0) {
    return errno_failure("pthread_sigmask", code);
  }
  signals_.reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return errno_failure("signalfd");
  signal_watch_ = watch(signals_.get(), EPOLLIN, [this, on_signal = std::move(on_signal)](std::uint32_t) {
    signalfd_siginfo info{};
    while (read(signals_.get(), &info, sizeof info) == sizeof info) {
      on_signal(static_cast<int>(info.ssi_signo));
    }
  });
  return {};
}

void EventLoop::post(std::function<void()> call) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(call));
  }
  const std::uint64_t one = 1;
  // EAGAIN means that a wake-up is pending anyway.
  [[maybe_unused]] const ssize_t written = write(wake_.get(), &one, sizeof one);
}

void EventLoop::run_posted() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = read(wake_.get(), &count, sizeof count);
  std::vector<std::function<void()>> calls;
  {
    const std::lock_guard lock(mutex_);
    calls.swap(posted_);
  }
  for (const auto& call : calls) call();
}

void EventLoop::run_timers() {
  // Only what is due at entry: a timer that arms itself again at once must not starve descriptors.
  const TimePoint entered = now();
  const std::uint64_t newest = next_id_;
  while (!timers_.empty()) {
    const auto first = timers_.begin();
    if (first->first > entered || first->second.id >= newest) break;
    const auto call = first->second.call;
    timers_.erase(first);
    (*call)();
  }
}

Duration EventLoop::until_next_timer(Duration limit) const {
  if (timers_.empty()) return limit;
  return std::clamp(Duration(timers_.begin()->first - now()), Duration(0), limit);
}

void EventLoop::turn(Duration limit) {
  std::array<epoll_event, 32> events{};
  const Duration wait = until_next_timer(limit);
  timespec timeout{};
  timeout.tv_sec = wait / std::chrono::seconds(1);
  timeout.tv_nsec = (wait % std::chrono::seconds(1)).count();
  const int count =
      epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()), &timeout, nullptr);
  for (int i = 0; i < count; ++i) {
    const auto& event = events[static_cast<std::size_t>(i)];
    const auto found = watches_.find(event.data.u64);  // gone if an earlier call of this turn ended it
    if (found == watches_.end()) continue;
    const auto call = found->second.call;
    (*call)(event.events);
  }
  run_timers();
}

void EventLoop::run() {
  quit_ = false;
  while (!quit_) turn(std::chrono::hours(1));
}

void EventLoop::cancel(std::uint64_t id) {
  if (const auto found = watches_.find(id); found != watches_.end()) {
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, found->second.fd, nullptr);
    watches_.erase(found);
    return;
  }
  const auto timer =
      std::find_if(timers_.begin(), timers_.end(), [id](const auto& t) { return t.second.id == id; });
  if (timer != timers_.end()) timers_.erase(timer);
}

}  // namespace bondd::control

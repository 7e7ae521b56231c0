#include "bondd/control/hook_runner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <array>
#include <csignal>

namespace bondd::control {
namespace {

std::string seconds_since(TimePoint began) {
  return fmt::format("{:.1f} s", std::chrono::duration<double>(EventLoop::now() - began).count());
}

}  // namespace

HookRunner::~HookRunner() {
  kill_group();
}

std::string HookRunner::name() const {
  return fmt::format("hook {}", fmt::join(run_.argv, " "));
}

void HookRunner::add(Run run) {
  if (waiting_.size() >= kMostWaiting) {
    if (left_out_++ == 0)
      log_.warning(fmt::format("{} hooks wait already; no more are run until one has ended", kMostWaiting));
    return;
  }
  waiting_.push_back(std::move(run));
  if (!child_.pidfd) start_next();
}

void HookRunner::start_next() {
  while (!child_.pidfd && !waiting_.empty()) {
    run_ = std::move(waiting_.front());
    waiting_.pop_front();
    outcome_ = {};
    reader_ = {};
    timed_out_ = false;
    began_ = EventLoop::now();
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
      finish({false, {}, "there is no descriptor left for its output"});
      continue;
    }
    output_ = UniqueFd(pipe[0]);
    const UniqueFd write_end(pipe[1]);
    ::fcntl(write_end.get(), F_SETFL, 0);  // the program's end blocks, as programs expect
    supervise::SpawnOptions options;
    options.output = options.errors = write_end.get();
    options.environment = run_.environment;
    auto child = supervise::spawn(run_.argv, options);
    if (!child) {
      output_.reset();
      finish({false, {}, child.error().message});
      continue;
    }
    child_ = std::move(*child);
    output_watch_ = loop_.watch(output_.get(), EPOLLIN, [this](std::uint32_t) { read_output(); });
    exit_watch_ = loop_.watch(child_.pidfd.get(), EPOLLIN, [this](std::uint32_t) { on_exit(); });
    timer_ = loop_.after(run_.timeout, [this] {
      timed_out_ = true;
      kill_group();
    });
  }
}

void HookRunner::read_output() {
  const auto on_line = [this](std::string_view line) {
    std::string text = supervise::printable(line);
    log_.info(fmt::format("{}: {}", name(), text));
    if (outcome_.output.size() < kMostShown) outcome_.output.push_back(std::move(text));
  };
  std::array<char, 4096> buffer{};
  const ssize_t got = ::read(output_.get(), buffer.data(), buffer.size());
  if (got > 0) {
    reader_.feed(EventLoop::now(), {buffer.data(), static_cast<std::size_t>(got)}, on_line);
  } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
    reader_.finish(EventLoop::now(), on_line);
    output_watch_.cancel();
    output_.reset();
  }
}

// Before the program is waited for: its number is not another's yet.
void HookRunner::kill_group() {
  if (child_.pidfd) (void)::kill(-child_.pid, SIGKILL);
}

void HookRunner::on_exit() {
  const auto ended = supervise::try_wait(child_.pidfd.get());
  if (!ended) return;
  for (int i = 0; output_ && i < 64; ++i) read_output();  // what it left in the pipe
  exit_watch_.cancel();
  output_watch_.cancel();
  timer_.cancel();
  output_.reset();
  child_ = {};
  Outcome outcome = std::move(outcome_);
  outcome.ok = ended->status == 0;
  if (timed_out_) {
    outcome.ended = fmt::format("killed: it did not end within {}", format_duration(run_.timeout));
  } else if (ended->signal) {
    outcome.ended = fmt::format("ended by signal {} after {}", *ended->signal, seconds_since(began_));
  } else {
    outcome.ended = fmt::format("exit status {} after {}", ended->status.value_or(-1), seconds_since(began_));
  }
  finish(std::move(outcome));
  start_next();
}

void HookRunner::finish(Outcome outcome) {
  const std::string text = fmt::format("{}: {}", name(), outcome.ended);
  if (outcome.ok) {
    log_.detail(text);
  } else {
    log_.warning(text);
  }
  if (std::exchange(left_out_, 0) > 0) log_.info("hooks are run again");
  if (run_.on_end) run_.on_end(outcome);
}

}  // namespace bondd::control

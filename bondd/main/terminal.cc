#include "bondd/main/terminal.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "bondd/main/site_file.h"

namespace bondd {
namespace {

volatile std::sig_atomic_t leave = 0;

void on_signal(int /*signal*/) {
  leave = 1;
}

bool is_set(const char* variable) {
  const char* const value = std::getenv(variable);
  return value != nullptr && *value != 0;
}

}  // namespace

bool has_screen() {
  const char* const term = std::getenv("TERM");
  return isatty(STDOUT_FILENO) == 1 && term != nullptr && *term != 0 && std::strcmp(term, "dumb") != 0;
}

bool shall_colour() {
  return has_screen() && !is_set("NO_COLOR");
}

InputMode::InputMode(tcflag_t without, int when) {
  termios now{};
  if (tcgetattr(STDIN_FILENO, &now) != 0) return;
  before_ = now;
  now.c_lflag &= ~without;
  tcsetattr(STDIN_FILENO, when, &now);
}

InputMode::~InputMode() {
  if (before_) tcsetattr(STDIN_FILENO, TCSANOW, &*before_);
}

void on_leaving(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
}

Screen::Screen() {
  on_leaving(on_signal);
  keys_.emplace(ICANON | ECHO, TCSANOW);
  fmt::print("\033[?1049h\033[?25l");
}

Screen::~Screen() {
  fmt::print("\033[?25h\033[?1049l");
  std::fflush(stdout);
}

void Screen::show(std::string_view text) {
  fmt::print("\033[H\033[J{}", text);
  std::fflush(stdout);
}

bool Screen::wait(Duration duration) {
  pollfd keys{keys_->is_set() ? STDIN_FILENO : -1, POLLIN, 0};
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  if (leave == 0 && poll(&keys, 1, static_cast<int>(ms)) > 0) {
    char key = 0;
    if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q') return false;
  }
  return leave == 0;
}

bool written_out() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return true;
  say(fmt::format("bondd: the output could not be written: {}", std::strerror(errno)));
  return false;
}

}  // namespace bondd

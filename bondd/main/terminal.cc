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

Screen::Screen() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  termios now{};
  if (tcgetattr(STDIN_FILENO, &now) == 0) {
    before_ = now;
    now.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);  // a key counts at once
    tcsetattr(STDIN_FILENO, TCSANOW, &now);
  }
  fmt::print("\033[?1049h\033[?25l");
}

Screen::~Screen() {
  fmt::print("\033[?25h\033[?1049l");
  std::fflush(stdout);
  if (before_) tcsetattr(STDIN_FILENO, TCSANOW, &*before_);
}

void Screen::show(std::string_view text) {
  fmt::print("\033[H\033[J{}", text);
  std::fflush(stdout);
}

bool Screen::wait(Duration duration) {
  pollfd keys{before_ ? STDIN_FILENO : -1, POLLIN, 0};
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

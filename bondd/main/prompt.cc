#include "bondd/main/prompt.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <optional>

#include "bondd/main/terminal.h"

namespace bondd {
namespace {

constexpr std::size_t kLongestSecret = 65536;  // bytes; more is not a token

void on_signal(int /*signal*/) {}  // read(2) ends with EINTR

// Standard input without echo as long as this lives. Ctrl-C ends the reading, not the program, so that the
// terminal is put back.
class NoEcho {
 public:
  NoEcho() {
    if (!can_ask()) return;
    on_leaving(on_signal);
    mode_.emplace(ECHO, TCSADRAIN);
  }
  ~NoEcho() {
    if (!mode_) return;
    mode_.reset();
    on_leaving(SIG_DFL);
    fmt::print(stderr, "\n");
  }
  NoEcho(const NoEcho&) = delete;
  NoEcho& operator=(const NoEcho&) = delete;

 private:
  std::optional<InputMode> mode_;
};

// The further lines of a pasted text come at once. A pipe says itself when it ends.
bool more_follows() {
  constexpr int kPasteMs = 300;
  pollfd input{STDIN_FILENO, POLLIN, 0};
  return !can_ask() || poll(&input, 1, kPasteMs) > 0;
}

std::string without_blanks_around(std::string text) {
  text.erase(0, std::min(text.find_first_not_of(" \t"), text.size()));
  text.resize(text.find_last_not_of(" \t\r") + 1);
  return text;
}

}  // namespace

bool can_ask() {
  return isatty(STDIN_FILENO) == 1;
}

Result<std::string> ask(const std::string& question, const std::string& proposal, const std::string& flag) {
  if (!can_ask()) return failure(fmt::format("{}? Write it as {}", question, flag));
  fmt::print(stderr, "{}{}: ", question, proposal.empty() ? "" : fmt::format(" [{}]", proposal));
  std::string answer;
  if (!std::getline(std::cin, answer)) return failure("no answer");
  answer = without_blanks_around(std::move(answer));
  return answer.empty() ? proposal : answer;
}

Result<std::string> read_secret_text(const std::string& question,
                                     const std::function<bool(const std::string&)>& is_whole) {
  const NoEcho hidden;  // before the question: whoever answers it at once is not shown, either
  if (can_ask()) fmt::print(stderr, "{}: ", question);
  std::string text;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t got = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (got < 0) return errno == EINTR ? failure("interrupted", EINTR) : errno_failure("standard input");
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (text.size() > kLongestSecret) return failure("standard input holds more than a token");
    if (text.ends_with('\n') && (is_whole(text) || !more_follows())) return text;
  }
}

}  // namespace bondd

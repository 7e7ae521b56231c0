// What the terminal at standard output can do and shall do; and a screen of its own for --watch.
#pragma once

#include <termios.h>

#include <optional>
#include <string_view>

#include "bondd/base/units.h"

namespace bondd {

// A terminal, TERM is not "dumb", and NO_COLOR (https://no-color.org) is not set.
bool shall_colour();
// A terminal on which the cursor can be moved.
bool has_screen();

// Standard input's terminal without these flags of c_lflag (termios(3)) as long as this lives; `when` is of
// tcsetattr(3). Does nothing where standard input is no terminal.
class InputMode {
 public:
  InputMode(tcflag_t without, int when);
  ~InputMode();
  InputMode(const InputMode&) = delete;
  InputMode& operator=(const InputMode&) = delete;
  [[nodiscard]] bool is_set() const { return before_.has_value(); }

 private:
  std::optional<termios> before_;
};

// SIGINT, SIGTERM and SIGHUP call `handler` and end what waits; SIG_DFL puts them back.
void on_leaving(void (*handler)(int));

// The alternate screen, as long as this lives; the old one is back afterwards, also on Ctrl-C.
class Screen {
 public:
  Screen();
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  void show(std::string_view text);
  // Waits; false when the user wants to leave: q, Ctrl-C, SIGTERM.
  bool wait(Duration duration);

 private:
  std::optional<InputMode> keys_;  // a key counts at once
};

// Flushes standard output. False, and said, when not all of it could be written (a full disk).
bool written_out();

}  // namespace bondd

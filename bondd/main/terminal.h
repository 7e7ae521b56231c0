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
  std::optional<termios> before_;  // of standard input
};

// Flushes standard output. False, and said, when not all of it could be written (a full disk).
bool written_out();

}  // namespace bondd

// The terminal as a screen of lines, by ncurses. Its macros stay in the source file.
#pragma once

#include <memory>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/units.h"
#include "bondd/main/top_view.h"

namespace bondd {

enum class Key : std::uint8_t { kNone, kArrowUp, kArrowDown, kDrain, kRestore, kQuit, kResized };

class CursesScreen {
 public:
  // Takes the terminal over until it goes. Fails where the terminal's kind (TERM) is not known. Sets the
  // locale of the process. SIGINT, SIGTERM and SIGHUP count as kQuit.
  static Result<std::unique_ptr<CursesScreen>> open(bool colour);
  ~CursesScreen();
  CursesScreen(const CursesScreen&) = delete;
  CursesScreen& operator=(const CursesScreen&) = delete;

  [[nodiscard]] ScreenSize size() const;
  // The terminal shows plain ASCII only.
  [[nodiscard]] bool ascii() const { return ascii_; }
  void draw(const std::vector<Line>& lines);
  // The next key that means something, or kNone after `limit`.
  Key read(Duration limit);

 private:
  CursesScreen(void* screen, bool colour, bool ascii) : screen_(screen), colour_(colour), ascii_(ascii) {}
  void* screen_;  // SCREEN of ncurses
  bool colour_, ascii_;
};

}  // namespace bondd

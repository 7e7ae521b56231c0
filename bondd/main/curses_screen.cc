#include "bondd/main/curses_screen.h"

#include <langinfo.h>

#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstring>

#define NCURSES_NOMACROS 1
#include <ncurses.h>

#include "bondd/main/terminal.h"

namespace bondd {
namespace {

volatile std::sig_atomic_t leave = 0;

void on_signal(int /*signal*/) {
  leave = 1;
}

constexpr int kEscapeDelayMs = 25;  // after Escape, for the rest of an arrow key

// Numbers of colour pairs.
constexpr short kGreen = 1, kYellow = 2, kRed = 3;

attr_t attributes(Paint paint, bool colour) {
  const auto pair = [&](short number) { return colour ? static_cast<attr_t>(COLOR_PAIR(number)) : A_NORMAL; };
  switch (paint) {
    case Paint::kPlain:
      return A_NORMAL;
    case Paint::kHeading:
      return A_BOLD;
    case Paint::kGood:
      return pair(kGreen);
    case Paint::kWarning:
      return pair(kYellow);
    case Paint::kBad:
      return pair(kRed) | A_BOLD;
    case Paint::kSelected:
      return A_REVERSE;
  }
  return A_NORMAL;
}

}  // namespace

Result<std::unique_ptr<CursesScreen>> CursesScreen::open(bool colour) {
  std::setlocale(LC_ALL, "");
  const bool ascii = std::strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
  SCREEN* const screen = newterm(nullptr, stdout, stdin);
  if (screen == nullptr) return failure("the kind of this terminal (TERM) is not known");
  std::unique_ptr<CursesScreen> out(new CursesScreen(screen, colour && has_colors(), ascii));
  on_leaving(on_signal);
  cbreak();
  noecho();
  keypad(stdscr, TRUE);
  set_escdelay(kEscapeDelayMs);
  curs_set(0);
  if (out->colour_) {
    start_color();
    use_default_colors();
    init_pair(kGreen, COLOR_GREEN, -1);
    init_pair(kYellow, COLOR_YELLOW, -1);
    init_pair(kRed, COLOR_RED, -1);
  }
  return out;
}

CursesScreen::~CursesScreen() {
  endwin();
  delscreen(static_cast<SCREEN*>(screen_));
}

ScreenSize CursesScreen::size() const {
  return {static_cast<std::size_t>(getmaxx(stdscr)), static_cast<std::size_t>(getmaxy(stdscr))};
}

void CursesScreen::draw(const std::vector<Line>& lines) {
  werase(stdscr);
  for (std::size_t row = 0; row < lines.size(); ++row) {
    wmove(stdscr, static_cast<int>(row), 0);
    for (const Span& span : lines[row]) {
      wattrset(stdscr, static_cast<int>(attributes(span.paint, colour_)));
      waddstr(stdscr, span.text.c_str());
    }
  }
  wrefresh(stdscr);
}

Key CursesScreen::read(Duration limit) {
  if (leave != 0) return Key::kQuit;
  wtimeout(stdscr, static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(limit).count()));
  const int key = wgetch(stdscr);
  if (leave != 0) return Key::kQuit;
  switch (key) {
    case KEY_UP:
    case 'k':
      return Key::kArrowUp;
    case KEY_DOWN:
    case 'j':
      return Key::kArrowDown;
    case 'd':
      return Key::kDrain;
    case 'r':
      return Key::kRestore;
    case 'q':
    case 'Q':
      return Key::kQuit;
    case KEY_RESIZE:
      return Key::kResized;
    default:
      return Key::kNone;
  }
}

}  // namespace bondd

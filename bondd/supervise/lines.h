// A child's output, as lines that are safe to print and not too many.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "bondd/base/units.h"

namespace bondd::supervise {

// Control characters and bytes that are no UTF-8 become '?'; a tab becomes a space.
std::string printable(std::string_view bytes);

class LineReader {
 public:
  using OnLine = std::function<void(std::string_view)>;

  // Passes on every complete line of what came so far: at most kLineMax bytes of it,
  // at most kLinesPerSecond in any second; then says how many were left out.
  void feed(TimePoint now, std::string_view bytes, const OnLine& on_line);
  // The end: what is left without a line end is a line, too.
  void finish(TimePoint now, const OnLine& on_line);
  [[nodiscard]] const std::string& last_line() const { return last_; }

  static constexpr std::size_t kLineMax = 1000;
  static constexpr unsigned kLinesPerSecond = 200;

 private:
  void emit(TimePoint now, const OnLine& on_line);

  std::string partial_, last_;
  TimePoint second_;  // start of the second that is being counted
  unsigned in_second_ = 0, left_out_ = 0;
};

}  // namespace bondd::supervise

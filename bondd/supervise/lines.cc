#include "bondd/supervise/lines.h"

#include <fmt/format.h>

namespace bondd::supervise {
namespace {

// Length of the valid UTF-8 sequence at the start of `bytes`, 0 if there is none.
// Overlong forms and surrogates count as invalid.
std::size_t sequence_length(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned first = at(0);
  const std::size_t n = first < 0x80   ? 1
                        : first < 0xc2 ? 0
                        : first < 0xe0 ? 2
                        : first < 0xf0 ? 3
                        : first < 0xf5 ? 4
                                       : 0;
  if (n == 0 || bytes.size() < n) return 0;
  for (std::size_t i = 1; i < n; ++i) {
    if ((at(i) & 0xc0U) != 0x80U) return 0;
  }
  if (first == 0xe0 && at(1) < 0xa0) return 0;
  if (first == 0xed && at(1) > 0x9f) return 0;
  if (first == 0xf0 && at(1) < 0x90) return 0;
  if (first == 0xf4 && at(1) > 0x8f) return 0;
  // U+0080 to U+009F are control characters, some of which terminals obey.
  if (first == 0xc2 && at(1) < 0xa0) return 0;
  return n;
}

}  // namespace

std::string printable(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const auto c = static_cast<unsigned char>(bytes[0]);
    const std::size_t n = sequence_length(bytes);
    if (c == '\t') {
      out += ' ';
    } else if (n == 0 || c < 0x20 || c == 0x7f) {
      out += '?';
    } else {
      out += bytes.substr(0, n);
    }
    bytes.remove_prefix(std::max<std::size_t>(n, 1));
  }
  return out;
}

void LineReader::feed(TimePoint now, std::string_view bytes, const OnLine& on_line) {
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    const std::string_view part = bytes.substr(0, end);
    const std::size_t room = kLineMax - std::min(kLineMax, partial_.size());
    partial_ += part.substr(0, room);
    if (end == std::string_view::npos) return;
    bytes.remove_prefix(end + 1);
    emit(now, on_line);
  }
}

void LineReader::finish(TimePoint now, const OnLine& on_line) {
  if (!partial_.empty()) emit(now, on_line);
  if (left_out_ > 0) on_line(fmt::format("({} more lines in this second left out)", left_out_));
  left_out_ = 0;
}

void LineReader::emit(TimePoint now, const OnLine& on_line) {
  if (!partial_.empty() && partial_.back() == '\r') partial_.pop_back();
  last_ = printable(partial_);
  partial_.clear();
  if (now - second_ >= std::chrono::seconds(1)) {
    if (left_out_ > 0) on_line(fmt::format("({} more lines in this second left out)", left_out_));
    second_ = now;
    in_second_ = left_out_ = 0;
  }
  if (in_second_ >= kLinesPerSecond) {
    ++left_out_;
    return;
  }
  ++in_second_;
  on_line(last_);
}

}  // namespace bondd::supervise

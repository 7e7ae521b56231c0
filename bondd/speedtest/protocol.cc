#include "bondd/speedtest/protocol.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

namespace bondd::speedtest {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// The words between single spaces; nothing unless there are exactly N, none of them empty.
template <std::size_t N>
std::optional<std::array<std::string_view, N>> words(std::string_view line) {
  std::array<std::string_view, N> out;
  for (std::size_t i = 0; i < N; ++i) {
    const auto end = i + 1 < N ? line.find(' ') : line.size();
    if (end == std::string_view::npos || end == 0) return std::nullopt;
    out[i] = line.substr(0, end);
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return out;
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string render(const Wish& wish) {
  return fmt::format("{} {} {} {}\n", wish.token, wish.send ? "send" : "take",
                     duration_cast<milliseconds>(wish.time).count(), wish.bytes);
}

std::string render(const Progress& progress) {
  return fmt::format("{} {}\n", duration_cast<microseconds>(progress.time).count(), progress.bytes);
}

std::optional<Wish> parse_wish(std::string_view line) {
  const auto parts = words<4>(line);
  if (!parts) return std::nullopt;
  const auto& [token, what, ms, bytes] = *parts;
  const auto time = number(ms);
  const auto most = number(bytes);
  constexpr auto kMost = static_cast<std::uint64_t>(duration_cast<milliseconds>(kLongestWish).count());
  if ((what != "send" && what != "take") || !time || *time > kMost || !most) return std::nullopt;
  return Wish{std::string(token), what == "send", milliseconds(*time), *most};
}

std::optional<Progress> parse_progress(std::string_view line) {
  const auto parts = words<2>(line);
  if (!parts) return std::nullopt;
  const auto time = number((*parts)[0]);
  const auto bytes = number((*parts)[1]);
  constexpr std::uint64_t kMost = 3'600'000'000;  // an hour: more is no time of a test
  if (!time || *time > kMost || !bytes) return std::nullopt;
  return Progress{microseconds(*time), *bytes};
}

}  // namespace bondd::speedtest

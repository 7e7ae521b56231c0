#include "bondd/base/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

namespace bondd {
namespace {

struct Unit {
  std::string_view name;
  double factor;
  std::string_view other_name = name;
};

constexpr std::array kTimeUnits{Unit{"ms", 1e6}, Unit{"s", 1e9}, Unit{"m", 60e9}, Unit{"h", 3600e9}};
constexpr std::array kRateUnits{Unit{"kbit", 1e3, "kbps"}, Unit{"mbit", 1e6, "mbps"},
                                Unit{"gbit", 1e9, "gbps"}};
constexpr double kMaxDuration = 24 * 3600e9;
constexpr double kMaxRate = 400e9;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

template <std::size_t N>
Result<double> parse_with_unit(std::string_view text, const std::array<Unit, N>& units,
                               std::string_view example) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (error != std::errc{} || !std::isfinite(number) || number < 0) {
    return failure(
        fmt::format("\"{}\" is not a number with a unit; write for example \"{}\"", text, example));
  }
  std::string unit = lower(std::string_view(rest, static_cast<std::size_t>(end - rest)));
  unit.erase(0, unit.find_first_not_of(' '));  // "20 mbit"
  for (const Unit& known : units) {
    if (unit == known.name || unit == known.other_name) return number * known.factor;
  }
  return failure(fmt::format("\"{}\" has {}; write for example \"{}\"", text,
                             unit.empty() ? "no unit" : "an unknown unit", example));
}

template <std::size_t N>
std::string format_with_unit(std::uint64_t value, const std::array<Unit, N>& units) {
  for (std::size_t i = N; i-- > 0;) {
    const auto factor = static_cast<std::uint64_t>(units[i].factor);
    if (value != 0 && value % factor == 0) return fmt::format("{}{}", value / factor, units[i].name);
  }
  return fmt::format("{}{}", static_cast<double>(value) / units[0].factor, units[0].name);
}

// "8 Mbit/s" and "8Mbps" are what providers print: the same unit.
std::string_view without_per_second(std::string_view text) {
  constexpr std::string_view kSlash = "/s";
  return text.ends_with(kSlash) ? text.substr(0, text.size() - kSlash.size()) : text;
}

}  // namespace

Result<Duration> parse_duration(std::string_view text) {
  const Result<double> ns = parse_with_unit(text, kTimeUnits, "300ms");
  if (!ns) return tl::make_unexpected(ns.error());
  if (*ns > kMaxDuration) return failure(fmt::format("\"{}\" is more than 24 hours", text));
  return Duration(std::llround(*ns));
}

Result<Rate> parse_rate(std::string_view text) {
  const Result<double> bits = parse_with_unit(without_per_second(text), kRateUnits, "20mbit");
  if (!bits) return tl::make_unexpected(bits.error());
  if (*bits > kMaxRate) return failure(fmt::format("\"{}\" is more than 400 gbit", text));
  if (*bits < 1) return failure(fmt::format("\"{}\" is no rate: a line carries something", text));
  return Rate{static_cast<std::uint64_t>(std::llround(*bits))};
}

std::string format_duration(Duration value) {
  return format_with_unit(static_cast<std::uint64_t>(value.count()), kTimeUnits);
}

std::string format_rate(Rate value) {
  return format_with_unit(value.bits_per_second, kRateUnits);
}

}  // namespace bondd

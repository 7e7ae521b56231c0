// What the two ends of a speed test say to each other, on TCP connections inside the bond. Pure.
//
//   tester -> responder   "TOKEN send 4000 0\n"    it sends for 4000 ms, at most so many bytes (0: no limit)
//                         "TOKEN take 4000 0\n"    it takes what follows, and says each kReportEvery what
//   responder -> tester   "1200345 4500000\n"      all its "take" connections of this run have brought: time
//                                                  since the first one in microseconds, bytes
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bondd/base/units.h"

namespace bondd::speedtest {

constexpr std::size_t kLongestLine = 100;  // bytes, of either end
constexpr Duration kReportEvery = std::chrono::milliseconds(100);
constexpr Duration kLongestWish = std::chrono::seconds(30);  // a responder does not work longer for one

struct Wish {
  std::string token;
  bool send = false;  // the responder sends; else it takes
  Duration time{};
  std::uint64_t bytes = 0;  // at most; 0: no limit
  bool operator==(const Wish&) const = default;
};

struct Progress {
  Duration time{};
  std::uint64_t bytes = 0;
  bool operator==(const Progress&) const = default;
};

// With the newline.
std::string render(const Wish& wish);
std::string render(const Progress& progress);
// Without it. Nothing for what is none, and for a time of more than kLongestWish.
std::optional<Wish> parse_wish(std::string_view line);
std::optional<Progress> parse_progress(std::string_view line);

}  // namespace bondd::speedtest

// What may stand in a file that init or join writes: checks of single values.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace bondd::setup {

constexpr std::size_t kMostLines = 15;  // as in the site's file

inline bool has_only(std::string_view text, std::string_view more) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           more.find(c) != std::string_view::npos;
  });
}

// A WAN's or site's name: as in the site's file, the first a letter or digit.
inline bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 32 && has_only(text.substr(0, 1), "") && has_only(text, "-_.");
}
inline bool is_host(std::string_view text) {
  return !text.empty() && text.size() <= 253 && has_only(text, "-.:");
}
inline bool is_password(std::string_view text) {
  return text.size() >= 32 && text.size() <= 128 && has_only(text, "-_");
}
inline bool is_fingerprint(std::string_view text) {
  return text.size() == 95 && text.find_first_not_of("0123456789ABCDEF:") == std::string_view::npos;
}

}  // namespace bondd::setup

// Enumerations with a name for each value, in a table in the values' order from 0.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace bondd {

// The value with that name; nothing if none has it.
template <typename Enum, std::size_t kCount>
std::optional<Enum> value_named(const std::array<std::string_view, kCount>& names, std::string_view text) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == text) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

}  // namespace bondd

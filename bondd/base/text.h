// Small text helpers that several modules need.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bondd {

// Letters to add, drop, change or swap with their neighbour, for "did you mean".
std::size_t edit_distance(std::string_view a, std::string_view b);

// The candidate nearest to `word` if it is near enough to be a likely slip
// (at most a third of its letters differ, at least one), else an empty view.
std::string_view likely_meant(std::string_view word, std::span<const std::string_view> candidates);

// Without the blanks (spaces, tabs, carriage returns) at both ends.
std::string_view trimmed(std::string_view text);

// A figure for people: one decimal below 10, none from there on ("0.3", "9.9", "48").
std::string short_number(double value);

// A number made of a text, the same everywhere and for ever (FNV-1a, 32 bits).
std::uint32_t fnv1a(std::string_view text);

// Quotes `word` for a POSIX shell when it needs it, so that printed commands
// can be pasted.
std::string shell_quote(std::string_view word);
std::string shell_join(const std::vector<std::string>& words);

}  // namespace bondd

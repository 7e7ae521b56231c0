// A TOML text as plain nodes that know where they stand. The only place that knows toml++.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace bondd::config {

// Counted from 1; a column is a character, not a byte.
struct Position {
  std::size_t line = 1, column = 1;
  auto operator<=>(const Position&) const = default;
};

struct Entry;

struct Node {
  enum class Kind : std::uint8_t { kText, kInteger, kNumber, kBool, kDate, kArray, kTable };
  Kind kind = Kind::kTable;
  Position position;
  std::string text;            // kText
  std::int64_t integer = 0;    // kInteger
  double number = 0;           // kNumber, and kInteger as a number
  bool boolean = false;        // kBool
  std::vector<Node> items;     // kArray
  std::vector<Entry> entries;  // kTable, in the file's order

  [[nodiscard]] const Entry* find(std::string_view key) const;
};

struct Entry {
  std::string key;
  Position position;  // of the key
  Node value;
};

struct SyntaxError {
  Position position;
  std::string message;
};

// Larger files are refused: a site needs a hundredth of it.
constexpr std::size_t kMaxFileSize = 1 << 20;

// The whole document as a table. Safe on any bytes: bad UTF-8, endless nesting and
// large texts are a SyntaxError, the first one only.
tl::expected<Node, SyntaxError> parse_document(std::string_view text);

}  // namespace bondd::config

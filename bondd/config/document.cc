#include "bondd/config/document.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <optional>

#include "bondd/config/toml_slips.h"

namespace bondd::config {
namespace {

// A site's tables are three deep. What is deeper is unknown anyway.
constexpr int kMaxDepth = 6;
// toml++ builds and frees nested tables by recursion, one call a level, and limits only
// arrays and inline tables. "[a.a.a.a…]" would be a stack overflow without this.
constexpr std::size_t kMaxDots = 1000;

Position position_of(const toml::source_region& region) {
  return Position{std::max<std::size_t>(1, region.begin.line), std::max<std::size_t>(1, region.begin.column)};
}

// The first byte that cannot be UTF-8 (RFC 3629), as a position.
std::optional<Position> first_bad_utf8(std::string_view text) {
  Position at;
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
    const unsigned char lead = byte(i);
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xC2 && lead < 0xE0 ? 2
                               : (lead & 0xF0) == 0xE0       ? 3
                               : lead >= 0xF0 && lead < 0xF5 ? 4
                                                             : 0;
    if (length == 0 || i + length > text.size()) return at;
    for (std::size_t k = 1; k < length; ++k) {
      if ((byte(i + k) & 0xC0) != 0x80) return at;
    }
    const unsigned char second = length > 1 ? byte(i + 1) : 0;
    const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
    const bool surrogate_or_beyond = (lead == 0xED && second > 0x9F) || (lead == 0xF4 && second > 0x8F);
    if (overlong || surrogate_or_beyond) return at;
    i += length;
    ++at.column;
    if (lead == '\n') at = Position{at.line + 1, 1};
  }
  return std::nullopt;
}

// Dots outside strings and comments: those of keys, table headers and decimal numbers.
class DotCounter {
 public:
  explicit DotCounter(std::string_view text) : text_(text) {}

  // Where the dot after kMaxDots stands, if there are so many.
  std::optional<Position> too_many() {
    std::size_t dots = 0;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#') {
        skip_to_newline();
      } else if (c == '"' || c == '\'') {
        skip_string(c);
      } else {
        if (c == '\n') ++line_;
        if (c == '.' && ++dots > kMaxDots) return Position{line_, 1};
        ++at_;
      }
    }
    return std::nullopt;
  }

 private:
  void skip_to_newline() { at_ = std::min(text_.find('\n', at_), text_.size()); }

  void skip_string(char quote) {
    const std::string three(3, quote);
    const bool multi_line = text_.substr(at_, 3) == three;
    at_ += multi_line ? 3 : 1;
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\n') {
        if (!multi_line) return;
        ++line_;
      }
      if (quote == '"' && text_[at_] == '\\' && at_ + 1 < text_.size() && text_[at_ + 1] != '\n') {
        ++at_;
      } else if (!multi_line && text_[at_] == quote) {
        ++at_;
        return;
      } else if (multi_line && text_.substr(at_, 3) == three) {
        at_ += 3;
        // One or two more belong to the string, as in """a"""".
        for (int extra = 0; extra < 2 && at_ < text_.size() && text_[at_] == quote; ++extra) ++at_;
        return;
      }
    }
  }

  std::string_view text_;
  std::size_t at_ = 0, line_ = 1;
};

std::string_view line_at(std::string_view text, std::size_t number) {
  for (; number > 1 && !text.empty(); --number) {
    text.remove_prefix(
        std::min(text.find('\n') == std::string_view::npos ? text.size() : text.find('\n') + 1, text.size()));
  }
  return text.substr(0, text.find('\n'));
}

std::string_view unindented(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  return first == std::string_view::npos ? std::string_view{} : text.substr(first);
}

// "cannot redefine existing table 'wan'" -> "wan"
std::string_view quoted_name(std::string_view description) {
  const std::size_t first = description.find('\''), last = description.rfind('\'');
  return first == last ? std::string_view{} : description.substr(first + 1, last - first - 1);
}

// What is likely meant, where that is seen; else the parser's words.
std::string explained(std::string_view description, std::string_view text, Position at) {
  if (description.find("cannot redefine") != std::string_view::npos) {
    const std::string_view name = quoted_name(description);
    if (description.find("table") != std::string_view::npos) {
      if (const auto slip = likely_repeated_table(name)) return fmt::format("this is not TOML: {}", *slip);
    }
    return fmt::format("this is not TOML: \"{}\" is in this table twice; delete one of the two", name);
  }
  auto slip = likely_slip(line_at(text, at.line));
  // A quote that is not closed is noticed at the start of the next line; an array at the next that is not
  // empty.
  if (description.find("parsing array") != std::string_view::npos &&
      unindented(line_at(text, at.line)).starts_with('"') &&
      at.column == 1 + line_at(text, at.line).find('"'))
    return "this is not TOML: a comma is missing in the array, before this line";
  const bool in_array = description.find("parsing array") != std::string_view::npos;
  if (at.line > 1 && at.column == 1 && (!slip || in_array)) {
    std::size_t before = at.line - 1;
    while (in_array && before > 1 && unindented(line_at(text, before)).empty()) --before;
    if (auto earlier = likely_slip(line_at(text, before))) slip = std::move(earlier);
  }
  return fmt::format("this is not TOML: {}", slip ? *slip : std::string(description));
}

Node to_node(const toml::node& from, int depth);

std::vector<Entry> to_entries(const toml::table& table, int depth) {
  std::vector<Entry> entries;
  for (auto&& [key, value] : table) {
    Position at = position_of(key.source());
    Node node = to_node(value, depth + 1);
    entries.push_back(Entry{std::string(key.str()), at, std::move(node)});
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.position < b.position; });
  return entries;
}

Node to_node(const toml::node& from, int depth) {
  Node node;
  node.position = position_of(from.source());
  if (const auto* const table = from.as_table()) {
    node.kind = Node::Kind::kTable;
    if (depth < kMaxDepth) node.entries = to_entries(*table, depth);
  } else if (const auto* const array = from.as_array()) {
    node.kind = Node::Kind::kArray;
    if (depth < kMaxDepth) {
      for (const toml::node& item : *array) node.items.push_back(to_node(item, depth + 1));
    }
  } else if (const auto* const text = from.as_string()) {
    node.kind = Node::Kind::kText;
    node.text = text->get();
  } else if (const auto* const integer = from.as_integer()) {
    node.kind = Node::Kind::kInteger;
    node.integer = integer->get();
    node.number = static_cast<double>(node.integer);
  } else if (const auto* const number = from.as_floating_point()) {
    node.kind = Node::Kind::kNumber;
    node.number = number->get();
  } else if (const auto* const boolean = from.as_boolean()) {
    node.kind = Node::Kind::kBool;
    node.boolean = boolean->get();
  } else {
    node.kind = Node::Kind::kDate;
  }
  return node;
}

}  // namespace

const Entry* Node::find(std::string_view key) const {
  const auto found =
      std::find_if(entries.begin(), entries.end(), [&](const Entry& entry) { return entry.key == key; });
  return found == entries.end() ? nullptr : &*found;
}

tl::expected<Node, SyntaxError> parse_document(std::string_view text) {
  const auto fail = [](Position at, std::string message) {
    return tl::make_unexpected(SyntaxError{at, std::move(message)});
  };
  if (text.size() > kMaxFileSize) return fail({}, "the file is larger than 1 MiB; this is no site's file");
  if (const auto bad = first_bad_utf8(text)) {
    return fail(*bad, "this is not UTF-8; save the file as UTF-8 text");
  }
  if (const auto deep = DotCounter(text).too_many()) {
    return fail(*deep, "the file's keys are nested too deeply");
  }
  try {
    const toml::table table = toml::parse(text);
    return to_node(table, 0);
  } catch (const toml::parse_error& error) {
    const Position at = position_of(error.source());
    return fail(at, explained(error.description(), text, at));
  } catch (const std::exception& error) {
    return fail({}, error.what());
  }
}

}  // namespace bondd::config

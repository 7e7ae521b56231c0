#include "bondd/config/toml_slips.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "bondd/base/text.h"
#include "bondd/config/schema.h"

namespace bondd::config {
namespace {

bool is_bare(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

bool is_key(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_bare(c) || c == '.'; });
}

// Without a comment, as far as quotes tell.
std::string_view without_comment(std::string_view line) {
  char quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (quote == 0 && line[i] == '#') return line.substr(0, i);
    if (quote == 0 && (line[i] == '"' || line[i] == '\'')) {
      quote = line[i];
    } else if (line[i] == quote) {
      quote = 0;
    }
  }
  return line;
}

// What word processors and web pages make of ".
constexpr std::array<std::string_view, 9> kTypographic{"“", "”", "„", "‟", "‘", "’", "«", "»", "″"};

bool has_typographic_quotes(std::string_view text) {
  return std::any_of(kTypographic.begin(), kTypographic.end(),
                     [&](std::string_view quote) { return text.find(quote) != std::string_view::npos; });
}

std::string with_straight_quotes(std::string text) {
  for (const std::string_view quote : kTypographic) {
    for (std::size_t at = 0; (at = text.find(quote)) != std::string::npos;)
      text.replace(at, quote.size(), "\"");
  }
  return text;
}

std::string quoted(std::string_view value) {
  return fmt::format("\"{}\"", value);
}

bool is_quote(char c) {
  return c == '"' || c == '\'';
}

// Where the string that begins `text` ends, behind its closing quote; nothing if it is not closed.
std::optional<std::size_t> end_of_string(std::string_view text) {
  if (text.empty() || !is_quote(text[0])) return std::nullopt;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '\\' && text[0] == '"') {
      ++i;
    } else if (text[i] == text[0]) {
      return i + 1;
    }
  }
  return std::nullopt;
}

// As the parser reads a decimal number: no leading zeros.
bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos &&
         (text.size() == 1 || text[0] != '0');
}

// A value without quotes as it is to be written.
std::string written(std::string_view value) {
  if (value == "True" || value == "TRUE" || value == "yes" || value == "on" || value == "true") return "true";
  if (value == "False" || value == "FALSE" || value == "no" || value == "off" || value == "false")
    return "false";
  const bool digits = !value.empty() && value.find_first_not_of("0123456789") == std::string_view::npos;
  if (digits) return std::string(value.substr(std::min(value.find_first_not_of('0'), value.size() - 1)));
  return is_number(value) ? std::string(value) : quoted(value);
}

// The items of an array on one line, as they are to be written, whatever quote, comma or bracket is missing.
// Nothing when it holds what has items of its own.
std::optional<std::string> slip_in_array(std::string_view key, std::string_view value) {
  std::string items;
  std::string_view rest = trimmed(value.substr(1)), what;
  for (; !rest.empty() && rest.front() != ']'; rest = trimmed(rest)) {
    if (rest.front() == '[' || rest.front() == '{') return std::nullopt;
    const bool text = is_quote(rest.front());
    const auto closed = text ? end_of_string(rest) : std::nullopt;
    const std::size_t end = closed ? *closed : std::min(rest.find_first_of(",]", text ? 1 : 0), rest.size());
    const std::string_view raw = trimmed(rest.substr(0, end));
    const std::string_view inner =
        closed ? raw.substr(1, raw.size() - 2) : raw.substr(text ? 1 : 0, raw.find_last_not_of("\"'"));
    if (raw.empty()) return std::nullopt;
    if (text && !closed) what = "a closing quote is missing";
    if (!text && what.empty() && written(raw) != raw) what = "each text in the array needs quotes";
    items += fmt::format("{}{}", items.empty() ? "" : ", ", text ? quoted(inner) : written(raw));
    rest = trimmed(rest.substr(end));
    const bool comma = rest.starts_with(',');
    if (!comma && !rest.empty() && rest.front() != ']' && what.empty())
      what = "a comma is missing in the array";
    if (comma) rest.remove_prefix(1);
  }
  if (what.empty() && rest.empty()) what = "the array's closing bracket is missing";
  if (what.empty()) return std::nullopt;
  return fmt::format("{}: write {} = [{}]", what, key, items);
}

// What stands behind a value that is complete.
std::optional<std::string> slip_behind(std::string_view key, std::string_view value, std::string_view rest) {
  if (rest.starts_with("//") || rest.starts_with("/*") || rest.starts_with("--"))
    return fmt::format("a comment begins with '#': write {} = {}  # …", key, value);
  if (rest.starts_with(';')) return fmt::format("no ';' is needed at the end: write {} = {}", key, value);
  if (rest.starts_with(',') && is_quote(value.front())) {
    return fmt::format("several values, where a key may have several, are an array: write {} = [{}{}]", key,
                       value, rest);
  }
  return fmt::format("there is more behind the value: write {} = {}", key, value);
}

// Without what stands behind it, for a value without quotes.
std::string_view before_extra(std::string_view value) {
  const std::size_t end =
      std::min({value.find(';'), value.find(" //"), value.find(" --"), value.find(" /*")});
  return trimmed(value.substr(0, end));
}

std::optional<std::string> slip_in_value(std::string_view key, std::string_view value) {
  if (value.empty()) return fmt::format("{} has no value; write {} = \"…\", or delete the line", key, key);
  const std::string_view more = trimmed(value.substr(std::min(value.find_first_not_of("=>"), value.size())));
  if (more.size() < value.size() && !more.empty()) {
    return fmt::format("one '=' is enough: write {} = {}", key,
                       is_quote(more.front()) ? std::string(more) : written(more));
  }
  if (written(value) == "true" || written(value) == "false")
    return fmt::format("write {} = {}", key, written(value));
  const char first = value.front();
  if (first == '[') {
    const std::size_t end = value.rfind(']');
    if (end != std::string_view::npos && end + 1 < value.size() &&
        !slip_in_array(key, value.substr(0, end + 1)))
      return slip_behind(key, value.substr(0, end + 1), trimmed(value.substr(end + 1)));
    return slip_in_array(key, value);
  }
  const bool opened = is_quote(first);
  if (const auto end = opened ? end_of_string(value) : std::nullopt; end && *end < value.size())
    return slip_behind(key, value.substr(0, *end), trimmed(value.substr(*end)));
  if (opened && !end_of_string(value)) {
    return fmt::format("the closing quote is missing: write {} = {}", key, quoted(trimmed(value.substr(1))));
  }
  if (!opened && (value.back() == '"' || value.back() == '\'')) {
    return fmt::format("the opening quote is missing: write {} = {}", key,
                       quoted(value.substr(0, value.size() - 1)));
  }
  if (opened || first == '{') return std::nullopt;
  if (const auto plain = before_extra(value); !plain.empty() && plain.size() < value.size())
    return slip_behind(key, written(plain), trimmed(value.substr(plain.size())));
  if (written(value) != quoted(value))
    return fmt::format("a number has no zeros before it: write {} = {}", key, written(value));
  const std::size_t comma = value.find(',');
  if (comma != std::string_view::npos && is_number(value.substr(0, comma)) &&
      value.find_first_not_of("0123456789", comma + 1) == std::string_view::npos &&
      comma + 1 < value.size()) {
    return fmt::format("a decimal point is needed: write {} = {}.{}", key, value.substr(0, comma),
                       value.substr(comma + 1));
  }
  return fmt::format("text needs quotes: write {} = {}", key, quoted(value));
}

// "[[wan]", "[server", "wan]]"
std::optional<std::string> slip_in_header(std::string_view line) {
  const std::size_t first = std::min(line.find_first_not_of("[ \t"), line.size());
  const std::string_view name = trimmed(line.substr(first, line.find_first_of("] \t", first) - first));
  if (!is_key(name)) return std::nullopt;
  const Table* const table = find_table(name);
  const bool several = table != nullptr ? table->array : line.starts_with("[[");
  return fmt::format("the brackets of this table: write {}{}{}", several ? "[[" : "[", name,
                     several ? "]]" : "]");
}

}  // namespace

std::optional<std::string> likely_slip(std::string_view whole) {
  const std::string_view line = trimmed(without_comment(whole));
  if (line.starts_with("//") || line.starts_with(';') || line.starts_with("--"))
    return "a comment begins with '#'; write # in front of this line";
  if (has_typographic_quotes(line)) {
    return fmt::format("these are typographic quotes; type straight ones: write {}",
                       with_straight_quotes(std::string(line)));
  }
  const std::size_t equals = line.find('=');
  if (equals != std::string_view::npos) {
    std::string_view key = trimmed(line.substr(0, equals));
    if (key.ends_with(':')) {
      key = trimmed(key.substr(0, key.size() - 1));
      const std::string_view value = trimmed(line.substr(equals + 1));
      if (is_key(key) && !value.empty() && end_of_string(value) == value.size())
        return fmt::format("one '=' is enough: write {} = {}", key, value);
    }
    return is_key(key) ? slip_in_value(key, trimmed(line.substr(equals + 1))) : std::nullopt;
  }
  if (line.starts_with('[')) return slip_in_header(line);
  if (!line.empty() && is_quote(line.front()) && !end_of_string(line))
    return fmt::format("the closing quote is missing: write {}", quoted(trimmed(line.substr(1))));
  const std::size_t end = line.find_first_of(": \t");
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view key = line.substr(0, end);
  std::string_view value = trimmed(line.substr(end + 1));
  if (!is_key(key) || value.empty()) return std::nullopt;
  const bool plain = value.front() == '"' || value.front() == '\'' ||
                     value.find_first_not_of("0123456789") == std::string_view::npos;
  return fmt::format("a key and its value need '=' between them: write {} = {}", key,
                     plain ? std::string(value) : quoted(value));
}

std::optional<std::string> likely_repeated_table(std::string_view name) {
  const Table* const table = find_table(name);
  if (table == nullptr || name.empty()) return std::nullopt;
  if (table->array) {
    return fmt::format("write [[{0}]] with two brackets, each time; [{0}] may come only once", name);
  }
  return fmt::format("[{0}] is in the file twice; put all its keys below the first [{0}]", name);
}

}  // namespace bondd::config

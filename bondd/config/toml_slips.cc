#include "bondd/config/toml_slips.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "bondd/config/schema.h"

namespace bondd::config {
namespace {

constexpr std::string_view kBlank = " \t\r";

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

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

std::optional<std::string> slip_in_array(std::string_view key, std::string_view value) {
  if (value.empty() || value.front() != '[' || value.find('"') != std::string_view::npos ||
      value.find('\'') != std::string_view::npos) {
    return std::nullopt;
  }
  std::string items;
  std::string_view rest = value.substr(1, value.rfind(']') - 1);
  while (!rest.empty()) {
    const std::string_view item = trimmed(rest.substr(0, rest.find(',')));
    rest.remove_prefix(
        std::min(rest.find(',') == std::string_view::npos ? rest.size() : rest.find(',') + 1, rest.size()));
    if (!item.empty()) items += fmt::format("{}{}", items.empty() ? "" : ", ", quoted(item));
  }
  return fmt::format("each text in the array needs quotes: write {} = [{}]", key, items);
}

std::optional<std::string> slip_in_value(std::string_view key, std::string_view value) {
  if (value.empty()) return fmt::format("{} has no value; write {} = \"…\", or delete the line", key, key);
  if (value == "True" || value == "TRUE" || value == "yes" || value == "on") {
    return fmt::format("write {} = true", key);
  }
  if (value == "False" || value == "FALSE" || value == "no" || value == "off") {
    return fmt::format("write {} = false", key);
  }
  const char first = value.front();
  if (first == '[') return slip_in_array(key, value);
  const bool opened = first == '"' || first == '\'';
  if (opened && (value.size() == 1 || value.back() != first)) {
    return fmt::format("the closing quote is missing: write {} = {}", key, quoted(trimmed(value.substr(1))));
  }
  if (!opened && (value.back() == '"' || value.back() == '\'')) {
    return fmt::format("the opening quote is missing: write {} = {}", key,
                       quoted(value.substr(0, value.size() - 1)));
  }
  if (opened || first == '{') return std::nullopt;
  return fmt::format("text needs quotes: write {} = {}", key, quoted(value));
}

}  // namespace

std::optional<std::string> likely_slip(std::string_view whole) {
  const std::string_view line = trimmed(without_comment(whole));
  if (has_typographic_quotes(line)) {
    return fmt::format("these are typographic quotes; type straight ones: write {}",
                       with_straight_quotes(std::string(line)));
  }
  const std::size_t equals = line.find('=');
  if (equals != std::string_view::npos) {
    const std::string_view key = trimmed(line.substr(0, equals));
    return is_key(key) ? slip_in_value(key, trimmed(line.substr(equals + 1))) : std::nullopt;
  }
  if (line.starts_with('[')) return std::nullopt;
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

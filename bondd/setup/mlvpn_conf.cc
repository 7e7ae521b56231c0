#include "bondd/setup/mlvpn_conf.h"

#include <algorithm>

#include "bondd/base/text.h"

namespace bondd::setup {
namespace {

// Up to the first '#' or ';' that is in no quotes.
std::string_view without_comment(std::string_view line) {
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') quoted = !quoted;
    if (!quoted && (line[i] == '#' || line[i] == ';')) return line.substr(0, i);
  }
  return line;
}

std::string_view unquoted(std::string_view value) {
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
    return value.substr(1, value.size() - 2);
  return value;
}

}  // namespace

std::vector<NumberedLine> joined_lines(std::string_view text) {
  std::vector<NumberedLine> out;
  bool goes_on = false;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto end = std::min(text.find('\n'), text.size());
    if (!goes_on) out.push_back({number, {}});
    std::string& line = out.back().text;
    line += text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    goes_on = line.ends_with('\\');
    if (goes_on) line.back() = ' ';
  }
  return out;
}

ConfFile parse_mlvpn_conf(std::string_view text) {
  ConfFile file;
  std::size_t number = 0;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(without_comment(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.empty()) continue;
    if (line.front() == '[' && line.back() == ']') {
      file.sections.push_back({std::string(trimmed(line.substr(1, line.size() - 2))), number, {}});
      continue;
    }
    const auto equals = line.find('=');
    if (equals == std::string_view::npos || trimmed(line.substr(0, equals)).empty()) {
      file.odd.push_back(number);
      continue;
    }
    if (file.sections.empty()) file.sections.push_back({"general", number, {}});
    file.sections.back().entries.push_back({std::string(trimmed(line.substr(0, equals))),
                                            std::string(unquoted(trimmed(line.substr(equals + 1)))), number});
  }
  return file;
}

}  // namespace bondd::setup

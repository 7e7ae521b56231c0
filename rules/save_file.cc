#include "rules/save_file.h"

#include <fmt/format.h>
#include <linux/in.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "rules/iptables.h"

namespace bondd::rules {
namespace {

constexpr std::size_t kWordMax = 1000;  // iptables-restore: "Parameter too long!" from 1024

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("-_.,:/=!+%@~").find(c) != std::string_view::npos;
}

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

std::string quoted(const std::string& word) {
  std::string out = "\"";
  for (const char c : word) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

// One word of `line` from `at` on, which is moved behind it.
Result<std::string> take_word(std::string_view line, std::size_t& at) {
  std::string word;
  bool open = false;
  for (; at < line.size(); ++at) {
    const char c = line[at];
    if (open && c == '\\' && at + 1 < line.size()) {
      word += line[++at];
    } else if (c == '"') {
      open = !open;
    } else if (!open && (c == ' ' || c == '\t')) {
      break;
    } else {
      word += c;
    }
  }
  if (open) return failure(fmt::format("open quote in: {}", line), EINVAL);
  return word;
}

bool is_plain_jump(const Words& words, std::string_view target) {
  return words.size() == 2 && words[0] == "-j" && words[1] == target;
}

// ":INPUT ACCEPT [0:0]"
Result<SavedChain> parse_chain(std::string_view line) {
  const auto words = split_words(line.substr(1));
  if (!words) return tl::make_unexpected(words.error());
  if (words->size() < 2) return failure(fmt::format("not a chain: {}", line), EINVAL);
  return SavedChain{(*words)[0], (*words)[1]};
}

// "-A INPUT -i lo -j ACCEPT"
Result<SavedRule> parse_rule_line(std::string_view line) {
  auto words = split_words(line);
  if (!words) return tl::make_unexpected(words.error());
  if (words->size() < 2 || words->front() != "-A")
    return failure(fmt::format("not a rule: {}", line), EINVAL);
  return SavedRule{(*words)[1], Words(words->begin() + 2, words->end())};
}

Result<> parse_line(std::string_view line, std::vector<SavedTable>& tables, bool& open) {
  if (line.empty() || line.front() == '#') return {};
  if (line.front() == '*') {
    tables.push_back({std::string(line.substr(1)), {}, {}});
    open = true;
    return {};
  }
  if (!open) return failure(fmt::format("outside a table: {}", line), EINVAL);
  if (line == "COMMIT") {
    open = false;
    return {};
  }
  if (line.front() == ':') {
    auto chain = parse_chain(line);
    if (!chain) return tl::make_unexpected(chain.error());
    tables.back().chains.push_back(std::move(*chain));
    return {};
  }
  auto rule = parse_rule_line(line);
  if (!rule) return tl::make_unexpected(rule.error());
  tables.back().rules.push_back(std::move(*rule));
  return {};
}

}  // namespace

Result<std::string> join_words(const Words& words) {
  std::string line;
  for (const std::string& word : words) {
    if (std::any_of(word.begin(), word.end(), is_control)) {
      return failure("a firewall rule has a word with a control character in it", EINVAL);
    }
    if (word.size() > kWordMax) return failure("a firewall rule has a word of more than 1000 bytes", EINVAL);
    if (!line.empty()) line += ' ';
    const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), is_plain);
    line += plain ? word : quoted(word);
  }
  return line;
}

Result<Words> split_words(std::string_view line) {
  Words words;
  for (std::size_t at = 0; at < line.size();) {
    if (line[at] == ' ' || line[at] == '\t') {
      ++at;
      continue;
    }
    auto word = take_word(line, at);
    if (!word) return tl::make_unexpected(word.error());
    words.push_back(std::move(*word));
  }
  return words;
}

bool SavedTable::has_chain(std::string_view chain) const {
  return std::any_of(chains.begin(), chains.end(), [&](const SavedChain& c) { return c.name == chain; });
}

bool SavedTable::is_builtin(std::string_view chain) const {
  return std::any_of(chains.begin(), chains.end(),
                     [&](const SavedChain& c) { return c.name == chain && c.builtin(); });
}

std::size_t SavedTable::count_jumps(std::string_view chain, std::string_view target) const {
  return static_cast<std::size_t>(std::count_if(rules.begin(), rules.end(), [&](const SavedRule& rule) {
    return rule.chain == chain && is_plain_jump(rule.words, target);
  }));
}

Result<std::vector<SavedTable>> parse_tables(std::string_view text) {
  std::vector<SavedTable> tables;
  bool open = false;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.remove_suffix(1);
    if (auto parsed = parse_line(line, tables, open); !parsed) {
      return tl::make_unexpected(parsed.error().in("iptables-save"));
    }
  }
  if (open) return failure("iptables-save: the text ends inside a table", EINVAL);
  return tables;
}

Result<std::vector<SavedRule>> parse_rules(std::string_view text) {
  std::vector<SavedRule> rules;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.starts_with("-A ")) continue;  // "-N CHAIN"
    auto rule = parse_rule_line(line);
    if (!rule) return tl::make_unexpected(rule.error().in("iptables -S"));
    rules.push_back(std::move(*rule));
  }
  return rules;
}

const SavedTable* find_table(const std::vector<SavedTable>& tables, std::string_view name) {
  const auto found =
      std::find_if(tables.begin(), tables.end(), [&](const SavedTable& table) { return table.name == name; });
  return found == tables.end() ? nullptr : &*found;
}

bool is_ours(std::string_view chain) {
  return chain.starts_with("BONDD-");
}

std::string_view jump_target(const Words& words) {
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == "-j" || words[i] == "-g") return words[i + 1];
  }
  return {};
}

namespace {

// A plain jump's place is "first" when only jumps to own chains stand before it.
std::vector<Jump> jumps_of(const SavedTable& table, const ChainFilter& filter) {
  std::vector<Jump> jumps;
  for (const SavedChain& chain : table.chains) {
    if (!chain.builtin()) continue;
    bool first = true;
    for (const SavedRule& rule : table.rules) {
      if (rule.chain != chain.name) continue;
      const std::string_view target = jump_target(rule.words);
      if (is_plain_jump(rule.words, target) && filter.matches(target)) {
        jumps.push_back({chain.name, std::string(target), first});
      }
      if (!target.starts_with(filter.prefix)) first = false;
    }
  }
  return jumps;
}

std::vector<Chain> chains_of(const SavedTable& table, const ChainFilter& filter) {
  std::vector<Chain> chains;
  for (const SavedChain& saved : table.chains) {
    if (saved.builtin() || !filter.matches(saved.name)) continue;
    Chain chain{saved.name, {}};
    for (const SavedRule& rule : table.rules) {
      if (rule.chain == saved.name) chain.rules.push_back(rule.words);
    }
    chains.push_back(std::move(chain));
  }
  return chains;
}

}  // namespace

Firewall select(const std::vector<SavedTable>& tables, const ChainFilter& filter) {
  Firewall firewall;
  for (const SavedTable& saved : tables) {
    firewall.tables.push_back({saved.name, chains_of(saved, filter), jumps_of(saved, filter)});
  }
  return canonical(firewall);
}

Result<Firewall> parse_save(std::string_view text, const ChainFilter& filter) {
  const auto tables = parse_tables(text);
  if (!tables) return tl::make_unexpected(tables.error());
  return select(*tables, filter);
}

std::uint8_t protocol_number(std::string_view name) {
  if (name == "tcp") return IPPROTO_TCP;
  if (name == "udp") return IPPROTO_UDP;
  if (name == "icmp") return IPPROTO_ICMP;
  return IPPROTO_RAW;  // another: none of the bond's
}

MarkValue parse_mark(const std::string& text) {
  MarkValue value;
  char* end = nullptr;
  value.mark = static_cast<std::uint32_t>(std::strtoul(text.c_str(), &end, 0));
  if (*end == '/') value.mask = static_cast<std::uint32_t>(std::strtoul(end + 1, nullptr, 0));
  return value;
}

}  // namespace bondd::rules

// One spelling for a rule, that of iptables-save, so that what was written and what is
// read back can be compared word by word.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <optional>

#include "bondd/base/ip.h"
#include "rules/iptables.h"

namespace bondd::rules {
namespace {

using Words = std::vector<std::string>;

// The options of the rule itself, in iptables-save's order; all others belong to a
// match or a target. Long spellings map to the short one.
struct OwnOption {
  std::string_view option, longer;
};
constexpr std::array kOwnOptions{OwnOption{"-s", "--source"}, OwnOption{"-d", "--destination"},
                                 OwnOption{"-i", "--in-interface"}, OwnOption{"-o", "--out-interface"},
                                 OwnOption{"-p", "--protocol"}};

// Matches that iptables adds by itself when -p names them and one of their options follows.
bool implied_match(std::string_view protocol, std::string_view option) {
  if (protocol == "tcp" || protocol == "udp") {
    return option == "--dport" || option == "--sport" || option == "--destination-port" ||
           option == "--source-port" || option == "--tcp-flags" || option == "--syn";
  }
  return (protocol == "icmp" && option == "--icmp-type") ||
         (protocol == "ipv6-icmp" && option == "--icmpv6-type");
}

std::string_view short_option(std::string_view word) {
  if (word == "--match") return "-m";
  if (word == "--jump") return "-j";
  if (word == "--goto") return "-g";
  if (word == "--destination-port") return "--dport";
  if (word == "--source-port") return "--sport";
  if (word == "--src") return "-s";
  if (word == "--dst") return "-d";
  for (const auto& own : kOwnOptions) {
    if (word == own.longer) return own.option;
  }
  return word;
}

// "192.168.1.10" is "192.168.1.10/32", host bits are cleared; what is no address stays.
std::string canonical_prefix(const std::string& word) {
  const auto prefix = parse_prefix(word);
  return prefix ? to_string(prefix->network()) : word;
}

std::optional<std::uint32_t> parse_number(std::string_view text) {
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  if (hex) text.remove_prefix(2);
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, hex ? 16 : 10);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct MarkMask {
  std::uint32_t mark = 0, mask = 0xffffffff;
};

std::optional<MarkMask> parse_mark(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto mark = parse_number(text.substr(0, slash));
  if (!mark) return std::nullopt;
  if (slash == std::string_view::npos) return MarkMask{*mark};
  const auto mask = parse_number(text.substr(slash + 1));
  if (!mask) return std::nullopt;
  return MarkMask{*mark, *mask};
}

// `option` of -m mark, -m connmark, -j MARK and -j CONNMARK with its value, as printed.
void canonical_mark(std::string& option, std::string& value) {
  auto mark = parse_mark(value);
  if (!mark) return;
  if (option == "--set-mark") {  // bits outside the mask are kept, inside they become the mark
    option = "--set-xmark";
    mark->mask |= mark->mark;
  } else if (option == "--or-mark") {
    option = "--set-xmark";
    mark->mask = mark->mark;
  } else if (option == "--and-mark") {
    option = "--set-xmark";
    *mark = {0, ~mark->mark};
  }
  const bool whole = option == "--mark" && mark->mask == 0xffffffff;
  value = whole ? fmt::format("{:#x}", mark->mark) : fmt::format("{:#x}/{:#x}", mark->mark, mark->mask);
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

bool takes_mark(std::string_view option) {
  return option == "--mark" || option == "--set-mark" || option == "--set-xmark" || option == "--or-mark" ||
         option == "--and-mark";
}

// The words after the rule's own options: matches and the target.
Words canonical_rest(const Words& words, std::string_view protocol) {
  Words rest;
  bool has_protocol_match = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string word = words[i];
    const std::string next = i + 1 < words.size() ? words[i + 1] : "";
    if (word == "-m" && next == protocol) has_protocol_match = true;
    if (!has_protocol_match && implied_match(protocol, word == "!" ? next : word)) {
      rest.insert(rest.end(), {"-m", std::string(protocol)});
      has_protocol_match = true;
    }
    if (takes_mark(word) && !next.empty()) {
      std::string value = next;
      canonical_mark(word, value);
      rest.insert(rest.end(), {word, value});
      ++i;
      continue;
    }
    if (word == "--mac-source" && !next.empty()) {  // iptables before 1.8.8 prints capitals
      rest.push_back(std::move(word));
      rest.push_back(lower(next));
      ++i;
      continue;
    }
    rest.push_back(std::move(word));
  }
  return rest;
}

void sort_table(Table& table) {
  std::sort(table.chains.begin(), table.chains.end());
  std::sort(table.jumps.begin(), table.jumps.end());
  table.jumps.erase(std::unique(table.jumps.begin(), table.jumps.end()), table.jumps.end());
}

}  // namespace

bool ChainFilter::matches(std::string_view chain) const {
  if (!chain.starts_with(prefix)) return false;
  if (suffix.empty()) return true;
  if (chain.size() <= prefix.size() + suffix.size() || !chain.ends_with(suffix)) return false;
  const auto part = chain.substr(prefix.size(), chain.size() - prefix.size() - suffix.size());
  return part.find('-') == std::string_view::npos;
}

Words canonical_rule(const Words& rule) {
  std::array<Words, kOwnOptions.size()> own;
  Words others;
  std::string protocol;
  for (std::size_t i = 0; i < rule.size(); ++i) {
    const bool inverted = rule[i] == "!" && i + 2 < rule.size();
    const std::size_t at = inverted ? i + 1 : i;
    const std::string_view option = short_option(rule[at]);
    const auto* found = std::find_if(kOwnOptions.begin(), kOwnOptions.end(),
                                     [&](const OwnOption& known) { return known.option == option; });
    if (found == kOwnOptions.end() || at + 1 >= rule.size()) {
      others.emplace_back(short_option(rule[i]));
      continue;
    }
    std::string value = rule[at + 1];
    if (option == "-s" || option == "-d") value = canonical_prefix(value);
    if (option == "-p") protocol = value;
    Words& slot = own[static_cast<std::size_t>(found - kOwnOptions.begin())];
    if (inverted) slot.emplace_back("!");
    const bool everything = !inverted && (value == "0.0.0.0/0" || value == "::/0" || value == "all");
    if (!everything) slot.insert(slot.end(), {std::string(option), value});
    i = at + 1;
  }
  Words result;
  for (const Words& slot : own) result.insert(result.end(), slot.begin(), slot.end());
  const Words rest = canonical_rest(others, protocol);
  result.insert(result.end(), rest.begin(), rest.end());
  return result;
}

Firewall canonical(const Firewall& firewall) {
  Firewall result;
  for (Table table : firewall.tables) {
    if (table.chains.empty() && table.jumps.empty()) continue;
    for (Chain& chain : table.chains) {
      for (auto& rule : chain.rules) rule = canonical_rule(rule);
    }
    sort_table(table);
    result.tables.push_back(std::move(table));
  }
  std::sort(result.tables.begin(), result.tables.end());
  return result;
}

bool equivalent(const Firewall& wanted, const Firewall& observed) {
  const auto without_places = [](Firewall firewall) {
    for (Table& table : firewall.tables) {
      for (Jump& jump : table.jumps) jump.first = true;
    }
    return canonical(firewall);
  };
  return without_places(wanted) == without_places(observed);
}

}  // namespace bondd::rules

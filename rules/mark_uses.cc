// Which rules of others look at or write marks, and in which bits.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdint>
#include <cstdlib>

#include "rules/save_file.h"

namespace bondd::rules {
namespace {

constexpr std::uint32_t kAllBits = 0xffffffff;

struct Value {
  std::uint32_t mark = 0, mask = kAllBits;
};

// "0x1/0xff" or "0x1", as iptables-save prints them.
Value parse(const std::string& text) {
  Value value;
  char* end = nullptr;
  value.mark = static_cast<std::uint32_t>(std::strtoul(text.c_str(), &end, 0));
  if (*end == '/') value.mask = static_cast<std::uint32_t>(std::strtoul(end + 1, nullptr, 0));
  return value;
}

// What follows `option`, empty without it.
std::string after(const Words& words, std::string_view option) {
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == option) return words[i + 1];
  }
  return {};
}

bool has(const Words& words, std::string_view option) {
  for (const std::string& word : words) {
    if (word == option) return true;
  }
  return false;
}

// iptables-save leaves a mask out that has all bits.
std::uint32_t mask_after(const Words& words, std::string_view option) {
  const std::string text = after(words, option);
  return text.empty() ? kAllBits : parse(text).mark;
}

MarkUse use_of(const Words& words) {
  MarkUse use;
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    const Value value = parse(words[i + 1]);
    if (words[i] == "--mark") use.bits |= value.mark & value.mask;  // bits that are compared with 1
    const bool sets = words[i] == "--set-xmark" || words[i] == "--set-mark" || words[i] == "--tproxy-mark";
    if (!sets) continue;
    use.bits |= value.mask | value.mark;
    if (after(words, "-j") == "CONNMARK") continue;
    use.writes = value.mask | value.mark;
    use.value = value.mark;
  }
  if (has(words, "--restore-mark")) use.bits |= mask_after(words, "--nfmask");
  if (has(words, "--save-mark")) use.bits |= mask_after(words, "--ctmask");
  return use;
}

}  // namespace

std::vector<MarkUse> mark_uses(const std::vector<SavedTable>& tables) {
  std::vector<MarkUse> out;
  for (const SavedTable& table : tables) {
    for (const SavedRule& rule : table.rules) {
      if (rule.chain.starts_with("BONDD-")) continue;
      MarkUse use = use_of(rule.words);
      if (use.bits == 0) continue;
      use.rule = fmt::format("{} -A {} {}", table.name, rule.chain, fmt::join(rule.words, " "));
      out.push_back(std::move(use));
    }
  }
  return out;
}

}  // namespace bondd::rules

// Which rules of others look at or write marks, and in which bits.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/netfilter.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <variant>

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

// --- nft's own syntax ---

std::uint32_t to_number(const Bytes& bytes) {  // marks are in the machine's byte order
  std::uint32_t number = 0;
  std::memcpy(&number, bytes.data(), std::min(bytes.size(), sizeof number));
  return number;
}

// What a register holds: `(mark & keeps) ^ toggle` of the packet's or the connection's mark, or, with
// keeps = 0, a value.
struct Content {
  std::uint32_t keeps = kAllBits, toggle = 0;
  NftLoad::What of = NftLoad::What::kOther;
};

class NftReader {
 public:
  MarkUse read(const NftRule& rule) {
    for (const NftExpression& expression : rule.expressions)
      std::visit([&](const auto& one) { step(one); }, expression);
    return use_;
  }

 private:
  void step(const NftLoad& load) {
    content_.erase(load.to);
    if (load.what == NftLoad::What::kMark || load.what == NftLoad::What::kConnectionMark)
      content_[load.to] = {kAllBits, 0, load.what};
  }
  void step(const NftBitwise& bitwise) {
    const auto found = content_.find(bitwise.from);
    if (found == content_.end()) {
      content_.erase(bitwise.to);
      return;
    }
    const std::uint32_t mask = to_number(bitwise.mask);
    const Content before = found->second;
    content_[bitwise.to] = {before.keeps & mask, (before.toggle & mask) ^ to_number(bitwise.toggle),
                            before.of};
  }
  void step(const NftHarmless& harmless) {
    if (harmless.to != 0) {
      content_.erase(harmless.to);
      if (!harmless.value.empty())
        content_[harmless.to] = {0, to_number(harmless.value), NftLoad::What::kOther};
    }
    if (harmless.mark != 0) write(harmless.mark, NftLoad::What::kMark);
    if (harmless.connection_mark != 0) write(harmless.connection_mark, NftLoad::What::kConnectionMark);
  }
  // Bits that are compared with 1, as with iptables.
  void step(const NftCompare& compare) {
    const auto found = content_.find(compare.from);
    if (found != content_.end()) use_.bits |= to_number(compare.with) & found->second.keeps;
  }
  template <typename Other>
  void step(const Other& /*other*/) {}

  void write(std::uint32_t from, NftLoad::What mark) {
    const auto found = content_.find(from);
    const bool known = found != content_.end() && (found->second.of == mark || found->second.keeps == 0);
    if (!known) {  // all bits, and nobody knows with what
      use_.bits = kAllBits;
      return;
    }
    const std::uint32_t writes = ~found->second.keeps | found->second.toggle;
    use_.bits |= writes;
    if (mark != NftLoad::What::kMark) return;
    use_.writes = writes;
    use_.value = found->second.toggle;
  }

  std::map<std::uint32_t, Content> content_;  // by register
  MarkUse use_;
};

std::string_view family_name(std::uint8_t family) {
  switch (family) {
    case NFPROTO_INET:
      return "inet";
    case NFPROTO_IPV4:
      return "ip";
    case NFPROTO_IPV6:
      return "ip6";
    default:  // of an integer, not of an enum of ours
      return "other";
  }
}

}  // namespace

std::vector<MarkUse> mark_uses(const NftRuleset& ruleset, const std::set<std::string>& shown) {
  std::vector<MarkUse> out;
  for (const NftTable& table : ruleset.tables) {
    const std::string_view family = family_name(table.family);
    if (family != "inet" && family != "ip") continue;  // the bond's packets are IPv4
    if (family == "ip" && shown.contains(table.name)) continue;
    for (const NftChain& chain : table.chains) {
      if (is_ours(chain.name)) continue;
      for (const NftRule& rule : chain.rules) {
        MarkUse use = NftReader().read(rule);
        if (use.bits == 0) continue;
        use.rule = fmt::format("nft -a list chain {} {} {} (handle {})", family, table.name, chain.name,
                               rule.handle);
        out.push_back(std::move(use));
      }
    }
  }
  return out;
}

std::vector<MarkUse> mark_uses(const std::vector<SavedTable>& tables) {
  std::vector<MarkUse> out;
  for (const SavedTable& table : tables) {
    for (const SavedRule& rule : table.rules) {
      if (is_ours(rule.chain)) continue;
      MarkUse use = use_of(rule.words);
      if (use.bits == 0) continue;
      use.rule = fmt::format("iptables -t {} -A {} {}", table.name, rule.chain, fmt::join(rule.words, " "));
      out.push_back(std::move(use));
    }
  }
  return out;
}

}  // namespace bondd::rules

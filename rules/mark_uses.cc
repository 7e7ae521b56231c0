// Which rules of others look at or write marks, and in which bits.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/netfilter.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <variant>

#include "rules/nft_verdict.h"
#include "rules/save_file.h"

namespace bondd::rules {
namespace {

constexpr std::uint32_t kAllBits = 0xffffffff;

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
  return text.empty() ? kAllBits : parse_mark(text).mark;
}

// Where a built-in chain's rules see packets, as far as their marks can still choose a route: only table
// mangle has a packet that it marks routed anew.
MarkUse::Hook hook_of(std::string_view table, std::string_view chain) {
  if (chain == "PREROUTING") return MarkUse::Hook::kPrerouting;
  if (chain == "OUTPUT") return table == "mangle" ? MarkUse::Hook::kOutput : MarkUse::Hook::kAfterRouting;
  const bool later = chain == "INPUT" || chain == "FORWARD" || chain == "POSTROUTING";
  return later ? MarkUse::Hook::kAfterRouting : MarkUse::Hook::kAnywhere;
}

// The options before the target, "-i lan -p udp -m mark --mark 0x0/0xff".
void read_selectors(const Words& words, MarkUse& use) {
  bool no = false;
  for (std::size_t i = 0; i < words.size() && words[i] != "-j" && words[i] != "-g"; i += 2) {
    if (words[i] == "!") {
      no = true;
      --i;
      continue;
    }
    const std::string& value = i + 1 < words.size() ? words[i + 1] : words[i];
    const bool module = words[i] == "-m" && (value == "comment" || value == "mark" || value == "udp");
    const bool unmarked = words[i] == "--mark" && parse_mark(value).mark == 0 && !no;
    if (!no && words[i] == "-i") {
      use.iif = value;
    } else if (!no && words[i] == "-o") {
      use.oif = value;
    } else if (!no && words[i] == "-p") {
      use.protocol = protocol_number(value);
    } else if (!module && !unmarked && words[i] != "--comment" && !(words[i] == "-o" && value == "lo")) {
      use.narrow = true;
    }
    no = false;
  }
}

MarkUse use_of(const Words& words) {
  MarkUse use;
  read_selectors(words, use);
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    const MarkValue value = parse_mark(words[i + 1]);
    if (words[i] == "--mark") use.bits |= value.mark & value.mask;  // bits that are compared with 1
    const bool sets = words[i] == "--set-xmark" || words[i] == "--set-mark" || words[i] == "--tproxy-mark";
    if (!sets) continue;
    use.bits |= value.mask | value.mark;
    const bool connection = after(words, "-j") == "CONNMARK";
    (connection ? use.connection_writes : use.writes) = value.mask | value.mark;
    (connection ? use.connection_value : use.value) = value.mark;
  }
  if (has(words, "--restore-mark")) {
    use.bits |= mask_after(words, "--nfmask");
    use.restores = mask_after(words, "--ctmask");
  }
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
  void step(const NftLoad& load) { content_[load.to] = {kAllBits, 0, load.what}; }
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
    use_.any_value |= harmless.marks;
    if (harmless.mark != 0) write(harmless.mark, NftLoad::What::kMark);
    if (harmless.connection_mark != 0) write(harmless.connection_mark, NftLoad::What::kConnectionMark);
  }
  void step(const NftCompare& compare) {
    const auto found = content_.find(compare.from);
    const Content content = found == content_.end() ? Content{} : found->second;
    const bool equal = compare.is == NftCompare::Is::kEqual;
    switch (content.of) {
      case NftLoad::What::kMark:
      case NftLoad::What::kConnectionMark:  // bits that are compared with 1, as with iptables
        use_.bits |= to_number(compare.with) & content.keeps;
        use_.narrow |= !equal || to_number(compare.with) != 0;
        return;
      case NftLoad::What::kInputName:
        return step_device(equal, device_name(compare.with), use_.iif);
      case NftLoad::What::kOutputName:
        return step_device(equal, device_name(compare.with), use_.oif);
      case NftLoad::What::kInputIndex:
        return step_number(equal, to_number(compare.with), use_.iif_index);
      case NftLoad::What::kOutputIndex:
        return step_number(equal, to_number(compare.with), use_.oif_index);
      case NftLoad::What::kTransportProtocol:
        return step_number(equal, to_number(compare.with), use_.protocol);
      case NftLoad::What::kNetworkProtocol:
        return;
      case NftLoad::What::kEtherType:
      case NftLoad::What::kConnectionState:
      case NftLoad::What::kConnectionStatus:
      case NftLoad::What::kConnectionDirection:
      case NftLoad::What::kReversePath:
      case NftLoad::What::kDestinationType:
      case NftLoad::What::kNetworkHeader:
      case NftLoad::What::kTransportHeader:
      case NftLoad::What::kUnread:
      case NftLoad::What::kOther:
        use_.narrow = true;
        return;
    }
  }
  void step(const NftVerdict& /*verdict*/) {}
  template <typename Other>
  void step(const Other& /*other*/) {
    use_.narrow = true;
  }

  // What leaves by lo is none of the bond's: "all but lo" is all.
  void step_device(bool equal, const std::string& name, std::string& into) {
    if (equal) into = name;
    if (!equal && name != "lo") use_.narrow = true;
  }
  template <typename Number>
  void step_number(bool equal, std::uint32_t number, Number& into) {
    if (equal) into = static_cast<Number>(number);
    if (!equal) use_.narrow = true;
  }
  // A name that is cut short is the beginning of one ("eth*"), here as iptables writes it.
  static std::string device_name(const Bytes& bytes) {
    const auto end = std::find(bytes.begin(), bytes.end(), std::uint8_t{0});
    return std::string(bytes.begin(), end) + (end == bytes.end() ? "+" : "");
  }

  void write(std::uint32_t from, NftLoad::What mark) {
    const auto found = content_.find(from);
    const Content content = found == content_.end() ? Content{} : found->second;
    const bool packet = mark == NftLoad::What::kMark;
    if (content.of == mark || content.keeps == 0) {
      const std::uint32_t writes = ~content.keeps | content.toggle;
      use_.bits |= writes;
      (packet ? use_.writes : use_.connection_writes) = writes;
      (packet ? use_.value : use_.connection_value) = content.toggle;
      return;
    }
    use_.bits = kAllBits;
    if (!packet) return;  // the packet's mark, kept for the connection's other packets
    if (content.of == NftLoad::What::kConnectionMark) {
      use_.restores = content.keeps;
    } else {
      use_.any_value = true;
    }
  }

  std::map<std::uint32_t, Content> content_;  // by register
  MarkUse use_;
};

// A chain without a hook is jumped to. Only one of type "route" has a packet that it marks routed anew.
MarkUse::Hook hook_of(const NftChain& chain) {
  if (!chain.hook) return MarkUse::Hook::kAnywhere;
  if (chain.hook->number == NF_INET_PRE_ROUTING) return MarkUse::Hook::kPrerouting;
  const bool again = chain.hook->number == NF_INET_LOCAL_OUT && chain.hook->type == "route";
  return again ? MarkUse::Hook::kOutput : MarkUse::Hook::kAfterRouting;
}

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

std::uint32_t written_mark_bits(const NftRuleset& ruleset) {
  std::uint32_t bits = 0;
  for (const NftTable& table : ruleset.tables) {
    for (const NftChain& chain : table.chains) {
      if (is_ours(chain.name)) continue;
      for (const NftRule& rule : chain.rules) {
        const MarkUse use = NftReader().read(rule);
        bits |= use.any_value ? kAllBits : use.writes | use.connection_writes | use.restores;
      }
    }
  }
  return bits;
}

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
        use.hook = hook_of(chain);
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
      use.hook = hook_of(table.name, rule.chain);
      use.rule = fmt::format("iptables -t {} -A {} {}", table.name, rule.chain, fmt::join(rule.words, " "));
      out.push_back(std::move(use));
    }
  }
  return out;
}

}  // namespace bondd::rules

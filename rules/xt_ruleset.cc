#include "rules/xt_ruleset.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>

#include "bondd/base/ip.h"
#include "rules/builtin_chains.h"
#include "rules/nft_expression.h"

namespace bondd::rules {
namespace {

constexpr std::uint32_t kRegister = 1;  // NFT_REG_1

Bytes bytes_of(std::uint32_t value) {  // as the kernel has a mark in memory
  Bytes bytes(sizeof value);
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

struct Named {
  std::string_view name;
  std::uint32_t value;
};
template <std::size_t kSize>
std::optional<std::uint32_t> value_of(const std::array<Named, kSize>& names, std::string_view wanted) {
  const auto found =
      std::find_if(names.begin(), names.end(), [&](const Named& one) { return one.name == wanted; });
  return found == names.end() ? std::nullopt : std::optional(found->value);
}

constexpr std::array kStates{
    Named{"INVALID", NF_CT_STATE_INVALID_BIT}, Named{"ESTABLISHED", NF_CT_STATE_BIT(IP_CT_ESTABLISHED)},
    Named{"RELATED", NF_CT_STATE_BIT(IP_CT_RELATED)}, Named{"NEW", NF_CT_STATE_BIT(IP_CT_NEW)},
    Named{"UNTRACKED", NF_CT_STATE_UNTRACKED_BIT}};
constexpr std::array kAddressTypes{Named{"UNSPEC", RTN_UNSPEC},       Named{"UNICAST", RTN_UNICAST},
                                   Named{"LOCAL", RTN_LOCAL},         Named{"BROADCAST", RTN_BROADCAST},
                                   Named{"ANYCAST", RTN_ANYCAST},     Named{"MULTICAST", RTN_MULTICAST},
                                   Named{"BLACKHOLE", RTN_BLACKHOLE}, Named{"UNREACHABLE", RTN_UNREACHABLE},
                                   Named{"PROHIBIT", RTN_PROHIBIT}};
constexpr std::array kTcpFlags{Named{"FIN", 1},  Named{"SYN", 2},  Named{"RST", 4},  Named{"PSH", 8},
                               Named{"ACK", 16}, Named{"URG", 32}, Named{"ALL", 63}, Named{"NONE", 0}};

std::vector<std::string_view> split(std::string_view list, char at) {
  std::vector<std::string_view> out;
  for (;;) {
    const std::size_t end = std::min(list.find(at), list.size());
    out.push_back(list.substr(0, end));
    if (end == list.size()) return out;
    list.remove_prefix(end + 1);
  }
}

// All of "FIN,SYN" in one number; nothing if one of them is not known.
template <std::size_t kSize>
std::optional<std::uint32_t> all_of(const std::array<Named, kSize>& names, std::string_view list) {
  std::uint32_t out = 0;
  for (const std::string_view name : split(list, ',')) {
    const auto value = value_of(names, name);
    if (!value) return std::nullopt;
    out |= *value;
  }
  return out;
}

std::optional<std::uint16_t> port(std::string_view text) {
  std::uint16_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

// "80,443:445"
std::optional<std::vector<NftPorts::Range>> ranges(std::string_view list) {
  std::vector<NftPorts::Range> out;
  for (const std::string_view one : split(list, ',')) {
    const auto ends = split(one, ':');
    const auto first = port(ends.front()), last = port(ends.back());
    if (!first || !last) return std::nullopt;
    out.push_back({*first, *last});
  }
  return out;
}

// "10.1.2.3:1024-2048"; nothing of a range of addresses.
std::optional<IpAddress> address(const std::string& text) {
  const auto value = parse_ip(std::string(split(text, ':').front()));
  return value ? std::optional(*value) : std::nullopt;
}

// The words of one rule, from left to right.
class RuleReader {
 public:
  RuleReader(const Words& words, const SavedTable& table) : words_(words), table_(table) {}

  NftRule read() {
    while (at_ < words_.size()) {
      const std::string& word = words_[at_++];
      if (word == "!") {
        inside_ = false;
        continue;
      }
      if (word == "-j" || word == "-g") {
        read_target(next(), word == "-g");
        break;
      }
      if (!read_selector(word) && !read_match(word)) unknown(word);
      inside_ = true;
    }
    return std::move(rule_);
  }

 private:
  std::string next() { return at_ < words_.size() ? words_[at_++] : ""; }
  void add(NftExpression expression) { rule_.expressions.push_back(std::move(expression)); }
  // A word whose meaning is not known, with its values.
  void unknown(const std::string& word) {
    add(NftUnknown{word});
    while (at_ < words_.size() && words_[at_] != "!" && !words_[at_].starts_with('-')) ++at_;
  }
  template <typename Value>
  [[nodiscard]] bool known(const std::string& word, const std::optional<Value>& value) {
    if (!value) unknown(word);
    return value.has_value();
  }
  [[nodiscard]] NftCompare::Is is() const {
    return inside_ ? NftCompare::Is::kEqual : NftCompare::Is::kOther;
  }

  // Loads, masks and compares.
  void add_comparison(const NftLoad& load, Bytes mask, Bytes with) {
    add(load);
    if (!mask.empty()) add(NftBitwise{kRegister, kRegister, std::move(mask), Bytes(with.size())});
    add(NftCompare{is(), kRegister, std::move(with)});
  }

  bool read_selector(const std::string& word) {
    using What = NftLoad::What;
    if (word == "-i" || word == "-o") {
      add_device(word == "-i" ? What::kInputName : What::kOutputName, next());
    } else if (word == "-s" || word == "-d") {
      constexpr std::uint32_t kSource = 12, kDestination = 16;  // in the IPv4 header
      add_address(word, word == "-s" ? kSource : kDestination);
    } else if (word == "-p") {
      add_comparison({What::kTransportProtocol, kRegister, 0, 0}, {}, {protocol_number(next())});
    } else if (word == "-m") {
      module_ = next();
      constexpr std::array<std::string_view, 9> kRead{"tcp",  "udp",      "multiport", "conntrack", "state",
                                                      "mark", "connmark", "comment",   "addrtype"};
      if (std::find(kRead.begin(), kRead.end(), module_) == kRead.end()) add(unknown_match(module_));
    } else {
      return false;
    }
    return true;
  }

  void add_device(NftLoad::What what, std::string device) {
    const bool beginning = device.ends_with('+');
    if (beginning) device.pop_back();
    Bytes with(device.begin(), device.end());
    if (!beginning) with.push_back(0);
    add_comparison({what, kRegister, 0, 0}, {}, std::move(with));
  }

  void add_address(const std::string& word, std::uint32_t offset) {
    const auto prefix = parse_prefix(next());
    if (!prefix || !prefix->address.is_v4()) return unknown(word);
    const std::uint32_t all = ~std::uint32_t{0};
    const std::uint32_t mask = prefix->length == 0 ? 0 : all << (prefix->address.bits() - prefix->length);
    const auto* data = prefix->address.data();
    const Bytes with(data, data + prefix->address.size());
    add_comparison({NftLoad::What::kNetworkHeader, kRegister, offset, 4}, bytes_of(htonl(mask)), with);
  }

  // The options of the modules that are read.
  bool read_match(const std::string& word) {
    if (word == "--comment") {
      next();
    } else if (word == "--dport" || word == "--dports") {
      add_ports(word, NftPorts::Of::kDestination);
    } else if (word == "--sport" || word == "--sports") {
      add_ports(word, NftPorts::Of::kSource);
    } else if (word == "--ports") {
      add_ports(word, NftPorts::Of::kEither);
    } else if (word == "--ctstate" || word == "--state") {
      add_states(word);
    } else if (word == "--mark") {
      add_mark();
    } else if (word == "--tcp-flags") {
      add_tcp_flags(word);
    } else if (word == "--dst-type" || word == "--src-type") {
      add_address_type(word);
    } else if (word == "--invert" && module_ == "rpfilter") {
      rule_.expressions.back() = NftReversePath{true};  // in place of the unknown module
    } else {
      return false;
    }
    return true;
  }

  void add_ports(const std::string& word, NftPorts::Of of) {
    auto list = ranges(next());
    if (known(word, list)) add(NftPorts{of, inside_, std::move(*list)});
  }

  void add_states(const std::string& word) {
    NftStates out{0, inside_, false};
    for (const std::string& list = next(); const std::string_view name : split(list, ',')) {
      const auto state = name == "DNAT" ? std::optional(0U) : value_of(kStates, name);
      if (!known(word, state)) return;
      out.states |= *state;
      out.translated |= name == "DNAT";
    }
    add(out);
  }

  // "0x1/0xff"
  void add_mark() {
    const MarkValue value = parse_mark(next());
    const auto what = module_ == "connmark" ? NftLoad::What::kConnectionMark : NftLoad::What::kMark;
    add_comparison({what, kRegister, 0, 0}, bytes_of(value.mask), bytes_of(value.mark));
  }

  void add_tcp_flags(const std::string& word) {
    constexpr std::uint32_t kOffset = 13;
    const auto mask = all_of(kTcpFlags, next()), flags = all_of(kTcpFlags, next());
    if (!known(word, mask) || !known(word, flags)) return;
    add_comparison({NftLoad::What::kTransportHeader, kRegister, kOffset, 1},
                   {static_cast<std::uint8_t>(*mask)}, {static_cast<std::uint8_t>(*flags)});
  }

  void add_address_type(const std::string& word) {
    std::uint32_t types = 0;
    for (const std::string& list = next(); const std::string_view name : split(list, ',')) {
      const auto type = value_of(kAddressTypes, name);
      if (!known(word, type)) return;
      types |= 1U << *type;
    }
    add(NftAddressType{word == "--src-type", inside_, types});
  }

  // The rest of the words are the target's.
  void read_target(const std::string& target, bool go) {
    using Kind = NftVerdict::Kind;
    if (table_.has_chain(target)) return add(NftVerdict{go ? Kind::kGoto : Kind::kJump, target});
    const std::string option = next();
    if (target == "CT" && option == "--notrack") return add(NftNoTrack{});
    if (target == "MARK" && option == "--set-xmark") return add_set_mark(next());
    NftExpression out = xt_target(target);
    if (auto* verdict = std::get_if<NftVerdict>(&out); verdict != nullptr && option == "--to-source")
      verdict->nat->to = address(next());
    add(std::move(out));
  }

  // "0x1/0xff": (mark & ~0xff) ^ 0x1
  void add_set_mark(const std::string& text) {
    const MarkValue value = parse_mark(text);
    add(NftLoad{NftLoad::What::kMark, kRegister, 0, 0});
    add(NftBitwise{kRegister, kRegister, bytes_of(~value.mask), bytes_of(value.mark)});
    add(NftHarmless{0, false, {}, kRegister, 0, false});
  }

  const Words& words_;
  const SavedTable& table_;
  std::size_t at_ = 0;
  bool inside_ = true;  // without "!"
  std::string module_;
  NftRule rule_;
};

std::optional<NftHook> hook_of(std::string_view table, std::string_view chain, bool drops) {
  const auto* found = std::find_if(kBuiltins.begin(), kBuiltins.end(), [&](const Builtin& one) {
    return one.table == table && one.chain == chain;
  });
  if (found == kBuiltins.end()) return std::nullopt;
  return NftHook{found->hook, found->priority, std::string(found->type), drops, {}};
}

NftChain& chain_of(NftTable& table, const std::string& name) {
  for (NftChain& chain : table.chains) {
    if (chain.name == name) return chain;
  }
  return table.chains.emplace_back(NftChain{name, hook_of(table.name, name, false), {}});
}

NftTable& table_of(NftRuleset& ruleset, const std::string& name, const std::string& legacy) {
  for (NftTable& table : ruleset.tables) {
    if (table.family == NFPROTO_IPV4 && table.name == name && table.legacy == legacy) return table;
  }
  NftTable& made = ruleset.tables.emplace_back();
  made.family = NFPROTO_IPV4;
  made.name = name;
  made.legacy = legacy;
  return made;
}

}  // namespace

NftTable xt_table(const SavedTable& table, const std::string& legacy) {
  NftTable out;
  out.family = NFPROTO_IPV4;
  out.name = table.name;
  out.legacy = legacy;
  for (const SavedChain& chain : table.chains) {
    auto hook = chain.builtin() ? hook_of(table.name, chain.name, chain.policy == "DROP") : std::nullopt;
    out.chains.push_back({chain.name, std::move(hook), {}});
  }
  for (const SavedRule& rule : table.rules)
    chain_of(out, rule.chain).rules.push_back(RuleReader(rule.words, table).read());
  return out;
}

void add_planned(NftRuleset& ruleset, const Firewall& planned, const std::string& legacy) {
  for (const Table& table : planned.tables) {
    NftTable& there = table_of(ruleset, table.name, legacy);
    SavedTable words{table.name, {}, {}};
    for (const Chain& chain : table.chains) words.chains.push_back({chain.name, "-"});
    for (const Chain& chain : table.chains) {
      if (there.chain(chain.name) != nullptr) continue;  // it runs
      NftChain& made = chain_of(there, chain.name);
      for (const auto& rule : chain.rules) made.rules.push_back(RuleReader(rule, words).read());
    }
    for (const Jump& jump : table.jumps) {
      auto& rules = chain_of(there, jump.builtin).rules;
      const bool jumps = std::any_of(rules.begin(), rules.end(),
                                     [&](const NftRule& rule) { return plain_jump(rule) == jump.chain; });
      if (jumps) continue;
      rules.insert(jump.first ? rules.begin() : rules.end(),
                   NftRule{0, {NftVerdict{NftVerdict::Kind::kJump, jump.chain}}});
    }
  }
}

}  // namespace bondd::rules

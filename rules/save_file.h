// The text format of iptables-save and iptables-restore: its words, its quotes, its tables.
// Only for this directory's .cc files and tests.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/base/error.h"
#include "rules/firewall.h"
#include "rules/iptables.h"

namespace bondd::rules {

using Words = std::vector<std::string>;

// The text of one line for `words`, quoted where iptables-restore needs it. EINVAL for a word
// with control characters or longer than it takes: such a word could become another line.
Result<std::string> join_words(const Words& words);
// Back; fails on an open quote.
Result<Words> split_words(std::string_view line);

struct SavedRule {
  std::string chain;
  Words words;  // after "-A CHAIN"
};
struct SavedChain {
  std::string name;
  std::string policy;  // "ACCEPT", "DROP"; "-" for one that is not built in
  [[nodiscard]] bool builtin() const { return policy != "-"; }
};
struct SavedTable {
  std::string name;
  std::vector<SavedChain> chains;
  std::vector<SavedRule> rules;

  [[nodiscard]] bool has_chain(std::string_view chain) const;
  [[nodiscard]] bool is_builtin(std::string_view chain) const;
  // How many rules of `chain` are nothing but a jump to `target`.
  [[nodiscard]] std::size_t count_jumps(std::string_view chain, std::string_view target) const;
};

// All of an iptables-save output. Fails on a line that it does not understand.
Result<std::vector<SavedTable>> parse_tables(std::string_view text);
// The rules among the lines of `iptables -S CHAIN`.
Result<std::vector<SavedRule>> parse_rules(std::string_view text);
const SavedTable* find_table(const std::vector<SavedTable>& tables, std::string_view name);

// Whether a chain is some site's: BONDD-….
bool is_ours(std::string_view chain);

// The chain that a rule jumps or goes to, empty if none.
std::string_view jump_target(const Words& words);

// Of these tables the chains that `filter` means and the jumps to them; canonical.
Firewall select(const std::vector<SavedTable>& tables, const ChainFilter& filter);

// EINVAL with the culprit unless all names are such as iptables takes and bondd makes.
Result<> check_names(const Firewall& firewall);

// iptables-restore text that makes `firewall` from what is `there` (one variant's tables).
Result<std::string> render_install(const Firewall& firewall, const std::vector<SavedTable>& there);

// Of "-p": IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP; IPPROTO_RAW for every other.
std::uint8_t protocol_number(std::string_view name);

// A mark with the bits of it that count: "0x1/0xff" or "0x1", as iptables-save prints them.
struct MarkValue {
  std::uint32_t mark = 0, mask = 0xffffffff;
};
MarkValue parse_mark(const std::string& text);

// The rules of others that have to do with marks.
std::vector<MarkUse> mark_uses(const std::vector<SavedTable>& tables);
// Those written in nft's own syntax, without the IPv4 tables that iptables shows.
std::vector<MarkUse> mark_uses(const NftRuleset& ruleset, const std::set<std::string>& shown);

// iptables-restore text that removes what of `firewall` is `there`; empty if nothing is.
struct Removal {
  std::string text;
  std::vector<std::string> in_use;  // rules of others that keep a chain from being deleted
};
Result<Removal> render_removal(const Firewall& firewall, const std::vector<SavedTable>& there);

}  // namespace bondd::rules

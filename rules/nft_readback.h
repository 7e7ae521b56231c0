// What iptables-nft-save does not show. As soon as one rule of a table is in nft's own syntax, it shows a
// comment instead of the table, and succeeds. The rules still filter, and iptables-nft-restore still adds to
// them.
//
//   kernel (netlink): tables, chains, which rule jumps where  --+--> SavedTable, as if it had been shown
//   iptables-nft -S CHAIN: the words of bondd's own chains    --+
//
// Only for this directory's .cc files and tests.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "rules/nft_ruleset.h"
#include "rules/save_file.h"

namespace bondd::rules {

// Stands for a rule that has no words in iptables' syntax.
constexpr const char* kNftSyntax = "(nft)";

// Tables of iptables that `kernel` holds and `shown` lacks, or shows without one of bondd's chains.
std::set<std::string> unshown_tables(const std::vector<SavedTable>& shown, const NftRuleset& kernel);

// The text of `iptables-nft -t TABLE -S CHAIN`. EPROTO: the chain itself holds rules in nft's syntax.
using ListChain = std::function<Result<std::string>(const std::string& table, const std::string& chain)>;

// `table` as iptables-nft-save would print it: bondd's chains with their words, and of the others' rules what
// jumps where. A chain of bondd's with foreign rules in it has kNftSyntax in their place.
Result<SavedTable> read_back(const NftTable& table, const ListChain& list);

// Chains by the name of a built-in one that iptables cannot use, for they hook in elsewhere: what is wrong
// and what to do, one text each. Without it iptables only says "Operation not supported".
std::vector<std::string> unusable_chains(const NftRuleset& kernel, const Firewall& wanted);

// Deletes jumps to bondd's chains that are not wanted or there twice: iptables-nft-restore -D fails where it
// meets a rule that it does not understand. The first of several jumps stays.
Result<> remove_stale_jumps(const NftTable& there, const Table& wanted);
// Deletes the chains of `doomed` and all plain jumps to them, in one transaction. The result: rules of others
// that use a chain, which is then emptied and stays.
Result<std::vector<std::string>> remove_chains(const NftTable& there, const Table& doomed);

}  // namespace bondd::rules

#include "rules/nft_readback.h"

#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "rules/builtin_chains.h"
#include "rules/nft_socket.h"

namespace bondd::rules {
namespace {

constexpr std::array<std::string_view, 5> kTables{"filter", "mangle", "nat", "raw", "security"};

bool is_doomed(const Table& doomed, std::string_view chain) {
  return std::any_of(doomed.chains.begin(), doomed.chains.end(),
                     [&](const Chain& one) { return one.name == chain; }) ||
         std::any_of(doomed.jumps.begin(), doomed.jumps.end(),
                     [&](const Jump& jump) { return jump.chain == chain; });
}

// The words of a rule that is not bondd's own: only where it leads counts.
Words foreign_words(const NftRule& rule) {
  if (const auto target = plain_jump(rule); !target.empty()) return {"-j", std::string(target)};
  const auto target = jump_of(rule);
  return target.empty() ? Words{kNftSyntax} : Words{kNftSyntax, "-j", std::string(target)};
}

Result<std::vector<SavedRule>> own_rules(const NftTable& table, const NftChain& chain,
                                         const ListChain& list) {
  if (chain.rules.empty()) return std::vector<SavedRule>{};
  const auto text = list(table.name, chain.name);
  if (!text && text.error().code == EPROTO) return std::vector<SavedRule>{{chain.name, {kNftSyntax}}};
  if (!text) return tl::make_unexpected(text.error());
  return parse_rules(*text);
}

}  // namespace

std::set<std::string> unshown_tables(const std::vector<SavedTable>& shown, const NftRuleset& kernel) {
  std::set<std::string> unshown;
  for (const NftTable& table : kernel.tables) {
    const bool iptables = std::find(kTables.begin(), kTables.end(), table.name) != kTables.end();
    if (table.family != NFPROTO_IPV4 || !iptables) continue;
    const SavedTable* saved = find_table(shown, table.name);
    const bool blind =
        saved == nullptr ? !table.chains.empty()
                         : std::any_of(table.chains.begin(), table.chains.end(), [&](const NftChain& chain) {
                             return is_ours(chain.name) && !saved->has_chain(chain.name);
                           });
    if (blind) unshown.insert(table.name);
  }
  return unshown;
}

Result<SavedTable> read_back(const NftTable& table, const ListChain& list) {
  SavedTable saved{table.name, {}, {}};
  for (const NftChain& chain : table.chains) {
    saved.chains.push_back({chain.name, !chain.hook ? "-" : chain.hook->drops ? "DROP" : "ACCEPT"});
    if (is_ours(chain.name)) {
      auto rules = own_rules(table, chain, list);
      if (!rules)
        return tl::make_unexpected(
            rules.error().in(fmt::format("chain {} of table ip {}", chain.name, table.name)));
      saved.rules.insert(saved.rules.end(), rules->begin(), rules->end());
      continue;
    }
    for (const NftRule& rule : chain.rules) saved.rules.push_back({chain.name, foreign_words(rule)});
  }
  return saved;
}

std::vector<std::string> unusable_chains(const NftRuleset& kernel, const Firewall& wanted) {
  std::vector<std::string> out;
  for (const Table& table : wanted.tables) {
    const NftTable* there = kernel.table(NFPROTO_IPV4, table.name);
    for (const Builtin& builtin : kBuiltins) {
      const bool jumped_from = std::any_of(table.jumps.begin(), table.jumps.end(),
                                           [&](const Jump& jump) { return jump.builtin == builtin.chain; });
      const NftChain* chain = there != nullptr && jumped_from ? there->chain(builtin.chain) : nullptr;
      if (chain == nullptr || builtin.table != table.name) continue;
      const auto& hook = chain->hook;
      const bool usable = hook && hook->number == builtin.hook && hook->priority == builtin.priority &&
                          hook->type == builtin.type;
      if (usable) continue;
      out.push_back(fmt::format(
          "chain {0} of table ip {1} cannot be used by iptables: it is {2}, not of type {3} with priority "
          "{4}; "
          "move its rules to a table of your own (`table inet admin {{ chain … }}`) and delete it "
          "(`nft delete chain ip {1} {0}`)",
          builtin.chain, table.name,
          hook ? fmt::format("of type {} with priority {}", hook->type, hook->priority) : "no base chain",
          builtin.type, builtin.priority));
    }
  }
  return out;
}

Result<> remove_stale_jumps(const NftTable& there, const Table& wanted) {
  NftBatch batch;
  for (const NftChain& chain : there.chains) {
    if (!chain.hook) continue;
    std::set<std::string_view> kept;
    for (const NftRule& rule : chain.rules) {
      const std::string_view target = plain_jump(rule);
      if (!is_doomed(wanted, target)) continue;
      const bool keep = std::any_of(wanted.jumps.begin(), wanted.jumps.end(), [&](const Jump& jump) {
        return jump.builtin == chain.name && jump.chain == target;
      });
      if (keep && kept.insert(target).second) continue;
      batch.remove_rule(there.name, chain.name, rule.handle);
    }
  }
  return batch.empty() ? Result<>() : batch.commit();
}

Result<std::vector<std::string>> remove_chains(const NftTable& there, const Table& doomed) {
  NftBatch batch;
  std::vector<std::string> in_use;
  std::set<std::string_view> used;
  for (const NftChain& chain : there.chains) {
    if (is_doomed(doomed, chain.name)) continue;
    for (const NftRule& rule : chain.rules) {
      const std::string_view target = jump_of(rule);
      if (target.empty() || !is_doomed(doomed, target)) continue;
      if (chain.hook && plain_jump(rule) == target) {
        batch.remove_rule(there.name, chain.name, rule.handle);
      } else {
        used.insert(target);
        in_use.push_back(
            fmt::format("rule {} of chain {} in table ip {} jumps to {} (nft -a list table ip {})",
                        rule.handle, chain.name, there.name, target, there.name));
      }
    }
  }
  std::vector<std::string_view> chains;
  for (const NftChain& chain : there.chains) {
    if (is_doomed(doomed, chain.name) && is_ours(chain.name)) chains.push_back(chain.name);
  }
  for (const std::string_view chain : chains) batch.flush_chain(there.name, std::string(chain));
  for (const std::string_view chain : chains) {
    if (!used.contains(chain))
      batch.remove(NFT_MSG_DELCHAIN, {{NFTA_CHAIN_TABLE, there.name}, {NFTA_CHAIN_NAME, std::string(chain)}});
  }
  if (batch.empty()) return in_use;
  if (auto done = batch.commit(); !done)
    return tl::make_unexpected(done.error().in(fmt::format("table ip {}", there.name)));
  return in_use;
}

}  // namespace bondd::rules

#include "rules/nft_ruleset.h"

#include <endian.h>
#include <fmt/format.h>
#include <libnftnl/chain.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "rules/nft_expression.h"
#include "rules/nft_socket.h"

namespace bondd::rules {
namespace {

constexpr int kTries = 5;  // while somebody changes rules all the time

template <typename T, void (*kFree)(const T*)>
struct Free {
  void operator()(T* object) const { kFree(object); }
};
template <typename T, void (*kFree)(const T*)>
using Object = std::unique_ptr<T, Free<T, kFree>>;

std::string text_or_empty(const char* text) {
  return text == nullptr ? "" : text;
}

NftTable* find_table(NftRuleset& ruleset, std::uint32_t family, const char* name) {
  for (NftTable& table : ruleset.tables) {
    if (table.family == family && name != nullptr && table.name == name) return &table;
  }
  return nullptr;
}

void add_table(const nlmsghdr* header, NftRuleset& ruleset) {
  const Object<nftnl_table, nftnl_table_free> table(nftnl_table_alloc());
  if (nftnl_table_nlmsg_parse(header, table.get()) < 0) {
    ruleset.unseen.push_back(fmt::format("nft's table {}", string_attribute(header, NFTA_TABLE_NAME)));
    return;
  }
  NftTable found;
  found.family = static_cast<std::uint8_t>(nftnl_table_get_u32(table.get(), NFTNL_TABLE_FAMILY));
  found.name = text_or_empty(nftnl_table_get_str(table.get(), NFTNL_TABLE_NAME));
  found.dormant = (nftnl_table_get_u32(table.get(), NFTNL_TABLE_FLAGS) & NFT_TABLE_F_DORMANT) != 0;
  ruleset.tables.push_back(std::move(found));
}

// Those of an ingress or egress chain.
std::vector<std::string> devices_of(const nftnl_chain* chain) {
  if (nftnl_chain_is_set(chain, NFTNL_CHAIN_DEV))
    return {text_or_empty(nftnl_chain_get_str(chain, NFTNL_CHAIN_DEV))};
  std::vector<std::string> out;
  const char* const* devices = nftnl_chain_is_set(chain, NFTNL_CHAIN_DEVICES)
                                   ? nftnl_chain_get_array(chain, NFTNL_CHAIN_DEVICES)
                                   : nullptr;
  for (; devices != nullptr && *devices != nullptr; ++devices) out.emplace_back(*devices);
  return out;
}

void add_chain(const nlmsghdr* header, NftRuleset& ruleset) {
  const Object<nftnl_chain, nftnl_chain_free> chain(nftnl_chain_alloc());
  if (nftnl_chain_nlmsg_parse(header, chain.get()) < 0) {
    ruleset.unseen.push_back(fmt::format("chain {} of nft's table {}",
                                         string_attribute(header, NFTA_CHAIN_NAME),
                                         string_attribute(header, NFTA_CHAIN_TABLE)));
    return;
  }
  NftTable* table = find_table(ruleset, nftnl_chain_get_u32(chain.get(), NFTNL_CHAIN_FAMILY),
                               nftnl_chain_get_str(chain.get(), NFTNL_CHAIN_TABLE));
  if (table == nullptr) return;
  NftChain found;
  found.name = text_or_empty(nftnl_chain_get_str(chain.get(), NFTNL_CHAIN_NAME));
  if (nftnl_chain_is_set(chain.get(), NFTNL_CHAIN_HOOKNUM)) {
    found.hook =
        NftHook{nftnl_chain_get_u32(chain.get(), NFTNL_CHAIN_HOOKNUM),
                nftnl_chain_get_s32(chain.get(), NFTNL_CHAIN_PRIO),
                text_or_empty(nftnl_chain_get_str(chain.get(), NFTNL_CHAIN_TYPE)),
                nftnl_chain_get_u32(chain.get(), NFTNL_CHAIN_POLICY) == NF_DROP, devices_of(chain.get())};
  }
  table->chains.push_back(std::move(found));
}

// libnftnl gives a rule up whole when it does not know one expression of it.
std::vector<NftExpression> expressions_of(const nlmsghdr* header) {
  const Object<nftnl_rule, nftnl_rule_free> rule(nftnl_rule_alloc());
  if (nftnl_rule_nlmsg_parse(header, rule.get()) < 0)
    return {NftUnknown{"an expression that libnftnl does not know"}, NftVerdict{}};
  std::vector<NftExpression> expressions;
  nftnl_expr_iter* iterator = nftnl_expr_iter_create(rule.get());
  while (const nftnl_expr* expression = nftnl_expr_iter_next(iterator))
    expressions.push_back(decode_expression(expression));
  nftnl_expr_iter_destroy(iterator);
  return expressions;
}

void add_rule(const nlmsghdr* header, NftRuleset& ruleset) {
  const auto* more = static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(header));
  NftTable* table =
      find_table(ruleset, more->nfgen_family, string_attribute(header, NFTA_RULE_TABLE).c_str());
  if (table == nullptr) return;
  const std::string name = string_attribute(header, NFTA_RULE_CHAIN);
  const auto chain = std::find_if(table->chains.begin(), table->chains.end(),
                                  [&](const NftChain& one) { return one.name == name; });
  const nlattr* handle = find_attribute(header, NFTA_RULE_HANDLE);
  if (chain == table->chains.end() || handle == nullptr) return;
  chain->rules.push_back({be64toh(mnl_attr_get_u64(handle)), expressions_of(header)});
}

Result<NftRuleset> read_once() {
  NftRuleset ruleset;
  struct Part {
    int message;
    void (*add)(const nlmsghdr*, NftRuleset&);
  };
  for (const Part part : {Part{NFT_MSG_GETTABLE, add_table}, Part{NFT_MSG_GETCHAIN, add_chain},
                          Part{NFT_MSG_GETRULE, add_rule}}) {
    auto done =
        nft_dump(part.message, NFPROTO_UNSPEC, [&](const nlmsghdr* header) { part.add(header, ruleset); });
    if (!done) return tl::make_unexpected(done.error());
  }
  return ruleset;
}

}  // namespace

const NftChain* NftTable::chain(std::string_view wanted) const {
  const auto found =
      std::find_if(chains.begin(), chains.end(), [&](const NftChain& chain) { return chain.name == wanted; });
  return found == chains.end() ? nullptr : &*found;
}

const NftSet* NftTable::set(std::string_view wanted) const {
  const auto found =
      std::find_if(sets.begin(), sets.end(), [&](const NftSet& one) { return one.name == wanted; });
  return found == sets.end() ? nullptr : &*found;
}

const NftTable* NftRuleset::table(std::uint8_t family, std::string_view name) const {
  const auto found = std::find_if(tables.begin(), tables.end(), [&](const NftTable& table) {
    return table.family == family && table.name == name;
  });
  return found == tables.end() ? nullptr : &*found;
}

// A dump that a change interrupts fails with EINTR; a change between two dumps shows in the generation.
Result<NftRuleset> read_nft_ruleset() {
  Result<NftRuleset> ruleset = NftRuleset{};
  for (int i = 0; i < kTries; ++i) {
    const auto before = nft_generation();
    if (!before) return tl::make_unexpected(before.error());
    ruleset = read_once();
    if (!ruleset && ruleset.error().code != EINTR) return ruleset;
    const auto after = nft_generation();
    if (ruleset && after && *after == *before) return ruleset;
  }
  return ruleset;
}

std::string_view jump_of(const NftRule& rule) {
  for (const NftExpression& expression : rule.expressions) {
    const auto* verdict = std::get_if<NftVerdict>(&expression);
    if (verdict != nullptr && !verdict->chain.empty()) return verdict->chain;
  }
  return {};
}

std::string_view plain_jump(const NftRule& rule) {
  std::string_view target;
  for (const NftExpression& expression : rule.expressions) {
    const auto* harmless = std::get_if<NftHarmless>(&expression);
    if (harmless != nullptr && harmless->counter) continue;
    const auto* verdict = std::get_if<NftVerdict>(&expression);
    if (verdict == nullptr || verdict->kind != NftVerdict::Kind::kJump) return {};
    target = verdict->chain;
  }
  return target;
}

}  // namespace bondd::rules

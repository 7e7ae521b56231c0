// The sets and maps of nf_tables' rules.
#include <libnftnl/set.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <memory>
#include <set>

#include "rules/nft_expression.h"
#include "rules/nft_ruleset.h"
#include "rules/nft_socket.h"

namespace bondd::rules {
namespace {

constexpr std::size_t kMaxElements = 1000;  // a list of half the world's addresses is not worth the time

struct FreeSet {
  void operator()(nftnl_set* set) const { nftnl_set_free(set); }
};
using SetPtr = std::unique_ptr<nftnl_set, FreeSet>;

Bytes bytes_of(nftnl_set_elem* element, std::uint16_t attribute) {
  std::uint32_t size = 0;
  const void* data = nftnl_set_elem_get(element, attribute, &size);
  const auto* first = static_cast<const std::uint8_t*>(data);
  return data == nullptr ? Bytes{} : Bytes{first, first + size};
}

int add_element(nftnl_set_elem* element, void* into) {
  auto* set = static_cast<NftSet*>(into);
  NftSet::Element one;
  one.key = bytes_of(element, NFTNL_SET_ELEM_KEY);
  const std::uint32_t flags = nftnl_set_elem_is_set(element, NFTNL_SET_ELEM_FLAGS)
                                  ? nftnl_set_elem_get_u32(element, NFTNL_SET_ELEM_FLAGS)
                                  : 0;
  one.end = (flags & NFT_SET_ELEM_INTERVAL_END) != 0;
  one.last = bytes_of(element, NFTNL_SET_ELEM_KEY_END);
  if (nftnl_set_elem_is_set(element, NFTNL_SET_ELEM_VERDICT)) {
    const char* chain = nftnl_set_elem_get_str(element, NFTNL_SET_ELEM_CHAIN);
    one.verdict =
        NftVerdict{verdict_kind(static_cast<int>(nftnl_set_elem_get_u32(element, NFTNL_SET_ELEM_VERDICT))),
                   chain == nullptr ? "" : chain};
  }
  if ((flags & NFT_SET_ELEM_CATCHALL) != 0) {
    set->catches_all = true;
    set->catch_all = one.verdict;
  } else {
    set->elements.push_back(std::move(one));
  }
  return 0;
}

// The sizes of a concatenated key's parts.
std::vector<std::uint8_t> fields_of(const nftnl_set* set) {
  std::uint32_t size = 0;
  const void* sizes = nftnl_set_get_data(set, NFTNL_SET_DESC_CONCAT, &size);
  const auto* first = static_cast<const std::uint8_t*>(sizes);
  return sizes == nullptr ? std::vector<std::uint8_t>{} : std::vector<std::uint8_t>{first, first + size};
}

void add_elements(const nlmsghdr* header, NftSet& set) {
  const SetPtr part(nftnl_set_alloc());
  if (nftnl_set_elems_nlmsg_parse(header, part.get()) < 0) {
    set.known = false;
    return;
  }
  nftnl_set_elem_foreach(part.get(), add_element, &set);
}

void read_elements(const NftTable& table, NftSet& set) {
  auto done = nft_dump(NFT_MSG_GETSETELEM, table.family,
                       [&](const nlmsghdr* header) {
                         if (set.elements.size() < kMaxElements) add_elements(header, set);
                       },
                       {{NFTA_SET_ELEM_LIST_TABLE, table.name}, {NFTA_SET_ELEM_LIST_SET, set.name}});
  if (!done || set.elements.size() >= kMaxElements) set.known = false;
}

std::set<std::string> looked_up(const NftTable& table) {
  std::set<std::string> names;
  for (const NftChain& chain : table.chains) {
    for (const NftRule& rule : chain.rules) {
      for (const NftExpression& expression : rule.expressions) {
        if (const auto* lookup = std::get_if<NftLookup>(&expression)) names.insert(lookup->set);
      }
    }
  }
  return names;
}

}  // namespace

void read_nft_sets(NftRuleset& ruleset) {
  for (NftTable& table : ruleset.tables) {
    const auto wanted = looked_up(table);
    if (wanted.empty()) continue;
    [[maybe_unused]] const auto done = nft_dump(
        NFT_MSG_GETSET, table.family,
        [&](const nlmsghdr* header) {
          const SetPtr set(nftnl_set_alloc());
          if (nftnl_set_nlmsg_parse(header, set.get()) < 0) return;
          const char* name = nftnl_set_get_str(set.get(), NFTNL_SET_NAME);
          if (name == nullptr || !wanted.contains(name)) return;
          const bool interval = (nftnl_set_get_u32(set.get(), NFTNL_SET_FLAGS) & NFT_SET_INTERVAL) != 0;
          table.sets.push_back({name, interval, true, {}, fields_of(set.get()), {}, false});
        },
        {{NFTA_SET_TABLE, table.name}});
    for (NftSet& set : table.sets) read_elements(table, set);
  }
}

}  // namespace bondd::rules

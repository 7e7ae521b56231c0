// nf_tables through libmnl: dumps and a batch. See linux/netfilter/nf_tables.h.
#include "rules/nft_tables.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "rules/nft_socket.h"

namespace bondd::rules {
namespace {

bool is_base(const nlmsghdr* header) {
  return find_attribute(header, NFTA_CHAIN_HOOK) != nullptr;
}

bool accepts(const nlmsghdr* header) {
  const nlattr* policy = find_attribute(header, NFTA_CHAIN_POLICY);
  return is_base(header) && policy != nullptr && ntohl(mnl_attr_get_u32(policy)) == NF_ACCEPT;
}

std::string chain_words(const nlmsghdr* header) {
  return string_attribute(header, NFTA_CHAIN_TABLE) + " " + string_attribute(header, NFTA_CHAIN_NAME);
}

// All or nothing; not if anything is still inside, which is no failure.
Result<> remove_if_unused(NftBatch& batch) {
  auto done = batch.commit();
  if (!done && (done.error().code == EBUSY || done.error().code == ENOENT)) return {};
  return done;
}

// The chains of a table; nothing if one of them is not a built-in one that accepts.
Result<std::vector<std::string>> accepting_base_chains(const std::string& table, bool& others) {
  std::vector<std::string> chains;
  auto done = nft_dump(NFT_MSG_GETCHAIN, NFPROTO_IPV4, [&](const nlmsghdr* header) {
    if (string_attribute(header, NFTA_CHAIN_TABLE) != table) return;
    if (!accepts(header)) others = true;
    chains.push_back(string_attribute(header, NFTA_CHAIN_NAME));
  });
  if (!done) return tl::make_unexpected(done.error());
  return chains;
}

}  // namespace

Result<std::vector<std::string>> nft_tables() {
  std::vector<std::string> tables;
  auto done = nft_dump(NFT_MSG_GETTABLE, NFPROTO_IPV4, [&](const nlmsghdr* header) {
    tables.push_back(string_attribute(header, NFTA_TABLE_NAME));
  });
  if (!done) return tl::make_unexpected(done.error());
  return tables;
}

Result<> delete_unused_nft_table(const std::string& table) {
  bool others = false;
  const auto chains = accepting_base_chains(table, others);
  if (!chains) return tl::make_unexpected(chains.error());
  if (others) return {};
  NftBatch batch;
  for (const std::string& chain : *chains) {
    batch.remove(NFT_MSG_DELCHAIN, {{NFTA_CHAIN_TABLE, table}, {NFTA_CHAIN_NAME, chain}});
  }
  batch.remove(NFT_MSG_DELTABLE, {{NFTA_TABLE_NAME, table}});
  return remove_if_unused(batch);
}

Result<std::vector<std::string>> nft_base_chains() {
  std::vector<std::string> chains;
  auto done = nft_dump(NFT_MSG_GETCHAIN, NFPROTO_IPV4, [&](const nlmsghdr* header) {
    if (is_base(header)) chains.push_back(chain_words(header));
  });
  if (!done) return tl::make_unexpected(done.error());
  return chains;
}

Result<> delete_unused_nft_chain(const std::string& name) {
  NftBatch batch;
  auto looked = nft_dump(NFT_MSG_GETCHAIN, NFPROTO_IPV4, [&](const nlmsghdr* header) {
    if (chain_words(header) != name || !accepts(header)) return;
    batch.remove(NFT_MSG_DELCHAIN, {{NFTA_CHAIN_TABLE, string_attribute(header, NFTA_CHAIN_TABLE)},
                                    {NFTA_CHAIN_NAME, string_attribute(header, NFTA_CHAIN_NAME)}});
  });
  if (!looked || batch.empty()) return looked;
  return remove_if_unused(batch);
}

}  // namespace bondd::rules

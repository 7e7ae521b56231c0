// Talking to nf_tables: a dump, and a batch of deletions. See linux/netfilter/nf_tables.h.
// Only for this directory's .cc files.
#pragma once

#include <libmnl/libmnl.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bondd/base/error.h"

namespace bondd::rules {

// Asks for all objects of `message` (NFT_MSG_GET…) in the IPv4 family and calls `each` per object.
Result<> nft_dump(int message, std::function<void(const nlmsghdr*)> each);

// An attribute (NFTA_…) of a message; null, or an empty text, if it is not there.
const nlattr* find_attribute(const nlmsghdr* header, int type);
std::string string_attribute(const nlmsghdr* header, int type);

// begin, one deletion per chain, that of the table, end: all or nothing.
class NftBatch {
 public:
  NftBatch();

  // NLM_F_NONREC: not if anything is still inside.
  void remove(int message, const std::vector<std::pair<int, std::string>>& attributes);
  Result<> commit();

 private:
  char* current() { return static_cast<char*>(mnl_nlmsg_batch_current(batch_.get())); }

  std::array<char, 16384> buffer_{};
  std::unique_ptr<mnl_nlmsg_batch, void (*)(mnl_nlmsg_batch*)> batch_;
  std::uint32_t sequence_ = 1;
  int expected_ = 0;
};

}  // namespace bondd::rules

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

// Asks for all objects of `message` (NFT_MSG_GET…) in a family (NFPROTO_UNSPEC: all) and calls `each` per
// object. EINTR if the ruleset changed meanwhile and objects may be missing. `of` narrows the question down.
using NftAttributes = std::vector<std::pair<int, std::string>>;
Result<> nft_dump(int message, std::uint8_t family, std::function<void(const nlmsghdr*)> each,
                  const NftAttributes& of = {});
// A number that every change of any rule raises.
Result<std::uint32_t> nft_generation();

// An attribute (NFTA_…) of a message; null, or an empty text, if it is not there.
const nlattr* find_attribute(const nlmsghdr* header, int type);
std::string string_attribute(const nlmsghdr* header, int type);

// begin, deletions of IPv4 objects, end: all or nothing.
class NftBatch {
 public:
  NftBatch();

  // NLM_F_NONREC: not if anything is still inside.
  void remove(int message, const NftAttributes& attributes);
  void remove_rule(const std::string& table, const std::string& chain, std::uint64_t handle);
  void flush_chain(const std::string& table, const std::string& chain);
  [[nodiscard]] bool empty() const { return expected_ == 0; }
  Result<> commit();

 private:
  nlmsghdr* begin_removal(int message);
  void end_removal();
  char* current() { return static_cast<char*>(mnl_nlmsg_batch_current(batch_.get())); }

  std::array<char, 16384> buffer_{};
  std::unique_ptr<mnl_nlmsg_batch, void (*)(mnl_nlmsg_batch*)> batch_;
  std::uint32_t sequence_ = 1;
  int expected_ = 0;
};

}  // namespace bondd::rules

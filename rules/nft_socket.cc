#include "rules/nft_socket.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <ctime>

namespace bondd::rules {
namespace {

using Socket = std::unique_ptr<mnl_socket, int (*)(mnl_socket*)>;

Result<Socket> open_socket() {
  Socket socket(mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC), mnl_socket_close);
  if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) return errno_failure("nf_tables");
  return socket;
}

nlmsghdr* put_header(char* buffer, std::uint16_t type, std::uint8_t family, std::uint16_t flags,
                     std::uint32_t sequence, std::uint16_t resource = 0) {
  nlmsghdr* header = mnl_nlmsg_put_header(buffer);
  header->nlmsg_type = type;
  header->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  header->nlmsg_seq = sequence;
  auto* more = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(nfgenmsg)));
  more->nfgen_family = family;
  more->version = NFNETLINK_V0;
  more->res_id = htons(resource);
  return header;
}

constexpr std::uint16_t nft_type(int message) {
  return static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | message);
}

using OnMessage = std::function<void(const nlmsghdr*)>;

int on_message(const nlmsghdr* header, void* data) {
  (*static_cast<OnMessage*>(data))(header);
  return MNL_CB_OK;
}

struct Wanted {
  int type;
  const nlattr* found = nullptr;
};

int on_attribute(const nlattr* attribute, void* data) {
  auto* wanted = static_cast<Wanted*>(data);
  if (mnl_attr_get_type(attribute) == wanted->type) wanted->found = attribute;
  return MNL_CB_OK;
}

Result<> ask(int message, std::uint8_t family, std::uint16_t flags, OnMessage each,
             const NftAttributes& of = {}) {
  auto socket = open_socket();
  if (!socket) return tl::make_unexpected(socket.error());
  std::array<char, 32768> buffer{};
  const auto sequence = static_cast<std::uint32_t>(time(nullptr));
  nlmsghdr* request = put_header(buffer.data(), nft_type(message), family, flags, sequence);
  for (const auto& [type, text] : of)
    mnl_attr_put_strz(request, static_cast<std::uint16_t>(type), text.c_str());
  if (mnl_socket_sendto(socket->get(), request, request->nlmsg_len) < 0) return errno_failure("nf_tables");
  for (;;) {
    const ssize_t got = mnl_socket_recvfrom(socket->get(), buffer.data(), buffer.size());
    if (got < 0) return errno_failure("nf_tables");
    const int more = mnl_cb_run(buffer.data(), static_cast<std::size_t>(got), sequence,
                                mnl_socket_get_portid(socket->get()), on_message, &each);
    if (more < 0) return errno_failure("nf_tables");
    if (more == MNL_CB_STOP || (flags & NLM_F_DUMP) == 0) return {};
  }
}

}  // namespace

Result<> nft_dump(int message, std::uint8_t family, OnMessage each, const NftAttributes& of) {
  return ask(message, family, NLM_F_DUMP, std::move(each), of);
}

Result<std::uint32_t> nft_generation() {
  std::uint32_t generation = 0;
  auto done = ask(NFT_MSG_GETGEN, NFPROTO_UNSPEC, 0, [&](const nlmsghdr* header) {
    const nlattr* id = find_attribute(header, NFTA_GEN_ID);
    if (id != nullptr) generation = ntohl(mnl_attr_get_u32(id));
  });
  if (!done) return tl::make_unexpected(done.error());
  return generation;
}

const nlattr* find_attribute(const nlmsghdr* header, int type) {
  Wanted wanted{type};
  mnl_attr_parse(header, sizeof(nfgenmsg), on_attribute, &wanted);
  return wanted.found;
}

std::string string_attribute(const nlmsghdr* header, int type) {
  const nlattr* attribute = find_attribute(header, type);
  return attribute == nullptr ? "" : mnl_attr_get_str(attribute);
}

NftBatch::NftBatch()
    : batch_(mnl_nlmsg_batch_start(buffer_.data(), buffer_.size() / 2), mnl_nlmsg_batch_stop) {
  put_header(current(), NFNL_MSG_BATCH_BEGIN, AF_UNSPEC, 0, sequence_++, NFNL_SUBSYS_NFTABLES);
  mnl_nlmsg_batch_next(batch_.get());
}

nlmsghdr* NftBatch::begin_removal(int message) {
  return put_header(current(), nft_type(message), NFPROTO_IPV4, NLM_F_ACK | NLM_F_NONREC, sequence_++);
}

void NftBatch::end_removal() {
  mnl_nlmsg_batch_next(batch_.get());
  ++expected_;
}

void NftBatch::remove(int message, const NftAttributes& attributes) {
  nlmsghdr* header = begin_removal(message);
  for (const auto& [type, text] : attributes) {
    mnl_attr_put_strz(header, static_cast<std::uint16_t>(type), text.c_str());
  }
  end_removal();
}

void NftBatch::remove_rule(const std::string& table, const std::string& chain, std::uint64_t handle) {
  nlmsghdr* header = begin_removal(NFT_MSG_DELRULE);
  mnl_attr_put_strz(header, NFTA_RULE_TABLE, table.c_str());
  mnl_attr_put_strz(header, NFTA_RULE_CHAIN, chain.c_str());
  mnl_attr_put_u64(header, NFTA_RULE_HANDLE, htobe64(handle));
  end_removal();
}

void NftBatch::flush_chain(const std::string& table, const std::string& chain) {
  remove(NFT_MSG_DELRULE, {{NFTA_RULE_TABLE, table}, {NFTA_RULE_CHAIN, chain}});
}

Result<> NftBatch::commit() {
  put_header(current(), NFNL_MSG_BATCH_END, AF_UNSPEC, 0, sequence_++, NFNL_SUBSYS_NFTABLES);
  mnl_nlmsg_batch_next(batch_.get());
  auto socket = open_socket();
  if (!socket) return tl::make_unexpected(socket.error());
  if (mnl_socket_sendto(socket->get(), mnl_nlmsg_batch_head(batch_.get()),
                        mnl_nlmsg_batch_size(batch_.get())) < 0) {
    return errno_failure("nf_tables");
  }
  Result<> outcome;
  std::array<char, 8192> answer{};
  for (int i = 0; i < expected_;) {
    const ssize_t got = mnl_socket_recvfrom(socket->get(), answer.data(), answer.size());
    if (got < 0) return errno_failure("nf_tables");
    int left = static_cast<int>(got);
    for (auto* header = reinterpret_cast<nlmsghdr*>(answer.data()); mnl_nlmsg_ok(header, left);
         header = mnl_nlmsg_next(header, &left)) {
      if (header->nlmsg_type != NLMSG_ERROR) continue;
      ++i;
      const int code = -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(header))->error;
      if (code != 0 && outcome) outcome = errno_failure("nf_tables", code);
    }
    if (!outcome) return outcome;  // the rest is not answered
  }
  return outcome;
}

}  // namespace bondd::rules

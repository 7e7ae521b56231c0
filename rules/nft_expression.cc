#include "rules/nft_expression.h"

#include <libnftnl/expr.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_CT.h>
#include <linux/netfilter/xt_addrtype.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_multiport.h>
#include <linux/netfilter/xt_rpfilter.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace bondd::rules {
namespace {

using Kind = NftVerdict::Kind;
using What = NftLoad::What;

std::uint32_t number(const nftnl_expr* e, std::uint16_t attribute) {
  return nftnl_expr_is_set(e, attribute) ? nftnl_expr_get_u32(e, attribute) : 0;
}

std::string text(const nftnl_expr* e, std::uint16_t attribute) {
  const char* value = nftnl_expr_is_set(e, attribute) ? nftnl_expr_get_str(e, attribute) : nullptr;
  return value == nullptr ? "" : value;
}

Bytes data(const nftnl_expr* e, std::uint16_t attribute) {
  std::uint32_t size = 0;
  const void* bytes = nftnl_expr_is_set(e, attribute) ? nftnl_expr_get(e, attribute, &size) : nullptr;
  if (bytes == nullptr) return {};
  const auto* first = static_cast<const std::uint8_t*>(bytes);
  return {first, first + size};
}

NftExpression immediate(const nftnl_expr* e) {
  if (const std::uint32_t to = number(e, NFTNL_EXPR_IMM_DREG); to != NFT_REG_VERDICT)
    return NftHarmless{to, false, data(e, NFTNL_EXPR_IMM_DATA), 0, 0};
  return NftVerdict{verdict_kind(static_cast<int>(number(e, NFTNL_EXPR_IMM_VERDICT))),
                    text(e, NFTNL_EXPR_IMM_CHAIN)};
}

What meta_of(std::uint32_t key) {
  switch (key) {
    case NFT_META_IIFNAME:
      return What::kInputName;
    case NFT_META_OIFNAME:
      return What::kOutputName;
    case NFT_META_IIF:
      return What::kInputIndex;
    case NFT_META_OIF:
      return What::kOutputIndex;
    case NFT_META_NFPROTO:
      return What::kNetworkProtocol;
    case NFT_META_L4PROTO:
      return What::kTransportProtocol;
    case NFT_META_PROTOCOL:
      return What::kEtherType;
    case NFT_META_MARK:
      return What::kMark;
    case NFT_META_LEN:
    case NFT_META_IIFTYPE:
    case NFT_META_OIFTYPE:
    case NFT_META_IIFGROUP:
    case NFT_META_OIFGROUP:
    case NFT_META_IIFKIND:
    case NFT_META_OIFKIND:
      return What::kUnread;
    default:  // of an integer, not of an enum of ours
      return What::kOther;
  }
}

NftExpression meta(const nftnl_expr* e) {
  if (nftnl_expr_is_set(e, NFTNL_EXPR_META_SREG)) {
    const bool mark = number(e, NFTNL_EXPR_META_KEY) == NFT_META_MARK;
    return NftHarmless{0, false, {}, mark ? number(e, NFTNL_EXPR_META_SREG) : 0, 0};
  }
  return NftLoad{meta_of(number(e, NFTNL_EXPR_META_KEY)), number(e, NFTNL_EXPR_META_DREG), 0, 0};
}

What connection_of(std::uint32_t key) {
  switch (key) {
    case NFT_CT_STATE:
      return What::kConnectionState;
    case NFT_CT_MARK:
      return What::kConnectionMark;
    case NFT_CT_STATUS:
      return What::kConnectionStatus;
    case NFT_CT_DIRECTION:
      return What::kConnectionDirection;
    default:  // of an integer, not of an enum of ours
      return What::kOther;
  }
}

NftExpression connection(const nftnl_expr* e) {
  const std::uint32_t key = number(e, NFTNL_EXPR_CT_KEY);
  if (nftnl_expr_is_set(e, NFTNL_EXPR_CT_SREG))
    return NftHarmless{0, false, {}, 0, key == NFT_CT_MARK ? number(e, NFTNL_EXPR_CT_SREG) : 0};
  return NftLoad{connection_of(key), number(e, NFTNL_EXPR_CT_DREG), 0, 0};
}

NftExpression payload(const nftnl_expr* e) {
  if (nftnl_expr_is_set(e, NFTNL_EXPR_PAYLOAD_SREG)) return NftHarmless{};  // writes into the packet
  const std::uint32_t base = number(e, NFTNL_EXPR_PAYLOAD_BASE);
  return NftLoad{base == NFT_PAYLOAD_NETWORK_HEADER     ? What::kNetworkHeader
                 : base == NFT_PAYLOAD_TRANSPORT_HEADER ? What::kTransportHeader
                                                        : What::kOther,
                 number(e, NFTNL_EXPR_PAYLOAD_DREG), number(e, NFTNL_EXPR_PAYLOAD_OFFSET),
                 number(e, NFTNL_EXPR_PAYLOAD_LEN)};
}

NftExpression compare(const nftnl_expr* e) {
  constexpr std::array kBy{NftCompare::Is::kEqual,   NftCompare::Is::kOther,
                           NftCompare::Is::kLess,    NftCompare::Is::kLessOrEqual,
                           NftCompare::Is::kGreater, NftCompare::Is::kGreaterOrEqual};
  const std::uint32_t op = number(e, NFTNL_EXPR_CMP_OP);  // enum nft_cmp_ops, in this order
  if (op >= kBy.size()) return NftUnknown{"cmp"};
  return NftCompare{kBy[op], number(e, NFTNL_EXPR_CMP_SREG), data(e, NFTNL_EXPR_CMP_DATA)};
}

NftExpression range(const nftnl_expr* e) {
  return NftRange{number(e, NFTNL_EXPR_RANGE_OP) == NFT_RANGE_EQ, number(e, NFTNL_EXPR_RANGE_SREG),
                  data(e, NFTNL_EXPR_RANGE_FROM_DATA), data(e, NFTNL_EXPR_RANGE_TO_DATA)};
}

NftExpression bitwise(const nftnl_expr* e) {
  const std::uint32_t to = number(e, NFTNL_EXPR_BITWISE_DREG);
  if (number(e, NFTNL_EXPR_BITWISE_OP) != NFT_BITWISE_BOOL) return NftLoad{What::kOther, to, 0, 0};
  return NftBitwise{number(e, NFTNL_EXPR_BITWISE_SREG), to, data(e, NFTNL_EXPR_BITWISE_MASK),
                    data(e, NFTNL_EXPR_BITWISE_XOR)};
}

NftExpression lookup(const nftnl_expr* e) {
  const bool map = nftnl_expr_is_set(e, NFTNL_EXPR_LOOKUP_DREG);
  const std::uint32_t to = number(e, NFTNL_EXPR_LOOKUP_DREG);
  if (map && to != NFT_REG_VERDICT) return NftLoad{What::kOther, to, 0, 0};
  return NftLookup{number(e, NFTNL_EXPR_LOOKUP_SREG),
                   (number(e, NFTNL_EXPR_LOOKUP_FLAGS) & NFT_LOOKUP_F_INV) == 0, map,
                   text(e, NFTNL_EXPR_LOOKUP_SET)};
}

// The address in the options of iptables' SNAT, as far as it is one.
std::optional<IpAddress> address_of(const nftnl_expr* e, const Bytes& info) {
  const auto v4 = [](const auto& address) {
    std::array<std::uint8_t, sizeof address> bytes{};
    std::memcpy(bytes.data(), &address, sizeof address);
    return IpAddress::v4(bytes);
  };
  if (number(e, NFTNL_EXPR_TG_REV) == 0) {
    nf_nat_ipv4_multi_range_compat all{};
    if (info.size() < sizeof all) return std::nullopt;
    std::memcpy(&all, info.data(), sizeof all);
    const auto& range = all.range[0];
    const bool one = (range.flags & NF_NAT_RANGE_MAP_IPS) != 0 && range.min_ip == range.max_ip;
    return one ? std::optional(v4(range.min_ip)) : std::nullopt;
  }
  nf_nat_range range{};  // nf_nat_range2 begins like it
  if (info.size() < sizeof range) return std::nullopt;
  std::memcpy(&range, info.data(), sizeof range);
  const bool one = (range.flags & NF_NAT_RANGE_MAP_IPS) != 0 && range.min_addr.ip == range.max_addr.ip;
  return one ? std::optional(v4(range.min_addr.ip)) : std::nullopt;
}

NftExpression target(const nftnl_expr* e) {
  const std::string name = text(e, NFTNL_EXPR_TG_NAME);
  const Bytes info = data(e, NFTNL_EXPR_TG_INFO);
  std::uint16_t flags = 0;  // the first member of xt_ct_target_info in all its revisions
  if (info.size() >= sizeof flags) std::memcpy(&flags, info.data(), sizeof flags);
  if (name == "CT" && (flags & XT_CT_NOTRACK) != 0) return NftNoTrack{};
  NftExpression out = xt_target(name);
  if (auto* verdict = std::get_if<NftVerdict>(&out); verdict != nullptr && verdict->nat && name == "SNAT")
    verdict->nat->to = address_of(e, info);
  return out;
}

using Decode = NftExpression (*)(const nftnl_expr*);
struct Decoder {
  std::string_view name;
  Decode decode;
};
NftExpression harmless(const nftnl_expr* /*e*/) {
  return NftHarmless{};
}
NftExpression counter(const nftnl_expr* /*e*/) {
  return NftHarmless{0, true, {}, 0, 0};
}
NftExpression reject(const nftnl_expr* /*e*/) {
  return NftVerdict{Kind::kReject, ""};
}
// Into a register, and bondd does not know what.
template <std::uint16_t kRegister>
NftExpression opaque_load(const nftnl_expr* e) {
  return NftLoad{What::kOther, number(e, kRegister), 0, 0};
}
NftExpression states(const nftnl_expr* e) {
  constexpr std::uint32_t kRevision = 3;  // of iptables 1.8
  const Bytes bytes = data(e, NFTNL_EXPR_MT_INFO);
  xt_conntrack_mtinfo3 info{};
  if (number(e, NFTNL_EXPR_MT_REV) != kRevision || bytes.size() < sizeof info) return NftUnknown{"conntrack"};
  std::memcpy(&info, bytes.data(), sizeof info);
  constexpr std::uint16_t kOfBoth = XT_CONNTRACK_STATE_INVALID | XT_CONNTRACK_STATE_BIT(IP_CT_ESTABLISHED) |
                                    XT_CONNTRACK_STATE_BIT(IP_CT_RELATED) | XT_CONNTRACK_STATE_BIT(IP_CT_NEW);
  const int flags = info.match_flags & ~XT_CONNTRACK_STATE_ALIAS;
  if (flags != XT_CONNTRACK_STATE || (info.state_mask & XT_CONNTRACK_STATE_SNAT) != 0)
    return NftUnknown{"conntrack"};
  std::uint32_t states = info.state_mask & kOfBoth;
  if ((info.state_mask & XT_CONNTRACK_STATE_UNTRACKED) != 0) states |= NF_CT_STATE_UNTRACKED_BIT;
  return NftStates{states, (info.invert_flags & XT_CONNTRACK_STATE) == 0,
                   (info.state_mask & XT_CONNTRACK_STATE_DNAT) != 0};
}
// In the order of enum xt_multiport_flags.
constexpr std::array kPortsOf{NftPorts::Of::kSource, NftPorts::Of::kDestination, NftPorts::Of::kEither};
NftExpression ports(const nftnl_expr* e) {
  const Bytes bytes = data(e, NFTNL_EXPR_MT_INFO);
  xt_multiport_v1 info{};
  if (number(e, NFTNL_EXPR_MT_REV) != 1 || bytes.size() < sizeof info) return NftUnknown{"multiport"};
  std::memcpy(&info, bytes.data(), sizeof info);
  if (info.flags >= kPortsOf.size() || info.count > XT_MULTI_PORTS) return NftUnknown{"multiport"};
  NftPorts out{kPortsOf[info.flags], info.invert == 0, {}};
  for (std::size_t i = 0; i < info.count; ++i) {
    const bool range = info.pflags[i] != 0 && i + 1 < info.count;
    out.ranges.push_back({info.ports[i], info.ports[range ? i + 1 : i]});
    if (range) ++i;
  }
  return out;
}
NftExpression address_type(const nftnl_expr* e) {
  const Bytes bytes = data(e, NFTNL_EXPR_MT_INFO);
  xt_addrtype_info_v1 info{};
  if (number(e, NFTNL_EXPR_MT_REV) != 1 || bytes.size() < sizeof info) return NftUnknown{"addrtype"};
  std::memcpy(&info, bytes.data(), sizeof info);
  constexpr std::uint32_t kOfADevice = XT_ADDRTYPE_LIMIT_IFACE_IN | XT_ADDRTYPE_LIMIT_IFACE_OUT;
  if ((info.flags & kOfADevice) != 0 || (info.source == 0) == (info.dest == 0)) return NftUnknown{"addrtype"};
  const bool source = info.source != 0;
  const std::uint32_t inverted = info.flags & (source ? XT_ADDRTYPE_INVERT_SOURCE : XT_ADDRTYPE_INVERT_DEST);
  return NftAddressType{source, inverted == 0, source ? info.source : info.dest};
}
NftExpression reverse_path(const nftnl_expr* e) {
  const Bytes bytes = data(e, NFTNL_EXPR_MT_INFO);
  if (bytes.empty() || (bytes.front() & XT_RPFILTER_LOOSE) != 0) return NftUnknown{"rpfilter"};
  return NftReversePath{(bytes.front() & XT_RPFILTER_INVERT) != 0};
}
// "fib saddr . iif oif", also with the mark; "fib daddr type".
NftExpression fib(const nftnl_expr* e) {
  constexpr std::uint32_t kBack = NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF;
  const std::uint32_t flags = number(e, NFTNL_EXPR_FIB_FLAGS);
  const bool type = number(e, NFTNL_EXPR_FIB_RESULT) == NFT_FIB_RESULT_ADDRTYPE;
  const bool back = (flags & kBack) == kBack && !type;
  const What what = back                                ? What::kReversePath
                    : type && flags == NFTA_FIB_F_DADDR ? What::kDestinationType
                                                        : What::kOther;
  return NftLoad{what, number(e, NFTNL_EXPR_FIB_DREG), 0, 0};
}
// "add @set { ip saddr }" changes nothing for this packet, unless the set's elements decide, too.
NftExpression dynamic_set(const nftnl_expr* e) {
  const bool decides =
      nftnl_expr_is_set(e, NFTNL_EXPR_DYNSET_EXPR) || nftnl_expr_is_set(e, NFTNL_EXPR_DYNSET_EXPRESSIONS);
  return decides ? NftExpression{NftUnknown{"dynset"}} : NftHarmless{};
}
NftExpression no_track(const nftnl_expr* /*e*/) {
  return NftNoTrack{};
}
// NAT of the first packet of a connection, which goes on with it.
NftExpression translation(const nftnl_expr* e) {
  const bool source = number(e, NFTNL_EXPR_NAT_TYPE) == NFT_NAT_SNAT;
  NftNat nat{source ? NftNat::Changes::kSource : NftNat::Changes::kDestination, source ? "SNAT" : "DNAT",
             std::nullopt, number(e, NFTNL_EXPR_NAT_REG_ADDR_MIN)};
  return NftVerdict{Kind::kAccept, "", std::move(nat)};
}
NftExpression masquerade(const nftnl_expr* /*e*/) {
  return xt_target("MASQUERADE");
}
NftExpression redirect(const nftnl_expr* /*e*/) {
  return xt_target("REDIRECT");
}
// Hands the packet to somebody else.
NftExpression elsewhere(const nftnl_expr* /*e*/) {
  return NftVerdict{Kind::kOther, ""};
}
NftExpression match(const nftnl_expr* e) {
  const std::string name = text(e, NFTNL_EXPR_MT_NAME);
  if (name == "comment") return NftHarmless{};
  if (name == "conntrack") return states(e);
  if (name == "rpfilter") return reverse_path(e);
  if (name == "multiport") return ports(e);
  if (name == "addrtype") return address_type(e);
  return unknown_match(name);
}

constexpr std::array kDecoders{Decoder{"immediate", immediate},
                               Decoder{"meta", meta},
                               Decoder{"ct", connection},
                               Decoder{"payload", payload},
                               Decoder{"cmp", compare},
                               Decoder{"range", range},
                               Decoder{"bitwise", bitwise},
                               Decoder{"lookup", lookup},
                               Decoder{"target", target},
                               Decoder{"match", match},
                               Decoder{"reject", reject},
                               Decoder{"fib", fib},
                               Decoder{"rt", opaque_load<NFTNL_EXPR_RT_DREG>},
                               Decoder{"socket", opaque_load<NFTNL_EXPR_SOCKET_DREG>},
                               Decoder{"hash", opaque_load<NFTNL_EXPR_HASH_DREG>},
                               Decoder{"numgen", opaque_load<NFTNL_EXPR_NG_DREG>},
                               Decoder{"byteorder", opaque_load<NFTNL_EXPR_BYTEORDER_DREG>},
                               Decoder{"counter", counter},
                               Decoder{"log", harmless},
                               Decoder{"notrack", no_track},
                               Decoder{"nat", translation},
                               Decoder{"masq", masquerade},
                               Decoder{"redir", redirect},
                               Decoder{"queue", elsewhere},
                               Decoder{"tproxy", elsewhere},
                               Decoder{"synproxy", elsewhere},
                               Decoder{"fwd", elsewhere},
                               Decoder{"dynset", dynamic_set},
                               Decoder{"dup", harmless},
                               Decoder{"last", harmless},
                               Decoder{"objref", harmless},
                               Decoder{"flow_offload", harmless}};

}  // namespace

NftUnknown unknown_match(std::string_view name) {
  constexpr std::array<std::string_view, 25> kForSome{
      "account", "bpf",    "cluster", "connbytes", "connlimit", "geoip",   "hashlimit", "helper", "iprange",
      "mac",     "nfacct", "limit",   "osf",       "owner",     "physdev", "pkttype",   "policy", "quota",
      "rateest", "recent", "set",     "statistic", "string",    "time",    "u32"};
  const bool some = std::find(kForSome.begin(), kForSome.end(), name) != kForSome.end();
  return NftUnknown{std::string(name), !some};
}

NftExpression xt_target(std::string_view name) {
  constexpr std::array<std::string_view, 2> kSource{"SNAT", "MASQUERADE"}, kDestination{"DNAT", "REDIRECT"};
  constexpr std::array<std::string_view, 18> kPassOn{
      "LOG", "NFLOG",    "ULOG", "TRACE",    "TCPMSS",      "CT",  "TOS",   "DSCP",        "TTL",
      "TEE", "CLASSIFY", "SET",  "CHECKSUM", "TCPOPTSTRIP", "ECN", "AUDIT", "CONNSECMARK", "SECMARK"};
  const auto among = [&](const auto& names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  const auto nat = [&](NftNat::Changes changes) {
    return NftVerdict{Kind::kAccept, "", NftNat{changes, std::string(name), std::nullopt, 0}};
  };
  if (among(kSource)) return nat(NftNat::Changes::kSource);
  if (among(kDestination)) return nat(NftNat::Changes::kDestination);
  if (name == "ACCEPT" || name == "NETMAP") return NftVerdict{Kind::kAccept, ""};
  if (name == "DROP") return NftVerdict{Kind::kDrop, ""};
  if (name == "REJECT") return NftVerdict{Kind::kReject, ""};
  if (name == "RETURN") return NftVerdict{Kind::kReturn, ""};
  if (name == "NOTRACK") return NftNoTrack{};
  if (name == "MARK" || name == "CONNMARK") return NftHarmless{0, false, {}, 0, 0, true};
  return among(kPassOn) ? NftExpression{NftHarmless{}} : NftVerdict{};
}

NftVerdict::Kind verdict_kind(int code) {
  switch (code) {
    case NF_ACCEPT:
      return Kind::kAccept;
    case NF_DROP:
      return Kind::kDrop;
    case NFT_CONTINUE:
      return Kind::kContinue;
    case NFT_RETURN:
      return Kind::kReturn;
    case NFT_JUMP:
      return Kind::kJump;
    case NFT_GOTO:
      return Kind::kGoto;
    default:  // of an integer: a queue to a program, and what kernels add
      return Kind::kOther;
  }
}

NftExpression decode_expression(const nftnl_expr* expression) {
  const std::string name = text(expression, NFTNL_EXPR_NAME);
  const auto* known = std::find_if(kDecoders.begin(), kDecoders.end(),
                                   [&](const Decoder& decoder) { return decoder.name == name; });
  return known == kDecoders.end() ? NftExpression{NftUnknown{name}} : known->decode(expression);
}

}  // namespace bondd::rules

#include <endian.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "netlink/codec.h"

namespace bondd::netlink {
namespace {

constexpr std::uint32_t kNone = 0xffffffff;  // of suppressors, when they are not set

// Of newer kernels than the headers of Debian 12.
constexpr std::uint16_t kSourcePortMask = 28, kDestinationPortMask = 29;  // FRA_SPORT_MASK, FRA_DPORT_MASK
constexpr std::uint16_t kAllOfPort = 0xffff;
constexpr std::uint16_t kLastAttribute = 64;  // far above the kernel's longest list

std::optional<NumberRange> parse_ports(const Attributes& attributes, std::uint16_t type) {
  const auto range = attributes.value<fib_rule_port_range>(type);
  if (!range) return std::nullopt;
  return NumberRange{range->start, range->end};
}

// Attributes that RuleExtras cannot say.
bool has_unknown_selectors(const Attributes& attributes) {
  for (std::uint16_t type = FRA_DPORT_RANGE + 1; type < kLastAttribute; ++type) {
    if (attributes.find(type) == nullptr) continue;
    const bool whole_port = (type == kSourcePortMask || type == kDestinationPortMask) &&
                            attributes.value<std::uint16_t>(type) == kAllOfPort;
    if (!whole_port) return true;
  }
  return false;
}

RuleAction parse_action(std::uint8_t action) {
  switch (action) {
    case FR_ACT_TO_TBL:
      return RuleAction::kLookup;
    case FR_ACT_GOTO:
      return RuleAction::kGoto;
    case FR_ACT_BLACKHOLE:
      return RuleAction::kBlackhole;
    case FR_ACT_UNREACHABLE:
      return RuleAction::kUnreachable;
    case FR_ACT_PROHIBIT:
      return RuleAction::kProhibit;
    default:  // of an integer: "nop", and what kernels add
      return RuleAction::kNothing;
  }
}

RuleExtras parse_extras(const fib_rule_hdr& header, const Attributes& attributes) {
  RuleExtras extras;
  extras.action = parse_action(header.action);
  if (extras.action == RuleAction::kGoto) extras.target = attributes.u32(FRA_GOTO).value_or(0);
  extras.inverted = (header.flags & FIB_RULE_INVERT) != 0;
  extras.tos = header.tos;
  extras.protocol = attributes.u8(FRA_IP_PROTO).value_or(0);
  if (const auto uids = attributes.value<fib_rule_uid_range>(FRA_UID_RANGE))
    extras.uids = NumberRange{uids->start, uids->end};
  extras.source_ports = parse_ports(attributes, FRA_SPORT_RANGE);
  extras.destination_ports = parse_ports(attributes, FRA_DPORT_RANGE);
  extras.tunnel_id = be64toh(attributes.value<std::uint64_t>(FRA_TUN_ID).value_or(0));
  extras.l3mdev = attributes.u8(FRA_L3MDEV).value_or(0) != 0;
  extras.realms = attributes.u32(FRA_FLOW).value_or(0);
  const std::uint32_t group = attributes.u32(FRA_SUPPRESS_IFGROUP).value_or(kNone);
  if (group != kNone) extras.suppress_group = group;
  extras.unknown = has_unknown_selectors(attributes);
  return extras;
}

std::optional<IpPrefix> parse_selector(const Attributes& attributes, std::uint16_t type, int length) {
  const auto address = attributes.address(type);
  if (!address) return std::nullopt;
  return IpPrefix{*address, length};
}

}  // namespace

std::optional<Rule> parse_rule(const nlmsghdr* message) {
  if (message->nlmsg_type != RTM_NEWRULE) return std::nullopt;
  const auto& header = *static_cast<const fib_rule_hdr*>(mnl_nlmsg_get_payload(message));
  const Attributes attributes(message, sizeof(fib_rule_hdr));
  const bool ip = header.family == AF_INET || header.family == AF_INET6;
  if (!ip) return std::nullopt;
  Rule rule;
  rule.family = header.family == AF_INET ? Family::kIpv4 : Family::kIpv6;
  rule.priority = attributes.u32(FRA_PRIORITY).value_or(0);
  rule.table = attributes.u32(FRA_TABLE).value_or(header.table);
  rule.protocol = attributes.u8(FRA_PROTOCOL).value_or(0);
  rule.mark = attributes.u32(FRA_FWMARK).value_or(0);
  rule.mask = attributes.u32(FRA_FWMASK).value_or(0);
  rule.from = parse_selector(attributes, FRA_SRC, header.src_len);
  rule.to = parse_selector(attributes, FRA_DST, header.dst_len);
  rule.iif = attributes.text(FRA_IIFNAME);
  rule.oif = attributes.text(FRA_OIFNAME);
  const std::uint32_t suppress = attributes.u32(FRA_SUPPRESS_PREFIXLEN).value_or(kNone);
  if (suppress != kNone) rule.suppress_prefix_length = static_cast<int>(suppress);
  rule.extras = parse_extras(header, attributes);
  return rule;
}

void put_rule(Message& message, const Rule& rule) {
  auto& header = message.header<fib_rule_hdr>();
  header.family = rule.family == Family::kIpv4 ? AF_INET : AF_INET6;
  header.action = FR_ACT_TO_TBL;
  header.table = rule.table < 256 ? static_cast<std::uint8_t>(rule.table) : std::uint8_t{RT_TABLE_COMPAT};
  if (rule.from) header.src_len = static_cast<std::uint8_t>(rule.from->length);
  if (rule.to) header.dst_len = static_cast<std::uint8_t>(rule.to->length);
  message.put_u32(FRA_TABLE, rule.table);
  message.put_u32(FRA_PRIORITY, rule.priority);
  message.put_u8(FRA_PROTOCOL, rule.protocol);
  if (rule.mask != 0) {
    message.put_u32(FRA_FWMARK, rule.mark);
    message.put_u32(FRA_FWMASK, rule.mask);
  }
  if (rule.from) message.put_address(FRA_SRC, rule.from->address);
  if (rule.to) message.put_address(FRA_DST, rule.to->address);
  if (!rule.iif.empty()) message.put_name(FRA_IIFNAME, rule.iif);
  if (!rule.oif.empty()) message.put_name(FRA_OIFNAME, rule.oif);
  if (rule.suppress_prefix_length) {
    message.put_u32(FRA_SUPPRESS_PREFIXLEN, static_cast<std::uint32_t>(*rule.suppress_prefix_length));
  }
}

}  // namespace bondd::netlink

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>

#include "netlink/codec.h"

namespace bondd::netlink {
namespace {

constexpr std::uint32_t kNone = 0xffffffff;  // of suppressors, when they are not set

// Selectors that the values cannot say. A rule that has one is nobody's we know.
bool has_other_selectors(const Attributes& attributes) {
  constexpr std::array<std::uint16_t, 7> kOthers{FRA_GOTO,     FRA_FLOW,        FRA_TUN_ID,     FRA_UID_RANGE,
                                                 FRA_IP_PROTO, FRA_SPORT_RANGE, FRA_DPORT_RANGE};
  if (attributes.u32(FRA_SUPPRESS_IFGROUP).value_or(kNone) != kNone) return true;
  if (attributes.u8(FRA_L3MDEV).value_or(0) != 0) return true;
  return std::any_of(kOthers.begin(), kOthers.end(),
                     [&](std::uint16_t type) { return attributes.find(type) != nullptr; });
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
  const bool plain =
      header.action == FR_ACT_TO_TBL && header.tos == 0 && (header.flags & FIB_RULE_INVERT) == 0;
  if (!ip || !plain || has_other_selectors(attributes)) return std::nullopt;
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

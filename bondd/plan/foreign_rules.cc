#include "bondd/plan/foreign_rules.h"

#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>

namespace bondd::plan {
namespace {

using netlink::NumberRange;
using netlink::Rule;
using netlink::RuleAction;

constexpr std::uint32_t kAllBits = 0xffffffff;
constexpr std::uint32_t kHalfOfPorts = 0x8000;  // fewer are certain services, which is meant

Share all_if(bool condition) {
  return condition ? Share::kAll : Share::kNone;
}

Share of_source(const std::optional<IpPrefix>& wanted, const IpPrefix& from) {
  if (!wanted || wanted->contains(from)) return Share::kAll;
  return overlap(*wanted, from) ? Share::kSome : Share::kNone;
}

Share of_destination(const std::optional<IpPrefix>& wanted, const IpPrefix& to) {
  if (!wanted || wanted->contains(to)) return Share::kAll;
  const bool much = wanted->length <= std::max(to.length, kInternet) && overlap(*wanted, to);
  return much ? Share::kSome : Share::kNone;
}

Share of_port(const std::optional<NumberRange>& wanted, const std::optional<std::uint16_t>& port) {
  if (!wanted) return Share::kAll;
  if (port) return all_if(*port >= wanted->first && *port <= wanted->last);
  return wanted->last - wanted->first >= kHalfOfPorts - 1 ? Share::kSome : Share::kNone;
}

Share of_user(const std::optional<NumberRange>& wanted, const std::vector<std::uint32_t>& uids) {
  if (!wanted) return Share::kAll;
  const auto fitting = std::count_if(uids.begin(), uids.end(), [&](std::uint32_t uid) {
    return uid >= wanted->first && uid <= wanted->last;
  });
  if (fitting == 0) return Share::kNone;
  return static_cast<std::size_t>(fitting) == uids.size() ? Share::kAll : Share::kSome;
}

Share inverted(Share share) {
  return share == Share::kAll ? Share::kNone : share == Share::kNone ? Share::kAll : Share::kSome;
}

Share share_to(const Rule& rule, const Flow& flow, const IpPrefix& to) {
  const netlink::RuleExtras& more = rule.extras;
  const Share share = std::min({all_if(rule.iif.empty() || rule.iif == flow.iif),
                                all_if(rule.oif.empty() && more.tos == 0 && more.tunnel_id == 0),
                                all_if((flow.mark & rule.mask) == rule.mark),
                                all_if(more.protocol == 0 || more.protocol == flow.protocol),
                                of_source(rule.from, flow.from), of_destination(rule.to, to),
                                of_user(more.uids, flow.uids), of_port(more.source_ports, std::nullopt),
                                of_port(more.destination_ports, flow.destination_port)});
  return more.inverted ? inverted(share) : share;
}

std::string_view name_of(std::uint8_t protocol) {
  return protocol == IPPROTO_UDP ? "udp" : protocol == IPPROTO_TCP ? "tcp" : "icmp";
}

std::string protocol_words(std::uint8_t protocol) {
  const bool named = protocol == IPPROTO_UDP || protocol == IPPROTO_TCP || protocol == IPPROTO_ICMP;
  return named ? fmt::format("ipproto {} ", name_of(protocol)) : fmt::format("ipproto {} ", protocol);
}

std::string range_words(std::string_view name, const std::optional<NumberRange>& range, bool always_both) {
  if (!range) return {};
  if (range->first == range->last && !always_both) return fmt::format("{} {} ", name, range->first);
  return fmt::format("{} {}-{} ", name, range->first, range->last);
}

std::string selector_words(const Rule& rule) {
  const netlink::RuleExtras& more = rule.extras;
  std::string out = more.inverted ? "not " : "";
  if (rule.from) out += fmt::format("from {} ", to_string(*rule.from));
  if (rule.to) out += fmt::format("to {} ", to_string(*rule.to));
  if (more.tos != 0) out += fmt::format("tos {:#x} ", more.tos);
  if (rule.mask == kAllBits) out += fmt::format("fwmark {:#x} ", rule.mark);
  if (rule.mask != 0 && rule.mask != kAllBits)
    out += fmt::format("fwmark {:#x}/{:#x} ", rule.mark, rule.mask);
  if (!rule.iif.empty()) out += fmt::format("iif {} ", rule.iif);
  if (!rule.oif.empty()) out += fmt::format("oif {} ", rule.oif);
  if (more.l3mdev) out += "l3mdev ";
  out += range_words("uidrange", more.uids, true);
  if (more.protocol != 0) out += protocol_words(more.protocol);
  out += range_words("sport", more.source_ports, false);
  out += range_words("dport", more.destination_ports, false);
  if (more.tunnel_id != 0) out += fmt::format("tun_id {} ", more.tunnel_id);
  if (more.unknown) out += "… ";
  return out;
}

std::string action_words(const Rule& rule) {
  switch (rule.extras.action) {
    case RuleAction::kLookup:
      return rule.table == netlink::kMainTable ? "lookup main" : fmt::format("lookup {}", rule.table);
    case RuleAction::kGoto:
      return fmt::format("goto {}", rule.extras.target);
    case RuleAction::kNothing:
      return "nop";
    case RuleAction::kBlackhole:
      return "blackhole";
    case RuleAction::kUnreachable:
      return "unreachable";
    case RuleAction::kProhibit:
      return "prohibit";
  }
  return "";
}

}  // namespace

Share share_of(const Rule& rule, const Flow& flow) {
  // Only for a VRF's packets, or nobody can say for which.
  if (rule.family != Family::kIpv4 || rule.extras.l3mdev || rule.extras.unknown) return Share::kNone;
  if (!rule.to && !flow.to.empty()) return share_to(rule, flow, flow.to.front());
  Share most = Share::kNone;
  for (const IpPrefix& to : flow.to) most = std::max(most, share_to(rule, flow, to));
  return most;
}

std::string words(const Rule& rule) {
  return fmt::format("rule {} ({}{})", rule.priority, selector_words(rule), action_words(rule));
}

}  // namespace bondd::plan

// GoogleTest shows values as words, not as bytes. Include it in tests that compare network state.
#pragma once

#include <fmt/format.h>

#include <ostream>

#include "netlink/values.h"
#include "rules/firewall.h"

namespace bondd {

inline void PrintTo(const IpAddress& address, std::ostream* out) {
  *out << to_string(address);
}
inline void PrintTo(const IpPrefix& prefix, std::ostream* out) {
  *out << to_string(prefix);
}
inline void PrintTo(const MacAddress& mac, std::ostream* out) {
  *out << to_string(mac);
}

namespace netlink {

inline void PrintTo(const BondOptions& bond, std::ostream* out) {
  *out << fmt::format("mode {} hash {} arp_interval {} targets", static_cast<int>(bond.mode),
                      static_cast<int>(bond.hash_policy), bond.arp_interval_ms);
  for (const IpAddress& target : bond.arp_targets) *out << ' ' << to_string(target);
}

inline void PrintTo(const Link& link, std::ostream* out) {
  *out << fmt::format("{} kind {} alias '{}' master '{}' {}", link.name, static_cast<int>(link.kind),
                      link.alias, link.master, link.up ? "up" : "down");
  if (link.mac) *out << " mac " << to_string(*link.mac);
  if (link.mtu) *out << " mtu " << *link.mtu;
  if (link.txqueuelen) *out << " qlen " << *link.txqueuelen;
  if (link.gso_max_segs) *out << " gso_max_segs " << *link.gso_max_segs;
  if (link.owner_uid) *out << " owner " << *link.owner_uid;
  if (link.no_ipv6_address) *out << " no_ipv6_address";
  if (link.group != 0) *out << " group " << link.group;
  if (link.bond) PrintTo(*link.bond, &(*out << " bond "));
}

inline void PrintTo(const Address& address, std::ostream* out) {
  *out << to_string(address.prefix) << " dev " << address.device;
  if (address.peer) *out << " peer " << to_string(*address.peer);
}

inline void PrintTo(const Route& route, std::ostream* out) {
  *out << to_string(route.destination);
  if (route.gateway) *out << " via " << to_string(*route.gateway);
  *out << fmt::format(" dev '{}' table {} proto {} metric {} type {} scope {}{}", route.device, route.table,
                      route.protocol, route.metric, static_cast<int>(route.type), route.scope,
                      route.onlink ? " onlink" : "");
  if (route.source) *out << " src " << to_string(*route.source);
}

inline void PrintTo(const Rule& rule, std::ostream* out) {
  *out << fmt::format("{} {}: mark {:#x}/{:#x} lookup {} proto {} iif '{}' oif '{}'",
                      rule.family == Family::kIpv4 ? "ip" : "ip6", rule.priority, rule.mark, rule.mask,
                      rule.table, rule.protocol, rule.iif, rule.oif);
  if (rule.from) *out << " from " << to_string(*rule.from);
  if (rule.to) *out << " to " << to_string(*rule.to);
  if (rule.suppress_prefix_length) *out << " suppress_prefixlength " << *rule.suppress_prefix_length;
}

}  // namespace netlink

namespace rules {

inline void PrintTo(const Firewall& firewall, std::ostream* out) {
  for (const Table& table : firewall.tables) {
    *out << "\n*" << table.name;
    for (const Jump& jump : table.jumps) {
      *out << "\n  " << jump.builtin << (jump.first ? " first -> " : " last -> ") << jump.chain;
    }
    for (const Chain& chain : table.chains) {
      for (const auto& rule : chain.rules)
        *out << "\n  -A " << chain.name << ' ' << fmt::format("[{}]", fmt::join(rule, "] ["));
      if (chain.rules.empty()) *out << "\n  :" << chain.name;
    }
  }
}

}  // namespace rules
}  // namespace bondd

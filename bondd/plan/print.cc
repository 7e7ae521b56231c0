// Steps as the commands a person would type, for `bondd plan`, goldens and logs.
#include <fmt/format.h>

#include <array>
#include <string_view>
#include <variant>

#include "bondd/base/text.h"
#include "bondd/plan/plan.h"
#include "rules/iptables.h"

namespace bondd::plan {
namespace {

using namespace model;
using netlink::Link;
using netlink::LinkKind;
using Lines = std::vector<std::string>;

std::string_view name(netlink::BondMode mode) {
  switch (mode) {
    case netlink::BondMode::kBalanceRr:
      return "balance-rr";
    case netlink::BondMode::kBalanceXor:
      return "balance-xor";
  }
  return "?";
}

std::string_view name(netlink::HashPolicy policy) {
  switch (policy) {
    case netlink::HashPolicy::kLayer2:
      return "layer2";
    case netlink::HashPolicy::kLayer34:
      return "layer3+4";
    case netlink::HashPolicy::kLayer23:
      return "layer2+3";
  }
  return "?";
}

std::string_view name(netlink::RouteType type) {
  switch (type) {
    case netlink::RouteType::kUnicast:
      return "";
    case netlink::RouteType::kBlackhole:
      return "blackhole ";
    case netlink::RouteType::kUnreachable:
      return "unreachable ";
    case netlink::RouteType::kProhibit:
      return "prohibit ";
    case netlink::RouteType::kThrow:
      return "throw ";
  }
  return "";
}

std::string bond_words(const netlink::BondOptions& bond) {
  std::string out = fmt::format(" mode {}", name(bond.mode));
  if (bond.mode == netlink::BondMode::kBalanceXor)
    out += fmt::format(" xmit_hash_policy {}", name(bond.hash_policy));
  if (bond.arp_interval_ms != 0) {
    out += fmt::format(" arp_interval {}", bond.arp_interval_ms);
    std::string targets;
    for (const IpAddress& target : bond.arp_targets)
      targets += fmt::format("{}{}", targets.empty() ? "" : ",", to_string(target));
    if (!targets.empty()) out += " arp_ip_target " + targets;
  }
  return out;
}

std::string prefix_words(const IpPrefix& prefix) {
  return prefix.is_default() ? "default" : to_string(prefix);
}

Lines lines(const SetSysctl& step) {
  return {shell_join({"sysctl", "-w", fmt::format("{}={}", step.sysctl.key, step.sysctl.value)})};
}
Lines lines(const RestoreSysctl& step) {
  return {shell_join({"sysctl", "-w", fmt::format("{}={}", step.sysctl.key, step.sysctl.value)})};
}
Lines lines(const SetDeviceSysctl& step) {
  return {shell_join({"sysctl", "-w", fmt::format("{}={}", step.sysctl.key, step.sysctl.value)})};
}
Lines lines(const InstallFirewall& step) {
  return rules::render_commands(step.firewall);
}
Lines lines(const RemoveFirewall& step) {
  Lines out;
  for (const auto& table : step.firewall.tables) {
    for (const auto& jump : table.jumps) {
      out.push_back(fmt::format("iptables -t {} -D {} -j {}", table.name, jump.builtin, jump.chain));
    }
    for (const auto& chain : table.chains) {
      out.push_back(fmt::format("iptables -t {} -F {}", table.name, chain.name));
      out.push_back(fmt::format("iptables -t {} -X {}", table.name, chain.name));
    }
  }
  return out;
}

Lines lines(const AddLink& step) {
  const Link& link = step.link;
  if (link.kind == LinkKind::kTap || link.kind == LinkKind::kTun) {
    std::string line =
        fmt::format("ip tuntap add dev {} mode {}", link.name, link.kind == LinkKind::kTap ? "tap" : "tun");
    if (link.owner_uid) line += fmt::format(" user {}", *link.owner_uid);
    return {line};
  }
  std::string line = fmt::format("ip link add {}", link.name);
  if (link.mac) line += fmt::format(" address {}", to_string(*link.mac));
  line += " type bond";
  if (link.bond) line += bond_words(*link.bond);
  return {line};
}

Lines lines(const SetLink& step) {
  const Link& link = step.link;
  Lines out{shell_join({"ip", "link", "set", link.name, "alias", link.alias})};
  if (link.no_ipv6_address) out.push_back(fmt::format("ip link set {} addrgenmode none", link.name));
  std::string sizes;
  if (link.mtu) sizes += fmt::format(" mtu {}", *link.mtu);
  if (link.txqueuelen) sizes += fmt::format(" txqueuelen {}", *link.txqueuelen);
  if (link.gso_max_segs) sizes += fmt::format(" gso_max_segs {}", *link.gso_max_segs);
  if (!sizes.empty()) out.push_back(fmt::format("ip link set {}{}", link.name, sizes));
  if (link.kind == LinkKind::kTap) {
    out.push_back(link.master.empty() ? fmt::format("ip link set {} nomaster", link.name)
                                      : fmt::format("ip link set {} down master {}", link.name, link.master));
  }
  out.push_back(fmt::format("ip link set {} {}", link.name, link.up ? "up" : "down"));
  return out;
}

Lines lines(const DeleteLink& step) {
  return {fmt::format("ip link del {}", step.name)};
}

std::string words(const netlink::Address& address) {
  return fmt::format("{} dev {}", to_string(address.prefix), address.device);
}
Lines lines(const AddAddress& step) {
  return {"ip addr add " + words(step.address)};
}
Lines lines(const DeleteAddress& step) {
  return {"ip addr del " + words(step.address)};
}

std::string words(const netlink::Route& route) {
  std::string out = fmt::format("{}{}", name(route.type), prefix_words(route.destination));
  if (route.gateway) {
    const bool other = route.gateway->family() != route.destination.address.family();
    out += fmt::format(" via {}{}", other ? "inet6 " : "", to_string(*route.gateway));
  }
  if (!route.device.empty()) out += fmt::format(" dev {}", route.device);
  if (route.onlink) out += " onlink";
  if (route.scope == 253) out += " scope link";
  if (route.source) out += fmt::format(" src {}", to_string(*route.source));
  if (route.table != netlink::kMainTable) out += fmt::format(" table {}", route.table);
  if (route.metric != 0) out += fmt::format(" metric {}", route.metric);
  return out + fmt::format(" proto {}", route.protocol);
}
Lines lines(const AddRoute& step) {
  return {"ip route add " + words(step.route)};
}
Lines lines(const DeleteRoute& step) {
  return {"ip route del " + words(step.route)};
}

std::string words(const netlink::Rule& rule) {
  std::string out = fmt::format("priority {}", rule.priority);
  if (rule.from) out += fmt::format(" from {}", to_string(*rule.from));
  if (rule.to) out += fmt::format(" to {}", to_string(*rule.to));
  if (rule.mask != 0) out += fmt::format(" fwmark {:#x}/{:#x}", rule.mark, rule.mask);
  if (!rule.iif.empty()) out += fmt::format(" iif {}", rule.iif);
  if (!rule.oif.empty()) out += fmt::format(" oif {}", rule.oif);
  out += rule.table == netlink::kMainTable ? " lookup main" : fmt::format(" lookup {}", rule.table);
  if (rule.suppress_prefix_length)
    out += fmt::format(" suppress_prefixlength {}", *rule.suppress_prefix_length);
  return out + fmt::format(" protocol {}", rule.protocol);
}
Lines lines(const AddRule& step) {
  return {"ip rule add " + words(step.rule)};
}
Lines lines(const DeleteRule& step) {
  return {"ip rule del " + words(step.rule)};
}

Lines lines(const StartProcess& step) {
  return {shell_join(step.process.argv)};
}
Lines lines(const StopProcess& step) {
  return {fmt::format("# stop {}", step.id)};
}

}  // namespace

std::vector<std::string> print(const std::vector<Step>& steps) {
  Lines out;
  for (const Step& step : steps) {
    Lines more = std::visit([](const auto& s) { return lines(s); }, step);
    out.insert(out.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }
  return out;
}

std::string summary(const std::vector<Step>& steps) {
  if (steps.empty()) return "nothing to change";
  struct Kind {
    std::string_view one, many;
    int count = 0;
  };
  // By the index of the variant; adding, changing and removing are one kind.
  std::array<Kind, 7> kinds = {{{"sysctl", "sysctls"},
                                {"firewall ruleset", "firewall rulesets"},
                                {"interface", "interfaces"},
                                {"address", "addresses"},
                                {"route", "routes"},
                                {"rule", "rules"},
                                {"program", "programs"}}};
  constexpr std::array<std::size_t, std::variant_size_v<Step>> kKindOf = {0, 0, 0, 1, 1, 2, 2, 2,
                                                                          3, 3, 4, 4, 5, 5, 6, 6};
  for (const Step& step : steps) ++kinds.at(kKindOf.at(step.index())).count;
  std::string text;
  for (const Kind& kind : kinds) {
    if (kind.count == 0) continue;
    text += fmt::format("{}{} {}", text.empty() ? "changes " : ", ", kind.count,
                        kind.count == 1 ? kind.one : kind.many);
  }
  return text;
}

std::string describe(const Step& step) {
  const Lines all = std::visit([](const auto& s) { return lines(s); }, step);
  if (all.empty()) return "nothing";
  return all.size() == 1 ? all.front() : fmt::format("{} (and {} more)", all.front(), all.size() - 1);
}

}  // namespace bondd::plan

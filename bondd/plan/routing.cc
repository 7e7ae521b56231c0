#include "bondd/plan/routing.h"

#include <algorithm>
#include <limits>
#include <set>

#include "bondd/model/ownership.h"
#include "bondd/plan/firewall.h"

namespace bondd::plan {
namespace {

using model::Config;
using model::Facts;
using model::Role;
using netlink::Route;
using netlink::Rule;
using netlink::Snapshot;

constexpr std::uint8_t kScopeLink = 253;  // RT_SCOPE_LINK
constexpr std::uint32_t kLastMetric = std::numeric_limits<std::uint32_t>::max();

constexpr int kWidestInside = 8;  // wider is the Internet, cut in halves by some VPN's 0.0.0.0/1

const IpPrefix kDefault{IpAddress{}, 0};

// The best default route of the main table through `device` (any device if empty) that is not ours.
const Route* default_route(const Snapshot& network, std::string_view device) {
  const Route* best = nullptr;
  for (const Route& route : network.routes) {
    const bool candidate = route.table == netlink::kMainTable && route.protocol != model::kProtocol &&
                           route.destination.is_default() && route.destination.address.is_v4() &&
                           route.type == netlink::RouteType::kUnicast &&
                           (device.empty() || route.device == device);
    if (candidate && (best == nullptr || route.metric < best->metric)) best = &route;
  }
  return best;
}

// The address whose network holds `other`, on `device` or anywhere if that is empty.
const netlink::Address* address_towards(const Snapshot& network, const IpAddress& other,
                                        std::string_view device) {
  const netlink::Address* best = nullptr;
  for (const netlink::Address& address : network.addresses) {
    if (!device.empty() && address.device != device) continue;
    const bool reaches = address.prefix.contains(other) || address.peer == other;
    if (reaches && (best == nullptr || address.prefix.length > best->prefix.length)) best = &address;
  }
  return best;
}

class Builder {
 public:
  Builder(const Config& config, const Facts& facts) : config_(config), facts_(facts) {}

  Routing build() {
    if (config_.role == Role::kClient) {
      for (unsigned n = 1; n <= config_.wans.size(); ++n) add_wan(n);
      add_reply_route();
    }
    add_through_bond();
    return std::move(out_);
  }

 private:
  // ip route add DESTINATION table TABLE …, tagged as ours.
  Route& add_route(std::uint32_t table, const IpPrefix& destination) {
    Route route;
    route.destination = destination.network();
    route.table = table;
    route.protocol = model::kProtocol;
    out_.routes.push_back(std::move(route));
    return out_.routes.back();
  }

  void add_bond_route(std::uint32_t table, const IpPrefix& destination) {
    Route& route = add_route(table, destination);
    route.gateway = config_.bond.peer;
    route.device = config_.bond.interface;
    route.source = config_.bond.address.address;
  }

  Rule& add_rule(std::uint32_t priority, std::uint32_t table) {
    Rule rule;
    rule.priority = priority;
    rule.table = table;
    rule.protocol = model::kProtocol;
    out_.rules.push_back(std::move(rule));
    return out_.rules.back();
  }

  void add_mark_rule(std::uint32_t priority, std::uint32_t mark, std::uint32_t table) {
    Rule& rule = add_rule(priority, table);
    rule.mark = mark;
    rule.mask = model::kMarkMask;
  }

  // The table of WAN n: its network, its box, and a last route that refuses: what is marked
  // for this WAN never falls through to another way out.
  void add_wan(unsigned n) {
    const std::uint32_t table = model::wan_table(facts_.slot, n);
    const Exit exit = find_exit(config_.wans[n - 1], facts_.network);
    if (exit.network) {
      Route& connected = add_route(table, *exit.network);
      connected.device = exit.device;
      connected.scope = kScopeLink;
      connected.source = exit.source;
    }
    if (exit.known) {
      Route& box = add_route(table, kDefault);
      box.device = exit.device;
      box.gateway = exit.gateway;
      box.source = exit.source;
      box.onlink = exit.gateway && !exit.network;
      if (!exit.gateway) box.scope = kScopeLink;
    }
    Route& refuse = add_route(table, kDefault);
    refuse.type = netlink::RouteType::kUnreachable;
    refuse.metric = kLastMetric;

    add_mark_rule(model::rule_priority::kTunnel + n, model::tunnel_mark(facts_.slot, n), table);
    add_mark_rule(model::rule_priority::kPolicy + n, model::policy_mark(facts_.slot, n), table);
  }

  void add_reply_route() {
    add_bond_route(model::reply_table(facts_.slot), kDefault);
    add_mark_rule(model::rule_priority::kReply, model::reply_mark(facts_.slot),
                  model::reply_table(facts_.slot));
  }

  // What goes into the bond has a table of its own, so that the admin's default route stays
  // where it is. The main table's more specific routes keep their say, but for a through_bond
  // network that lies inside one of them.
  void add_through_bond() {
    if (config_.through_bond.empty()) return;
    const std::uint32_t table = model::bond_table(facts_.slot);
    for (const IpPrefix& destination : config_.through_bond) {
      add_bond_route(table, destination);
      if (covered_by_main(destination)) {
        // Not what is steered, nor an answer: that has a mark.
        Rule& rule = add_rule(model::rule_priority::kCovered, table);
        rule.to = destination.network();
        rule.mask = model::kMarkMask;
      }
    }
    add_rule(model::rule_priority::kMain + facts_.slot, netlink::kMainTable).suppress_prefix_length = 0;
    add_rule(model::rule_priority::kBond, table);
  }

  [[nodiscard]] bool covered_by_main(const IpPrefix& destination) const {
    return std::any_of(facts_.network.routes.begin(), facts_.network.routes.end(), [&](const Route& route) {
      return route.table == netlink::kMainTable && !route.destination.is_default() &&
             route.destination.length < destination.length && route.destination.contains(destination.address);
    });
  }

  const Config& config_;
  const Facts& facts_;
  Routing out_;
};

}  // namespace

Exit find_exit(const model::Wan& wan, const netlink::Snapshot& network) {
  Exit exit;
  exit.device = wan.device;
  exit.gateway = wan.gateway;
  if (!exit.gateway) {
    const Route* learned = default_route(network, wan.device);
    if (learned == nullptr) return exit;
    exit.device = learned->device;
    exit.gateway = learned->gateway;
    exit.source = learned->source;
  }
  exit.known = true;
  if (exit.gateway) {
    if (const netlink::Address* address = address_towards(network, *exit.gateway, exit.device)) {
      exit.device = address->device;
      exit.network = address->prefix.network();
      exit.source = address->prefix.address;
    }
  }
  if (wan.bind) exit.source = wan.bind;
  exit.known = !exit.device.empty();
  return exit;
}

std::vector<IpPrefix> inside_networks(const Config& config, const Snapshot& network,
                                      std::string_view device) {
  std::vector<IpPrefix> out;
  const auto leads_out = [&](const Route& route) {
    return std::any_of(config.wans.begin(), config.wans.end(), [&](const model::Wan& wan) {
      const Exit exit = find_exit(wan, network);
      return exit.gateway && exit.gateway == route.gateway && exit.device == route.device;
    });
  };
  for (const Route& route : network.routes) {
    const bool candidate = route.table == netlink::kMainTable && route.protocol != model::kProtocol &&
                           route.type == netlink::RouteType::kUnicast && route.destination.address.is_v4() &&
                           route.destination.length >= kWidestInside &&
                           route.device != config.bond.interface &&
                           (device.empty() || route.device == device);
    if (candidate && !leads_out(route)) out.push_back(route.destination.network());
  }
  for (const netlink::Address& address : network.addresses) {
    const bool candidate = address.prefix.address.is_v4() && address.prefix.length >= kWidestInside &&
                           address.prefix.length < address.prefix.address.bits() && address.device != "lo" &&
                           address.device != config.bond.interface &&
                           (device.empty() || address.device == device);
    if (candidate) out.push_back(address.prefix.network());
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::optional<unsigned> default_wan(const Config& config, const Snapshot& network, std::string_view device) {
  const Route* route = default_route(network, device);
  if (route == nullptr || !route->gateway) return std::nullopt;
  for (unsigned n = 1; n <= config.wans.size(); ++n) {
    const Exit exit = find_exit(config.wans[n - 1], network);
    if (exit.device == device && exit.gateway == route->gateway) return n;
  }
  return std::nullopt;
}

std::string wan_device(const model::Wan& wan, const Snapshot& network) {
  return find_exit(wan, network).device;
}

Routing plan_routing(const Config& config, const Facts& facts) {
  return Builder(config, facts).build();
}

}  // namespace bondd::plan

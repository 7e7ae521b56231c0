#include "bondd/plan/routing.h"

#include <algorithm>
#include <limits>
#include <set>

#include "bondd/model/ownership.h"
#include "bondd/plan/exits.h"
#include "bondd/plan/firewall.h"
#include "bondd/plan/plan.h"

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

const IpPrefix kDefault{IpAddress{}, 0};

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

  // What belongs there and finds no other route goes nowhere, instead of by the next table.
  void add_refusal(std::uint32_t table, const IpPrefix& destination) {
    Route& refuse = add_route(table, destination);
    refuse.type = netlink::RouteType::kUnreachable;
    refuse.metric = kLastMetric;
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
    rule.mask = config_.mark_mask;
  }

  // The table of WAN n: its network, its gateway, and a last route that refuses: what is marked
  // for this WAN never falls through to another way out.
  void add_wan(unsigned n) {
    const std::uint32_t table = model::wan_table(facts_.slot, n);
    const Exit exit = find_exit(config_.wans[n - 1], facts_.network);
    if (exit.known() && exit.network) {
      Route& connected = add_route(table, *exit.network);
      connected.device = exit.device;
      connected.scope = kScopeLink;
      connected.source = exit.source;
    }
    if (exit.known()) {
      Route& onward = add_route(table, kDefault);
      onward.device = exit.device;
      onward.gateway = exit.gateway;
      onward.source = exit.source;
      onward.onlink = exit.onlink;
      if (!exit.gateway) onward.scope = kScopeLink;
    }
    add_refusal(table, kDefault);

    const std::uint32_t mask = config_.mark_mask;
    add_mark_rule(model::rule_priority::kTunnel + n, model::tunnel_mark(mask, facts_.slot, n), table);
    add_mark_rule(model::rule_priority::kPolicy + n, model::policy_mark(mask, facts_.slot, n), table);
  }

  void add_reply_route() {
    const std::uint32_t table = model::reply_table(facts_.slot);
    add_ways_back(table);
    add_bond_route(table, kDefault);
    add_refusal(table, kDefault);
    add_mark_rule(model::rule_priority::kReply, model::reply_mark(config_.mark_mask, facts_.slot), table);
  }

  // With src_valid_mark the kernel looks by an answer's mark also for where it comes from: a strict LAN
  // device would drop what comes from the LAN, for this table leads everything to the bond. So the LAN's
  // networks stand here as well, and what lies inside one of them but belongs to the bond.
  void add_ways_back(std::uint32_t table) {
    std::vector<IpPrefix> inside;
    for (const Route& way : inside_routes(config_, facts_.network, "")) {
      if (!looks_at_marks(facts_, way.device)) continue;
      Route& route = add_route(table, way.destination);
      route.device = way.device;
      route.gateway = way.gateway;
      route.metric = way.metric;
      route.onlink = way.onlink;
      if (!way.gateway) route.scope = kScopeLink;
      inside.push_back(route.destination);
    }
    std::vector<IpPrefix> to_bond = config_.through_bond;
    to_bond.push_back(config_.bond.address.network());
    for (const IpPrefix& network : to_bond) {
      const bool covered = std::any_of(inside.begin(), inside.end(), [&](const IpPrefix& wide) {
        return wide.length < network.length && wide.contains(network.address);
      });
      if (covered) add_bond_route(table, network);
    }
  }

  // What goes into the bond has a table of its own, so that the admin's default route stays
  // where it is. The main table's more specific routes keep their say, but for a through_bond
  // network that lies inside one of them.
  void add_through_bond() {
    if (config_.through_bond.empty()) return;
    const std::uint32_t table = model::bond_table(facts_.slot), guard = model::guard_table(facts_.slot);
    for (const IpPrefix& destination : config_.through_bond) {
      add_bond_route(table, destination);
      add_refusal(table, destination);  // the kernel drops the route above when the interface goes down
      add_refusal(guard, destination);
      if (covered_by_main(destination)) {
        // Not what is steered, nor an answer: that has a mark.
        add_rule_to(model::rule_priority::kCovered, destination, table);
        add_rule_to(model::rule_priority::kCoveredGuard, destination, guard);
      }
    }
    add_rule(model::rule_priority::kMain + facts_.slot, netlink::kMainTable).suppress_prefix_length = 0;
    std::set<int> lengths;
    for (const IpPrefix& destination : config_.through_bond) lengths.insert(destination.length);
    for (const int length : lengths) {
      Rule& rule = add_rule(model::rule_priority::bond(length), table);
      if (length > 0) rule.suppress_prefix_length = length - 1;
      // The office's outer addresses may lie in a through_bond network (private ones behind a carrier's NAT).
      if (config_.role == Role::kServer) rule.mask = config_.mark_mask;
    }
    Rule& last = add_rule(model::rule_priority::kGuard, guard);
    if (config_.role == Role::kServer) last.mask = config_.mark_mask;
  }

  void add_rule_to(std::uint32_t priority, const IpPrefix& destination, std::uint32_t table) {
    Rule& rule = add_rule(priority, table);
    rule.to = destination.network();
    rule.mask = config_.mark_mask;
  }

  // By a wider route, or by the very network that a WAN's device has from its gateway: what the file says
  // counts more, and the WAN has a table of its own.
  [[nodiscard]] bool covered_by_main(const IpPrefix& destination) const {
    return std::any_of(facts_.network.routes.begin(), facts_.network.routes.end(), [&](const Route& route) {
      const bool inside = route.table == netlink::kMainTable && !route.destination.is_default() &&
                          route.destination.length <= destination.length &&
                          route.destination.contains(destination.address);
      return inside && (route.destination.length < destination.length || is_a_wans_own(route));
    });
  }

  [[nodiscard]] bool is_a_wans_own(const Route& route) const {
    return !route.gateway && route.protocol != model::kProtocol &&
           is_from_a_gateway(config_, facts_.network, route.device);
  }

  const Config& config_;
  const Facts& facts_;
  Routing out_;
};

}  // namespace

std::string wan_device(const model::Wan& wan, const Snapshot& network) {
  return find_exit(wan, network).device;
}

bool is_from_a_gateway(const Config& config, const Snapshot& network, const std::string& device) {
  const auto lans = lan_devices(config, network);
  return config.role == Role::kClient && std::find(lans.begin(), lans.end(), device) == lans.end() &&
         std::any_of(config.wans.begin(), config.wans.end(),
                     [&](const model::Wan& wan) { return wan.device == device; });
}

std::uint32_t server_mark(const Config& config, unsigned slot) {
  const bool room = slot < model::mark_slots(config.mark_mask);
  return room ? model::tunnel_mark(config.mark_mask, slot, 1) : 0;
}

Routing plan_routing(const Config& config, const Facts& facts) {
  return Builder(config, facts).build();
}

}  // namespace bondd::plan

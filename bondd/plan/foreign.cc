#include "bondd/plan/foreign.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netinet/in.h>

#include <algorithm>
#include <map>

#include "bondd/model/ownership.h"
#include "bondd/plan/exits.h"
#include "bondd/plan/foreign_rules.h"

namespace bondd::plan {
namespace {

using model::Config;
using model::Facts;
using netlink::Route;
using netlink::RouteType;
using netlink::Rule;
using netlink::RuleAction;
using rules::MarkUse;
namespace priority = model::rule_priority;

constexpr std::uint32_t kLocalTable = 255;   // RT_TABLE_LOCAL
constexpr std::uint8_t kKernelProtocol = 2;  // RTPROT_KERNEL: a device's own network

std::string_view type_words(RouteType type) {
  switch (type) {
    case RouteType::kUnicast:
      return "";
    case RouteType::kBlackhole:
      return "blackhole ";
    case RouteType::kUnreachable:
      return "unreachable ";
    case RouteType::kProhibit:
      return "prohibit ";
    case RouteType::kThrow:
      return "throw ";
  }
  return "";
}

std::string route_words(const Route& route) {
  std::string out(type_words(route.type));
  out += route.destination.is_default() ? "default" : to_string(route.destination);
  if (route.gateway) out += " via " + to_string(*route.gateway);
  if (!route.device.empty()) out += " dev " + route.device;
  return out;
}

bool is_bondds(const Rule& rule) {
  return rule.protocol == model::kProtocol && rule.plain();
}

class Search {
 public:
  Search(const Config& config, const Facts& facts) : config_(config), facts_(facts) {}

  std::vector<Note> run() {
    std::copy_if(facts_.network.rules.begin(), facts_.network.rules.end(), std::back_inserter(rules_),
                 [](const Rule& rule) {
                   const bool local = rule.extras.action == RuleAction::kLookup && rule.table == kLocalTable;
                   return rule.family == Family::kIpv4 && !is_bondds(rule) && !local;
                 });
    std::stable_sort(rules_.begin(), rules_.end(),
                     [](const Rule& a, const Rule& b) { return a.priority < b.priority; });
    if (config_.role == model::Role::kClient) {
      for (unsigned n = 1; n <= config_.wans.size(); ++n) look_at_tunnel(n);
    }
    look_at_bond();
    look_at_main_table();
    look_at_priorities();
    look_at_marks();
    look_at_other_sites();
    return std::move(notes_);
  }

 private:
  void say(const std::string& wan, std::string text) { notes_.push_back({wan, std::move(text)}); }

  // --- rules before bondd's ---

  // The longest route to `to` in the table of `rule`, as far as the rule lets it count.
  [[nodiscard]] const Route* route_by(const Rule& rule, const IpAddress& to) const {
    const Route* best = nullptr;
    for (const Route& route : facts_.network.routes) {
      if (!counts_by(rule, route) || !route.destination.contains(to)) continue;
      if (best == nullptr || route.destination.length > best->destination.length) best = &route;
    }
    return best != nullptr && best->type == RouteType::kThrow ? nullptr : best;
  }

  [[nodiscard]] bool counts_by(const Rule& rule, const Route& route) const {
    if (route.table != rule.table || route.destination.length <= rule.suppress_prefix_length.value_or(-1))
      return false;
    return !rule.extras.suppress_group || !in_group(route.device, *rule.extras.suppress_group);
  }

  [[nodiscard]] bool in_group(const std::string& device, std::uint32_t group) const {
    const auto& links = facts_.network.links;
    return std::any_of(links.begin(), links.end(),
                       [&](const netlink::Link& link) { return link.name == device && link.group == group; });
  }

  // A "goto" whose target is not there does nothing.
  [[nodiscard]] bool resolved(const Rule& rule) const {
    const auto& all = facts_.network.rules;
    return std::any_of(all.begin(), all.end(), [&](const Rule& one) {
      return one.family == rule.family && one.priority == rule.extras.target;
    });
  }

  // A rule that decides about packets before bondd's does. `route`: by which it leads them; a rule that
  // refuses them or passes over bondd's rules has none.
  struct Taker {
    const Rule* rule = nullptr;
    const Route* route = nullptr;
    Share share = Share::kNone;
  };

  // Those of others before priority `limit`, in the kernel's order. `route_of`: the route by which a rule
  // leads packets of `flow`, nullptr for none.
  template <typename RouteOf>
  [[nodiscard]] std::vector<Taker> takers(const Flow& flow, std::uint32_t limit, RouteOf route_of) const {
    std::vector<Taker> out;
    std::uint32_t next = 0;
    for (const Rule& rule : rules_) {
      if (rule.priority > limit) break;
      const Share share = rule.priority < next ? Share::kNone : share_of(rule, flow);
      if (share == Share::kNone) continue;
      switch (rule.extras.action) {
        case RuleAction::kLookup:
          if (const Route* route = route_of(rule)) out.push_back({&rule, route, share});
          break;
        case RuleAction::kGoto:
          if (!resolved(rule)) break;
          if (rule.extras.target > limit) out.push_back({&rule, nullptr, share});
          if (share == Share::kAll) next = rule.extras.target;
          break;
        case RuleAction::kNothing:
          break;
        case RuleAction::kBlackhole:
        case RuleAction::kUnreachable:
        case RuleAction::kProhibit:
          out.push_back({&rule, nullptr, share});
          break;
      }
    }
    return out;
  }

  // What a rule does with `packets`, in words; `takes` is for one that looks up a table.
  static std::string does(const Taker& taker, const std::string& packets, const std::string& takes) {
    if (taker.route != nullptr) return fmt::format("{} ({})", takes, route_words(*taker.route));
    const bool jumps = taker.rule->extras.action == RuleAction::kGoto;
    return jumps ? fmt::format("leads {} past them", packets) : fmt::format("refuses {}", packets);
  }

  void look_at_tunnel(unsigned n) {
    const model::Wan& wan = config_.wans[n - 1];
    const auto own = facts_.server_of.find(wan.name);
    if (own == facts_.server_of.end() && facts_.server_addresses.empty()) return;
    const IpAddress server = own != facts_.server_of.end() ? own->second : facts_.server_addresses.front();
    if (!server.is_v4()) return;
    const Exit exit = find_exit(wan, facts_.network);
    Flow flow;
    flow.iif = "lo";
    flow.mark = model::tunnel_mark(config_.mark_mask, facts_.slot, n);
    flow.protocol = IPPROTO_UDP;
    flow.from = {exit.source.value_or(IpAddress{}), IpAddress{}.bits()};
    flow.to = {{server, server.bits()}};
    flow.destination_port = wan.port;
    if (facts_.unprivileged_uid) flow.uids.push_back(*facts_.unprivileged_uid);
    for (const Marked& marked : marks_of_tunnel(flow, exit.device)) {
      flow.mark = marked.mark;
      if (name_taker_of_tunnel(n, flow, exit, marked.by)) return;
    }
  }

  // Names the first rule that decides otherwise than bondd would; false when none does.
  bool name_taker_of_tunnel(unsigned n, const Flow& flow, const Exit& exit, const MarkUse* by) {
    const IpAddress server = flow.to.front().address;
    const auto right = [&](const Route* route) {
      return route != nullptr && route->type == RouteType::kUnicast && route->gateway == exit.gateway &&
             route->device == exit.device;
    };
    const auto route_of = [&](const Rule& rule) { return route_by(rule, server); };
    for (const Taker& taker : takers(flow, priority::kTunnel + n, route_of)) {
      Rule main;
      main.table = netlink::kMainTable;
      const bool jumps = taker.rule->extras.action == RuleAction::kGoto;
      if (right(jumps ? route_by(main, server) : taker.route)) {
        if (taker.share == Share::kAll) return false;
        continue;
      }
      const std::string marks = by == nullptr ? "" : fmt::format(", since `{}` marks it", by->rule);
      const std::string& wan = config_.wans[n - 1].name;
      say(wan, fmt::format("{} goes before bondd's rules and {}{}; give it a priority above {}",
                           words(*taker.rule),
                           does(taker, fmt::format("the tunnel's packets of {}", wan),
                                fmt::format("leads the tunnel of {} elsewhere", wan)),
                           marks, priority::kLast));
      notes_.back().stops = taker.share == Share::kAll;
      return true;
    }
    return false;
  }

  // --- what shall go into the bond ---

  // Without a mark, or with one that another program gives it.
  void look_at_bond() {
    const std::uint32_t last = last_priority();
    if (rules_.empty() || rules_.front().priority > last) return;
    std::map<const Rule*, std::string> found;
    const auto route_of = [this](const Rule& rule) { return taken_by(rule); };
    for (Flow& flow : flows_of_bond()) {
      for (const Marked& marked : marks_of_bond(flow)) {
        flow.mark = marked.mark;
        for (const Taker& taker : takers(flow, last, route_of)) {
          if (!is_for_own_address(*taker.rule)) found.try_emplace(taker.rule, what_of_bond(taker, marked.by));
        }
      }
    }
    for (const Rule& rule : rules_) {
      const auto what = found.find(&rule);
      if (what == found.end()) continue;
      say("", fmt::format("{} goes before bondd's rules and {}; unless that is meant, give it a priority "
                          "above {}",
                          words(rule), what->second, priority::kLast));
    }
  }

  // Behind it nothing is looked at any more that shall go into the bond.
  [[nodiscard]] std::uint32_t last_priority() const {
    std::uint32_t last = 0;
    for (const IpPrefix& network : config_.through_bond)
      last = std::max(last, priority::bond(network.length));
    return last;
  }

  static std::string what_of_bond(const Taker& taker, const MarkUse* by) {
    if (by == nullptr) return does(taker, "what shall go into the bond", "takes what shall go into the bond");
    const std::string marked = fmt::format("what `{}` marks", by->rule);
    return does(taker, marked, "takes past the bond " + marked);
  }

  // What may be on its way into the bond: this machine's own packets and the LAN's, not what comes out of it
  // nor what comes in from a WAN's side.
  [[nodiscard]] std::vector<Flow> flows_of_bond() const {
    Flow flow;
    std::copy_if(config_.through_bond.begin(), config_.through_bond.end(), std::back_inserter(flow.to),
                 [](const IpPrefix& network) { return network.address.is_v4(); });
    if (flow.to.empty()) return {};
    std::vector<Flow> flows;
    const auto add = [&](const std::string& iif, const IpPrefix& from) {
      flow.iif = iif;
      flow.from = from;
      for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
        flow.protocol = protocol;
        flows.push_back(flow);
      }
    };
    const IpAddress own = config_.bond.address.address;
    add("lo", {own, own.bits()});
    for (const netlink::Link& link : facts_.network.links) {
      const bool own_device = link.name == config_.bond.interface || link.alias.starts_with("bondd:");
      if (link.name == "lo" || own_device) continue;
      const bool client = config_.role == model::Role::kClient;
      if (client && !has_lan(link.name)) continue;
      const auto inside =
          client ? inside_networks(config_, facts_.network, link.name) : std::vector<IpPrefix>{};
      for (const IpPrefix& network : inside) add(link.name, network);
      if (inside.empty()) add(link.name, IpPrefix{});
    }
    return flows;
  }

  // What this machine sends from its address on a WAN, or on the LAN.
  [[nodiscard]] bool is_for_own_address(const Rule& rule) const {
    if (!rule.from || rule.extras.inverted || rule.from->length != rule.from->address.bits()) return false;
    const auto& addresses = facts_.network.addresses;
    return std::any_of(addresses.begin(), addresses.end(), [&](const netlink::Address& one) {
      return one.prefix.address == rule.from->address && one.device != config_.bond.interface;
    });
  }

  // The LAN is on every device that is no WAN's; where there is none, on the WANs'.
  [[nodiscard]] bool has_lan(const std::string& device) const {
    const auto is_wan = [&](const std::string& one) { return is_wan_device(config_, facts_.network, one); };
    const auto is_lan = [&](const netlink::Address& one) {
      return one.prefix.address.is_v4() && one.device != "lo" && one.device != config_.bond.interface &&
             !is_wan(one.device);
    };
    return !is_wan(device) ||
           std::none_of(facts_.network.addresses.begin(), facts_.network.addresses.end(), is_lan);
  }

  // --- marks that others give ---

  struct Marked {
    std::uint32_t mark = 0;
    const MarkUse* by = nullptr;  // nobody: as bondd made the packet, or as it came
  };

  // Whether a rule of others about marks may see packets of `flow`, whose way out is `oif` until somebody
  // leads them elsewhere.
  [[nodiscard]] bool sees(const MarkUse& use, const Flow& flow, const std::string& oif) const {
    const bool own = flow.iif == "lo";
    if (use.hook == (own ? MarkUse::Hook::kPrerouting : MarkUse::Hook::kOutput)) return false;
    return is_device(use.iif, use.iif_index, own ? "" : flow.iif) && is_device(use.oif, use.oif_index, oif) &&
           (use.protocol == 0 || use.protocol == flow.protocol);
  }

  // `name` may be one of iptables: "eth+".
  [[nodiscard]] bool is_device(const std::string& name, int index, const std::string& device) const {
    if (name.ends_with('+')) return device.starts_with(name.substr(0, name.size() - 1));
    if (!name.empty()) return name == device;
    const auto known = facts_.network.facts.find(device);
    return index == 0 || (known != facts_.network.facts.end() && known->second.index == index);
  }

  // The marks that a packet may have when the kernel looks for its route. A bit that nobody writes is 0.
  [[nodiscard]] std::vector<Marked> marks_of_bond(const Flow& flow) const {
    std::vector<Marked> out{{}};
    for (const MarkUse& use : facts_.mark_uses) {
      if (use.hook == MarkUse::Hook::kAfterRouting || !sees(use, flow, config_.bond.interface)) continue;
      if (use.any_value) {
        for (const Rule& rule : rules_) out.push_back({rule.mark, &use});
      } else if (use.writes != 0) {
        out.push_back({use.value, &use});
      }
      if (use.restores == 0) continue;
      for (const MarkUse& before : facts_.mark_uses) {
        if (before.connection_writes != 0 && sees(before, flow, config_.bond.interface))
          out.push_back({before.connection_value & use.restores, &before});
      }
    }
    return out;
  }

  // Only rules that surely see the tunnel's packets: those for all of UDP, or for all that leaves.
  [[nodiscard]] std::vector<Marked> marks_of_tunnel(const Flow& flow, const std::string& device) const {
    std::vector<Marked> out{{flow.mark, nullptr}};
    for (const MarkUse& use : facts_.mark_uses) {
      const bool sure = use.hook == MarkUse::Hook::kOutput && use.writes != 0 && !use.any_value &&
                        !use.narrow && sees(use, flow, device);
      if (sure) out.push_back({(flow.mark & ~use.writes) | use.value, &use});
    }
    return out;
  }

  // The route by which `rule` leads a whole through_bond network elsewhere, or so much of it that it must be
  // meant: routes to smaller networks are the admin's, as they are in the main table.
  [[nodiscard]] const Route* taken_by(const Rule& rule) const {
    const auto takes = [&](const Route& route) {
      const IpPrefix& to = route.destination;
      const bool other = counts_by(rule, route) && route.type != RouteType::kThrow && to.address.is_v4() &&
                         route.device != config_.bond.interface;
      const bool only = rule.to && !rule.extras.inverted;
      const int length = std::max(to.length, only ? rule.to->length : 0);
      return other && std::any_of(config_.through_bond.begin(), config_.through_bond.end(),
                                  [&](const IpPrefix& network) {
                                    return network.address.is_v4() &&
                                           length <= std::max(network.length, kInternet) &&
                                           overlap(to, network) && (!only || overlap(*rule.to, network));
                                  });
    };
    const auto found = std::find_if(facts_.network.routes.begin(), facts_.network.routes.end(), takes);
    return found == facts_.network.routes.end() ? nullptr : &*found;
  }

  // --- the main table ---

  // It comes before the bond's, its default route excepted. A route that is wider than the through_bond
  // network is no obstacle: see rule_priority::kCovered.
  void look_at_main_table() {
    std::vector<std::string> found;
    for (const Route& route : facts_.network.routes) {
      const IpPrefix& to = route.destination;
      const bool candidate = route.table == netlink::kMainTable && route.protocol != model::kProtocol &&
                             route.protocol != kKernelProtocol && !to.is_default() && to.address.is_v4() &&
                             route.device != config_.bond.interface;
      const bool taken =
          candidate &&
          std::any_of(config_.through_bond.begin(), config_.through_bond.end(), [&](const IpPrefix& network) {
            return network.contains(to) && (to.length <= kInternet || to.length == network.length);
          });
      if (taken) found.push_back(route_words(route));
    }
    if (found.empty()) return;
    const bool one = found.size() == 1;
    say("", fmt::format("{} in the main table {} before the bond; delete {}, or have the program that made "
                        "{} (mostly a VPN) not take the Internet's traffic",
                        fmt::join(found, " and "), one ? "goes" : "go", one ? "it" : "them",
                        one ? "it" : "them"));
  }

  // --- the same priorities, the same bits ---

  void look_at_priorities() {
    std::vector<std::string> found;
    for (const Rule& rule : rules_) {
      if (rule.priority >= priority::kFirst && rule.priority <= priority::kLast) found.push_back(words(rule));
    }
    if (found.empty()) return;
    say("", fmt::format("{} of another program {} among bondd's ({} to {}), so that either may take the "
                        "other's packets; give it other priorities if it can have them",
                        fmt::join(found, ", "), found.size() == 1 ? "stands" : "stand", priority::kFirst,
                        priority::kLast));
  }

  void look_at_marks() {
    constexpr std::uint32_t kAllBits = 0xffffffff;
    std::vector<std::string> some, all;
    for (const Rule& rule : rules_) {
      if ((rule.mark & config_.mark_mask) != 0) some.push_back(words(rule));
    }
    for (const MarkUse& use : facts_.mark_uses) {
      if ((use.bits & config_.mark_mask) == 0) continue;
      (use.bits == kAllBits ? all : some).push_back(fmt::format("`{}`", use.rule));
    }
    if (!some.empty()) {
      say("",
          fmt::format("{} of another program use{} bits of bondd's marks ({:#x}); write free ones as mask "
                      "in [marks]",
                      first_of(some), some.size() == 1 ? "s" : "", config_.mark_mask));
    }
    if (!all.empty()) {
      say("", fmt::format("{} of another program write{} all bits of a mark, also bondd's ({:#x}); give its "
                          "mark a mask, for example 0x1/0xff",
                          first_of(all), all.size() == 1 ? "s" : "", config_.mark_mask));
    }
  }

  static std::string first_of(const std::vector<std::string>& list) {
    return list.size() == 1 ? list.front() : fmt::format("{} and {} more", list.front(), list.size() - 1);
  }

  // Sites of bondd do not collide, but for what their files say.
  void look_at_other_sites() {
    look_at_other_masks();
    for (const Route& route : facts_.network.routes) {
      const bool other = route.protocol == model::kProtocol && route.device != config_.bond.interface &&
                         route.type == RouteType::kUnicast && is_bond_table(route.table);
      const auto& own = config_.through_bond;
      if (!other || std::none_of(own.begin(), own.end(), [&](const IpPrefix& network) {
            return network.network() == route.destination;
          })) {
        continue;
      }
      say("",
          fmt::format("{} is in through_bond of another site, too ({}), and goes into the bond that came up "
                      "first; write it into one of the files only",
                      to_string(route.destination), route.device));
    }
  }

  [[nodiscard]] bool is_bond_table(std::uint32_t table) const {
    for (unsigned slot = 0; slot < model::kSlots; ++slot) {
      if (slot != facts_.slot && table == model::bond_table(slot)) return true;
    }
    return false;
  }

  // With one mask they have different marks, by their slots.
  void look_at_other_masks() {
    for (const Rule& rule : facts_.network.rules) {
      const bool own =
          rule.table >= model::bond_table(facts_.slot) && rule.table < model::bond_table(facts_.slot + 1);
      if (!is_bondds(rule) || own || rule.mask == config_.mark_mask || (rule.mask & config_.mark_mask) == 0) {
        continue;
      }
      return say("", fmt::format("another site of bondd has mask = {:#x} in [marks], which shares bits with "
                                 "{:#x} of this one; write the same mask into both files",
                                 rule.mask, config_.mark_mask));
    }
  }

  const Config& config_;
  const Facts& facts_;
  std::vector<Rule> rules_;  // others'
  std::vector<Note> notes_;
};

}  // namespace

std::vector<Note> foreign_notes(const Config& config, const Facts& facts) {
  return Search(config, facts).run();
}

std::string link_taken(const model::Config& config, const netlink::Link& there) {
  constexpr std::string_view kAlias = "bondd:";
  const bool is_bond = there.name == config.bond.interface;
  const std::string_view rename = is_bond ? "write another interface in [bond], or " : "";
  if (there.alias.starts_with(kAlias)) {
    const std::string site = there.alias.substr(kAlias.size());
    return fmt::format(
        "the interface {} is that of the site {}; {}take that site down first (`bondd down {}`)", there.name,
        site, rename, site);
  }
  if (there.kind == netlink::LinkKind::kOther) {
    return fmt::format("the interface {} is there already and is not bondd's; {}", there.name,
                       is_bond ? "write another interface in [bond], for example \"bond1\"" : "rename it");
  }
  return fmt::format(
      "the interface {0} is there already and is not bondd's; {1}remove it if nothing uses it (`ip "
      "link del {0}`)",
      there.name, rename);
}

}  // namespace bondd::plan

#include "bondd/plan/foreign.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "bondd/model/ownership.h"
#include "bondd/plan/exits.h"

namespace bondd::plan {
namespace {

using model::Config;
using model::Facts;
using netlink::Route;
using netlink::RouteType;
using netlink::Rule;
namespace priority = model::rule_priority;

constexpr std::uint32_t kLocalTable = 255;   // RT_TABLE_LOCAL
constexpr std::uint8_t kKernelProtocol = 2;  // RTPROT_KERNEL: a device's own network
// A route that is wider than any network that somebody owns is the Internet, or a half of it.
constexpr int kInternet = 7;

std::string words(const Rule& rule) {
  std::string out = fmt::format("rule {} (", rule.priority);
  if (rule.from) out += fmt::format("from {} ", to_string(*rule.from));
  if (rule.to) out += fmt::format("to {} ", to_string(*rule.to));
  if (rule.mask != 0) out += fmt::format("fwmark {:#x}/{:#x} ", rule.mark, rule.mask);
  if (!rule.iif.empty()) out += fmt::format("iif {} ", rule.iif);
  if (!rule.oif.empty()) out += fmt::format("oif {} ", rule.oif);
  return out + (rule.table == netlink::kMainTable ? "lookup main)" : fmt::format("lookup {})", rule.table));
}

std::string_view type_words(RouteType type) {
  switch (type) {
    case RouteType::kUnicast:
      return "";
    case RouteType::kBlackhole:
      return "blackhole ";
    case RouteType::kUnreachable:
      return "unreachable ";
    case RouteType::kThrow:
      return "throw ";
  }
  return "";
}

std::string words(const Route& route) {
  std::string out(type_words(route.type));
  out += route.destination.is_default() ? "default" : to_string(route.destination);
  if (route.gateway) out += " via " + to_string(*route.gateway);
  if (!route.device.empty()) out += " dev " + route.device;
  return out;
}

bool counts_by(const Rule& rule, const Route& route) {
  return route.table == rule.table && route.destination.length > rule.suppress_prefix_length.value_or(-1);
}

class Search {
 public:
  Search(const Config& config, const Facts& facts) : config_(config), facts_(facts) {}

  std::vector<Note> run() {
    std::copy_if(facts_.network.rules.begin(), facts_.network.rules.end(), std::back_inserter(rules_),
                 [](const Rule& rule) {
                   return rule.family == Family::kIpv4 && rule.protocol != model::kProtocol &&
                          rule.table != kLocalTable;
                 });
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

  void look_at_tunnel(unsigned n) {
    const model::Wan& wan = config_.wans[n - 1];
    const auto own = facts_.server_of.find(wan.name);
    if (own == facts_.server_of.end() && facts_.server_addresses.empty()) return;
    const IpAddress server = own != facts_.server_of.end() ? own->second : facts_.server_addresses.front();
    if (!server.is_v4()) return;
    const Exit exit = find_exit(wan, facts_.network);
    const std::uint32_t mark = model::tunnel_mark(config_.mark_mask, facts_.slot, n);
    for (const Rule& rule : rules_) {
      const bool fits = rule.priority <= priority::kTunnel + n && (mark & rule.mask) == rule.mark &&
                        (rule.iif.empty() || rule.iif == "lo") && rule.oif.empty() &&
                        (!rule.to || rule.to->contains(server)) &&
                        (!rule.from || (exit.source && rule.from->contains(*exit.source)));
      const Route* route = fits ? route_by(rule, server) : nullptr;
      const bool same = route != nullptr && route->type == RouteType::kUnicast &&
                        route->gateway == exit.gateway && route->device == exit.device;
      if (route == nullptr || same) continue;
      return say(wan.name,
                 fmt::format("{} goes before bondd's rules and leads this tunnel elsewhere ({}); give it a "
                             "priority above {}",
                             words(rule), words(*route), priority::kLast));
    }
  }

  // What shall go into the bond: without a mark, or with one that another program gives it.
  void look_at_bond() {
    for (const Rule& rule : rules_) {
      if (rule.priority > priority::kBond || !rule.oif.empty() || !sees_the_bonds(rule)) continue;
      const rules::MarkUse* marker = rule.mark == 0 ? nullptr : marker_for(rule);
      if (rule.mark != 0 && marker == nullptr) continue;
      const Route* taken = taken_by(rule);
      if (taken == nullptr) continue;
      const std::string what = marker == nullptr
                                   ? "takes what shall go into the bond"
                                   : fmt::format("takes past the bond what `{}` marks", marker->rule);
      say("", fmt::format("{} goes before bondd's rules and {} ({}); unless that is meant, give it a "
                          "priority above {}",
                          words(rule), what, words(*taken), priority::kLast));
    }
  }

  // Whether the rule is for packets that may be on their way into the bond: not for what comes out of it, nor
  // from a WAN's side, nor what this machine sends from its address on a WAN.
  [[nodiscard]] bool sees_the_bonds(const Rule& rule) const {
    if (rule.iif == config_.bond.interface) return false;
    if (!rule.iif.empty() && rule.iif != "lo" && config_.role == model::Role::kClient && !has_lan(rule.iif))
      return false;
    const bool own =
        rule.from && rule.from->length == rule.from->address.bits() &&
        std::any_of(facts_.network.addresses.begin(), facts_.network.addresses.end(),
                    [&](const netlink::Address& one) {
                      return one.prefix.address == rule.from->address && one.device != config_.bond.interface;
                    });
    return !own;
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

  // A rule of iptables that gives packets the mark that `rule` looks for.
  [[nodiscard]] const rules::MarkUse* marker_for(const Rule& rule) const {
    const auto found = std::find_if(facts_.mark_uses.begin(), facts_.mark_uses.end(), [&](const auto& use) {
      return (rule.mask & ~use.writes) == 0 && (use.value & rule.mask) == rule.mark;
    });
    return found == facts_.mark_uses.end() ? nullptr : &*found;
  }

  // The route by which `rule` leads a whole through_bond network elsewhere, or so much of it that it must be
  // meant: routes to smaller networks are the admin's, as they are in the main table.
  [[nodiscard]] const Route* taken_by(const Rule& rule) const {
    const auto takes = [&](const Route& route) {
      const IpPrefix& to = route.destination;
      const bool other = counts_by(rule, route) && route.type != RouteType::kThrow && to.address.is_v4() &&
                         route.device != config_.bond.interface;
      const int length = std::max(to.length, rule.to ? rule.to->length : 0);
      return other && std::any_of(config_.through_bond.begin(), config_.through_bond.end(),
                                  [&](const IpPrefix& network) {
                                    return network.address.is_v4() &&
                                           length <= std::max(network.length, kInternet) &&
                                           overlap(to, network) && (!rule.to || overlap(*rule.to, network));
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
      if (taken) found.push_back(words(route));
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
    for (const rules::MarkUse& use : facts_.mark_uses) {
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

  // Sites of bondd with one mask have different marks, by their slots.
  void look_at_other_sites() {
    for (const Rule& rule : facts_.network.rules) {
      const bool own =
          rule.table >= model::bond_table(facts_.slot) && rule.table < model::bond_table(facts_.slot + 1);
      if (rule.protocol != model::kProtocol || own || rule.mask == config_.mark_mask ||
          (rule.mask & config_.mark_mask) == 0) {
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

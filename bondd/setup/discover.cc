#include "bondd/setup/discover.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "bondd/model/ownership.h"
#include "bondd/plan/lans.h"

namespace bondd::setup {
namespace {

using netlink::Snapshot;

// Devices that lead to no line and to no LAN of the office: containers, virtual machines, tunnels, ours.
bool is_inner(const Snapshot& machine, const std::string& device) {
  if (plan::is_inner_device(device)) return true;
  return std::any_of(machine.links.begin(), machine.links.end(), [&](const netlink::Link& link) {
    return link.name == device && (link.alias.starts_with("bondd:") || link.kind == netlink::LinkKind::kTap ||
                                   link.kind == netlink::LinkKind::kTun || !link.up);
  });
}

}  // namespace

bool is_private(const IpAddress& address) {
  static const std::array<IpPrefix, 3> kPrivate{*parse_prefix("10.0.0.0/8"), *parse_prefix("172.16.0.0/12"),
                                                *parse_prefix("192.168.0.0/16")};
  return std::any_of(kPrivate.begin(), kPrivate.end(),
                     [&](const IpPrefix& p) { return p.contains(address); });
}

namespace {

// The n-th address of a network of at least four.
IpAddress host_of(const IpPrefix& bond, std::uint8_t n) {
  const IpPrefix network = bond.network();
  std::array<std::uint8_t, 4> bytes{};
  std::copy_n(network.address.data(), bytes.size(), bytes.begin());
  bytes[3] = static_cast<std::uint8_t>(bytes[3] + n);
  return IpAddress::v4(bytes);
}

template <typename Wanted>
std::vector<IpPrefix> private_networks(const Snapshot& machine, Wanted wanted) {
  std::vector<const netlink::Address*> addresses;
  for (const netlink::Address& address : machine.addresses) addresses.push_back(&address);
  std::stable_sort(addresses.begin(), addresses.end(),
                   [](const auto* a, const auto* b) { return a->device < b->device; });
  std::vector<IpPrefix> out;
  for (const netlink::Address* address : addresses) {
    const IpPrefix network = address->prefix.network();
    const bool counts = address->prefix.address.is_v4() && network.length < 31 && !address->peer &&
                        is_private(address->prefix.address) && !is_inner(machine, address->device) &&
                        wanted(address->device);
    if (counts && std::find(out.begin(), out.end(), network) == out.end()) out.push_back(network);
  }
  return out;
}

}  // namespace

IpAddress server_address(const IpPrefix& bond) {
  return host_of(bond, 1);
}

IpAddress office_address(const IpPrefix& bond) {
  return host_of(bond, 2);
}

std::vector<Exit> find_exits(const Snapshot& machine) {
  std::vector<netlink::Route> defaults;
  std::copy_if(machine.routes.begin(), machine.routes.end(), std::back_inserter(defaults),
               [&](const netlink::Route& route) {
                 return route.table == netlink::kMainTable && route.destination.address.is_v4() &&
                        route.destination.is_default() && route.type == netlink::RouteType::kUnicast &&
                        !is_inner(machine, route.device);
               });
  std::stable_sort(defaults.begin(), defaults.end(),
                   [](const auto& a, const auto& b) { return a.metric < b.metric; });
  std::vector<Exit> out;
  for (const netlink::Route& route : defaults) {
    const Exit exit{route.device, route.gateway};
    if (std::find(out.begin(), out.end(), exit) == out.end()) out.push_back(exit);
  }
  return out;
}

std::vector<IpPrefix> find_lans(const Snapshot& machine, const std::vector<Exit>& exits) {
  // Also what is not used: with a default route of its own it is a modem's network.
  const auto found = find_exits(machine);
  const auto is_exit = [&](const std::string& device) {
    const auto here = [&](const Exit& exit) { return exit.device == device; };
    return std::any_of(exits.begin(), exits.end(), here) || std::any_of(found.begin(), found.end(), here);
  };
  auto lans = private_networks(machine, [&](const std::string& device) { return !is_exit(device); });
  return lans.empty() ? private_networks(machine, is_exit) : lans;
}

IpPrefix device_network(const Snapshot& machine, const std::string& device) {
  const auto found = std::find_if(
      machine.addresses.begin(), machine.addresses.end(),
      [&](const auto& address) { return address.device == device && address.prefix.address.is_v4(); });
  return found == machine.addresses.end() ? IpPrefix{} : found->prefix;
}

std::string overlap(const Snapshot& machine, const IpPrefix& wanted) {
  for (const netlink::Address& address : machine.addresses) {
    if (address.device != "lo" && bondd::overlap(address.prefix.network(), wanted)) {
      return fmt::format("{} on {}", to_string(address.prefix.network()), address.device);
    }
  }
  for (const netlink::Route& route : machine.routes) {
    if (route.table == netlink::kMainTable && !route.destination.is_default() && route.device != "lo" &&
        bondd::overlap(route.destination, wanted)) {
      return fmt::format("{} on {}", to_string(route.destination), route.device);
    }
  }
  return {};
}

std::optional<IpPrefix> propose_bond(const Snapshot& machine, const std::vector<IpPrefix>& lans) {
  for (std::uint32_t third = 16; third < 256; ++third) {
    const IpPrefix proposal{IpAddress::v4(0xac100000U | third << 8U), 30};  // 172.16.THIRD.0/30
    const bool taken = std::any_of(lans.begin(), lans.end(),
                                   [&](const IpPrefix& lan) { return bondd::overlap(lan, proposal); });
    if (!taken && overlap(machine, proposal).empty()) return proposal;
  }
  return std::nullopt;
}

std::string propose_interface(const Snapshot& machine) {
  for (unsigned i = 0;; ++i) {
    const std::string name = fmt::format("bond{}", i);
    const bool taken = std::any_of(machine.links.begin(), machine.links.end(),
                                   [&](const netlink::Link& link) { return link.name == name; });
    if (!taken) return name;
  }
}

Snapshot without_site(Snapshot machine, std::string_view site) {
  std::set<std::string> own;
  for (const netlink::Link& link : machine.links) {
    if (link.alias == model::link_alias(site)) own.insert(link.name);
  }
  std::erase_if(machine.links, [&](const netlink::Link& link) { return own.contains(link.name); });
  std::erase_if(machine.addresses, [&](const netlink::Address& one) { return own.contains(one.device); });
  std::erase_if(machine.routes, [&](const netlink::Route& route) { return own.contains(route.device); });
  return machine;
}

std::string wrong_end(const Snapshot& machine, const Agreement& agreement, model::Role role) {
  if (role == model::Role::kServer) {
    for (const IpPrefix& lan : agreement.lans) {
      const std::string taken = overlap(machine, lan);
      if (taken.empty()) continue;
      return fmt::format(
          "this token is for the VPS, and this machine has the office's network {} ({}); paste it on "
          "the VPS. If this is the VPS, one of both needs other addresses; `bondd init --lan` names "
          "the office's",
          to_string(lan), taken);
    }
    return {};
  }
  const auto server = parse_ip(agreement.server);
  const auto own = std::find_if(machine.addresses.begin(), machine.addresses.end(), [&](const auto& address) {
    return server && address.prefix.address == *server;
  });
  if (own == machine.addresses.end()) return {};
  return fmt::format(
      "this token is for the office, and this machine is the VPS ({} is on {}); paste it in the office",
      to_string(*server), own->device);
}

namespace {

// A line that was given without its gateway, on a device without a default route, has the first that leads
// on.
void fill_in_gateway(std::vector<FoundExit>& exits, const std::string& device,
                     const std::vector<Gateway>& heard) {
  const auto is_taken = [&](const IpAddress& gateway) {
    return std::any_of(exits.begin(), exits.end(), [&](const FoundExit& one) {
      return one.exit == Exit{device, gateway};
    });
  };
  for (FoundExit& found : exits) {
    if (found.exit.device != device || found.exit.gateway) continue;
    const auto first = std::find_if(heard.begin(), heard.end(), [&](const Gateway& one) {
      return one.leads_on && !is_taken(one.address);
    });
    if (first == heard.end()) return;
    found.exit.gateway = first->address;
    found.is_given = true;  // nobody learns it from a route that is not there
  }
}

}  // namespace

void add_gateways(std::vector<FoundExit>& exits, const std::string& device,
                  const std::vector<Gateway>& heard) {
  using State = FoundExit::State;
  fill_in_gateway(exits, device, heard);
  std::size_t behind = exits.size();
  for (std::size_t i = 0; i < exits.size(); ++i) {
    if (exits[i].exit.device != device) continue;
    behind = i + 1;
    if (!exits[i].exit.gateway) continue;
    const auto answer = std::find_if(heard.begin(), heard.end(),
                                     [&](const Gateway& g) { return g.address == *exits[i].exit.gateway; });
    exits[i].state = answer == heard.end() ? State::kSilent
                     : answer->leads_on    ? State::kLeadsOn
                                           : State::kStopsHere;
  }
  for (const Gateway& gateway : heard) {
    const bool known = std::any_of(exits.begin(), exits.end(), [&](const FoundExit& e) {
      return e.exit.device == device && e.exit.gateway == gateway.address;
    });
    if (known || !gateway.leads_on) continue;
    exits.insert(exits.begin() + static_cast<std::ptrdiff_t>(behind++),
                 FoundExit{{device, gateway.address}, State::kLeadsOn, false});
  }
}

std::vector<Exit> to_write(const std::vector<FoundExit>& exits) {
  std::vector<Exit> out;
  for (const FoundExit& found : exits) {
    const auto on_device = std::count_if(exits.begin(), exits.end(), [&](const FoundExit& other) {
      return other.exit.device == found.exit.device;
    });
    const bool learned = on_device == 1 && !found.is_given;
    out.push_back(learned ? Exit{found.exit.device, std::nullopt} : found.exit);
  }
  return out;
}

Result<Exit> parse_exit(std::string_view text) {
  constexpr std::size_t kLongestDevice = 15;
  const std::size_t equals = text.find('=');
  Exit exit{std::string(text.substr(0, equals)), std::nullopt};
  const bool good_device = !exit.device.empty() && exit.device.size() <= kLongestDevice &&
                           exit.device.find_first_of("/ \"\\") == std::string::npos;
  if (!good_device)
    return failure(fmt::format("\"{}\" is not DEVICE or DEVICE=GATEWAY, such as eth0=192.168.1.254", text));
  if (equals == std::string_view::npos) return exit;
  const auto gateway = parse_ip(text.substr(equals + 1));
  if (!gateway || !gateway->is_v4()) {
    return failure(fmt::format("\"{}\" is not an IPv4 address; write {}=192.168.1.254",
                               text.substr(equals + 1), exit.device));
  }
  exit.gateway = *gateway;
  return exit;
}

}  // namespace bondd::setup

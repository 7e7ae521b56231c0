#include "bondd/plan/exits.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "bondd/model/ownership.h"

namespace bondd::plan {
namespace {

using netlink::Address;
using netlink::Link;
using netlink::Route;
using netlink::Snapshot;

constexpr std::uint32_t kDefaultTable = 253;  // RT_TABLE_DEFAULT, looked up after main
constexpr std::uint8_t kScopeLink = 253;      // RT_SCOPE_LINK
constexpr int kWidestInside = 8;              // wider is the Internet, cut in halves by some VPN's 0.0.0.0/1

// A bond, tun or tap of any site of ours: what leaves there comes back to us.
bool is_ours(const Snapshot& network, std::string_view device) {
  const Link* const link = find_link(network, device);
  return link != nullptr && link->alias.starts_with(model::link_alias(""));
}

bool is_point_to_point(const Snapshot& network, const std::string& device) {
  const auto facts = network.facts.find(device);
  return facts != network.facts.end() && facts->second.point_to_point;
}

std::vector<const Address*> ipv4_addresses(const Snapshot& network, std::string_view device) {
  std::vector<const Address*> out;
  for (const Address& address : network.addresses) {
    if (address.device == device && address.prefix.address.is_v4()) out.push_back(&address);
  }
  return out;
}

std::string list(const std::vector<const Address*>& addresses) {
  std::string out;
  for (const Address* address : addresses) out += (out.empty() ? "" : ", ") + to_string(address->prefix);
  return out;
}

// --- default routes ---

// Of the Internet, with others like it.
bool is_part(const Route& route) {
  return route.destination.length > 0 && route.destination.length < kWidestInside &&
         route.destination.address.is_v4();
}

bool same_way(const Route& a, const Route& b) {
  return a.device == b.device && a.gateway == b.gateway && a.table == b.table;
}

// Routes by one gateway to all parts, 0.0.0.0/1 and 128.0.0.0/1 or four /2, are a default route that has
// precedence over 0.0.0.0/0.
bool has_other_parts(const Snapshot& network, const Route& part) {
  std::set<IpPrefix> parts;
  for (const Route& route : network.routes) {
    if (is_part(route) && same_way(part, route)) parts.insert(route.destination.network());
  }
  std::uint64_t addresses = 0;
  for (const IpPrefix& one : parts) {
    const bool inside = std::any_of(parts.begin(), parts.end(), [&](const IpPrefix& wide) {
      return wide.length < one.length && wide.contains(one.address);
    });
    if (!inside) addresses += std::uint64_t{1} << (one.address.bits() - one.length);
  }
  return addresses == std::uint64_t{1} << 32;
}

// Less is better; see find_exit().
std::tuple<bool, int, std::uint32_t> rank(const Route& route) {
  const int table = route.table == netlink::kMainTable ? 0 : route.table == kDefaultTable ? 1 : 2;
  return {!route.destination.is_default(), table, route.metric};
}

// The best default route through `device` (any device if empty) that is not ours.
const Route* default_route(const Snapshot& network, std::string_view device) {
  const Route* best = nullptr;
  for (const Route& route : network.routes) {
    const IpPrefix& to = route.destination;
    const bool everything =
        (to.is_default() && to.address.is_v4()) || (is_part(route) && has_other_parts(network, route));
    const bool candidate = everything && route.protocol != model::kProtocol &&
                           route.type == netlink::RouteType::kUnicast && !route.device.empty() &&
                           (device.empty() ? !is_ours(network, route.device) : route.device == device);
    if (candidate && (best == nullptr || rank(route) < rank(*best))) best = &route;
  }
  return best;
}

// --- where a gateway is ---

bool holds(const Address& address, const IpAddress& other) {
  return address.prefix.contains(other) || address.peer == other;
}

// The address whose network holds `other`, on `device` or anywhere if that is empty.
const Address* address_towards(const Snapshot& network, const IpAddress& other, std::string_view device) {
  const Address* best = nullptr;
  for (const Address& address : network.addresses) {
    if (device.empty() ? is_ours(network, address.device) : address.device != device) continue;
    if (!holds(address, other)) continue;
    if (best == nullptr || address.prefix.length > best->prefix.length) best = &address;
  }
  return best;
}

// A route of others that shows that `gateway` is a neighbour on that device: one by it, or one without
// a gateway to a network that holds it ("172.31.1.1 dev eth0 scope link" in clouds).
const Route* route_towards(const Snapshot& network, const IpAddress& gateway, std::string_view device) {
  const auto found = std::find_if(network.routes.begin(), network.routes.end(), [&](const Route& route) {
    if (route.protocol == model::kProtocol || route.type != netlink::RouteType::kUnicast) return false;
    if (device.empty() ? is_ours(network, route.device) : route.device != device) return false;
    const bool connected = !route.gateway && route.scope == kScopeLink && !route.destination.is_default() &&
                           route.destination.contains(gateway);
    return connected || route.gateway == gateway;
  });
  return found == network.routes.end() ? nullptr : &*found;
}

// An address without a network, as clouds and some DHCP servers give them: its gateway may be anywhere.
const Address* single_address(const Snapshot& network, const std::string& device) {
  const auto addresses = ipv4_addresses(network, device);
  const auto found = std::find_if(addresses.begin(), addresses.end(), [](const Address* address) {
    return address->prefix.length == address->prefix.address.bits() && !address->peer;
  });
  return found == addresses.end() ? nullptr : *found;
}

// The far end of `ip addr add OWN peer FAR/32`: nobody else is there, so it is the gateway.
const Address* address_with_peer(const Snapshot& network, const std::string& device) {
  const auto addresses = ipv4_addresses(network, device);
  const auto found = std::find_if(addresses.begin(), addresses.end(), [](const Address* address) {
    return address->peer && address->peer != address->prefix.address;
  });
  return found == addresses.end() ? nullptr : *found;
}

// Whether a gateway in no network of the device may be there all the same: it has a single address, besides
// whatever others, or but one neighbour.
bool takes_any_gateway(const Snapshot& network, const std::string& device) {
  return single_address(network, device) != nullptr ||
         (is_point_to_point(network, device) && !ipv4_addresses(network, device).empty());
}

// The network's own address or its broadcast address: the kernel takes neither for a gateway.
bool is_nobody(const IpPrefix& network, const IpAddress& address) {
  if (!address.is_v4() || network.length >= 31) return false;
  const std::uint32_t host = ~std::uint32_t{0} >> network.length;
  const std::uint32_t value = address.v4_number();
  return (value & host) == 0 || (value & host) == host;
}

const Address* own_address(const Snapshot& network, const IpAddress& address) {
  const auto found = std::find_if(network.addresses.begin(), network.addresses.end(),
                                  [&](const Address& own) { return own.prefix.address == address; });
  return found == network.addresses.end() ? nullptr : &*found;
}

class Finder {
 public:
  Finder(const model::Wan& wan, const Snapshot& network) : wan_(wan), network_(network) {}

  Exit find() {
    exit_.device = wan_.device;
    exit_.gateway = wan_.gateway;
    if (!wan_.device.empty()) check_device();
    if (exit_.known()) wan_.gateway ? use_written() : learn();
    if (exit_.known()) use_bind();
    return exit_;
  }

 private:
  void wait(std::string why) { exit_.waits = std::move(why); }

  void check_device() {
    const Link* const link = find_link(network_, wan_.device);
    if (link == nullptr) {
      wait(fmt::format("interface {} does not exist", wan_.device));
    } else if (!link->up) {
      wait(fmt::format("the interface {} is down", wan_.device));
    }
  }

  void use_written() {
    const IpAddress& gateway = *wan_.gateway;
    if (const Address* own = own_address(network_, gateway)) {
      return wait(fmt::format("gateway {} is this machine's own address (on {})", bondd::to_string(gateway),
                              own->device));
    }
    if (find_network(gateway)) return;
    const Route* const route = route_towards(network_, gateway, wan_.device);
    if (route != nullptr || takes_any_gateway(network_, wan_.device)) {
      if (route != nullptr) exit_.device = route->device;
      exit_.onlink = true;
      set_source(exit_.device);
      return;
    }
    if (wan_.device.empty()) {
      return wait(fmt::format("gateway {} is in no network of this machine", bondd::to_string(gateway)));
    }
    const auto addresses = ipv4_addresses(network_, wan_.device);
    if (addresses.empty()) return wait(fmt::format("{} has no IPv4 address yet", wan_.device));
    wait(fmt::format("gateway {} is outside the network of {}, which has {}{}", bondd::to_string(gateway),
                     wan_.device, list(addresses), elsewhere(gateway)));
  }

  // Where the gateway is, if not where the file says: two WANs' gateways may be exchanged.
  [[nodiscard]] std::string elsewhere(const IpAddress& gateway) const {
    const Address* const address = address_towards(network_, gateway, "");
    const bool told = address != nullptr && address->device != wan_.device;
    return told ? fmt::format("; it is in {}'s", address->device) : "";
  }

  // The network that holds the gateway, if any does: then all is known, or why it is not.
  bool find_network(const IpAddress& gateway) {
    const Address* const address = address_towards(network_, gateway, exit_.device);
    if (address == nullptr) return false;
    exit_.device = address->device;
    exit_.network =
        address->prefix.contains(gateway) ? address->prefix.network() : IpPrefix{gateway, gateway.bits()};
    exit_.source = address->prefix.address;
    if (is_nobody(*exit_.network, gateway)) {
      wait(fmt::format("gateway {} is the network or broadcast address of {}", bondd::to_string(gateway),
                       bondd::to_string(*exit_.network)));
    }
    return true;
  }

  void learn() {
    if (const Route* const learned = default_route(network_, wan_.device)) {
      exit_.device = learned->device;
      exit_.gateway = learned->gateway;
      exit_.source = learned->source;
      if (!exit_.gateway || (exit_.gateway->is_v4() && find_network(*exit_.gateway))) return;
      // The kernel has it, so it is reached: on-link, or by IPv6 (RFC 5549).
      exit_.onlink = exit_.gateway->is_v4() || learned->onlink;
      if (!exit_.source) set_source(exit_.device);
      return;
    }
    if (wan_.device.empty()) return wait("no default route to learn the gateway from yet");
    if (is_point_to_point(network_, wan_.device)) return use_without_gateway();
    if (const Address* const address = address_with_peer(network_, wan_.device)) return use_peer(*address);
    wait(fmt::format("{} has no default route to learn the gateway from yet", wan_.device));
  }

  void use_peer(const Address& address) {
    exit_.gateway = address.peer;
    exit_.network = IpPrefix{*address.peer, address.peer->bits()};
    exit_.source = address.prefix.address;
  }

  void use_without_gateway() {
    set_source(wan_.device);
    if (!exit_.source) wait(fmt::format("{} has no IPv4 address yet", wan_.device));
  }

  void set_source(const std::string& device) {
    const auto addresses = ipv4_addresses(network_, device);
    const Address* const single = single_address(network_, device);
    if (!addresses.empty()) exit_.source = (single != nullptr ? single : addresses.front())->prefix.address;
  }

  void use_bind() {
    if (!wan_.bind) return;
    if (own_address(network_, *wan_.bind) == nullptr) {
      return wait(fmt::format("bind {} is not an address of this machine now", bondd::to_string(*wan_.bind)));
    }
    if (wan_.bind->is_v4()) exit_.source = wan_.bind;
  }

  const model::Wan& wan_;
  const Snapshot& network_;
  Exit exit_;
};

}  // namespace

Exit find_exit(const model::Wan& wan, const Snapshot& network) {
  return Finder(wan, network).find();
}

std::vector<SharedExit> shared_exits(const std::vector<model::Wan>& wans, const Snapshot& network) {
  std::vector<Exit> exits;
  std::vector<SharedExit> out;
  for (const model::Wan& wan : wans) {
    exits.push_back(find_exit(wan, network));
    const std::size_t here = exits.size() - 1;
    const auto same = std::find_if(exits.begin(), exits.end() - 1, [&](const Exit& other) {
      return other.known() && other.device == exits[here].device && other.gateway == exits[here].gateway;
    });
    if (!exits[here].known() || same == exits.end() - 1) continue;
    out.push_back({here, static_cast<std::size_t>(same - exits.begin()), exits[here]});
  }
  return out;
}

std::vector<std::pair<std::size_t, std::string>> one_modem(const std::vector<model::Wan>& wans,
                                                           const Snapshot& network) {
  struct Gateway {
    std::size_t wan;
    Exit exit;
    MacAddress mac;
  };
  std::vector<Gateway> gateways;
  std::vector<std::pair<std::size_t, std::string>> out;
  for (std::size_t i = 0; i < wans.size(); ++i) {
    Exit exit = find_exit(wans[i], network);
    const auto& known = network.neighbours;
    const auto neighbour = std::find_if(known.begin(), known.end(), [&](const netlink::Neighbour& one) {
      return exit.known() && exit.gateway == one.address && exit.device == one.device;
    });
    if (neighbour == known.end()) continue;
    const auto same = std::find_if(gateways.begin(), gateways.end(), [&](const Gateway& other) {
      return other.exit.device == exit.device && other.mac == neighbour->mac &&
             other.exit.gateway != exit.gateway;
    });
    if (same != gateways.end()) {
      out.emplace_back(
          i,
          fmt::format("{} and {} leave by {} and {}, which have the same hardware address: one modem-router "
                      "has both, so they are one line; write each WAN's own gateway",
                      wans[same->wan].name, wans[i].name, to_string(same->exit), to_string(exit)));
    }
    gateways.push_back({i, std::move(exit), neighbour->mac});
  }
  return out;
}

std::vector<netlink::Route> inside_routes(const model::Config& config, const Snapshot& network,
                                          std::string_view device) {
  std::vector<Exit> exits;
  for (const model::Wan& wan : config.wans) exits.push_back(find_exit(wan, network));
  const auto leads_out = [&](const Route& route) {
    return std::any_of(exits.begin(), exits.end(), [&](const Exit& exit) {
      return exit.gateway && exit.gateway == route.gateway && exit.device == route.device;
    });
  };
  std::vector<Route> out;
  for (const Route& route : network.routes) {
    const bool candidate = route.table == netlink::kMainTable && route.protocol != model::kProtocol &&
                           route.type == netlink::RouteType::kUnicast && route.destination.address.is_v4() &&
                           route.destination.length >= kWidestInside && !route.device.empty() &&
                           route.device != config.bond.interface && !is_ours(network, route.device) &&
                           (device.empty() || route.device == device);
    if (candidate && !leads_out(route)) out.push_back(route);
  }
  return out;
}

std::vector<IpPrefix> inside_networks(const model::Config& config, const Snapshot& network,
                                      std::string_view device) {
  std::vector<IpPrefix> out;
  for (const Route& route : inside_routes(config, network, device))
    out.push_back(route.destination.network());
  for (const netlink::Address& address : network.addresses) {
    const bool candidate = address.prefix.address.is_v4() && address.prefix.length >= kWidestInside &&
                           address.prefix.length < address.prefix.address.bits() && address.device != "lo" &&
                           address.device != config.bond.interface && !is_ours(network, address.device) &&
                           (device.empty() || address.device == device);
    if (candidate) out.push_back(address.prefix.network());
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::optional<unsigned> default_wan(const model::Config& config, const Snapshot& network,
                                    std::string_view device) {
  const Route* route = default_route(network, device);
  if (route == nullptr || !route->gateway) return std::nullopt;
  for (unsigned n = 1; n <= config.wans.size(); ++n) {
    const Exit exit = find_exit(config.wans[n - 1], network);
    if (exit.device == device && exit.gateway == route->gateway) return n;
  }
  return std::nullopt;
}

const Link* find_link(const Snapshot& network, std::string_view device) {
  const auto found = std::find_if(network.links.begin(), network.links.end(),
                                  [&](const Link& link) { return link.name == device; });
  return found == network.links.end() ? nullptr : &*found;
}

bool is_wan_device(const model::Config& config, const Snapshot& network, std::string_view device) {
  return std::any_of(config.wans.begin(), config.wans.end(),
                     [&](const model::Wan& wan) { return find_exit(wan, network).device == device; });
}

std::vector<std::string> lan_devices(const model::Config& config, const netlink::Snapshot& network) {
  std::vector<std::string> lans, wans;
  for (const Link& link : network.links) {
    const bool ours = is_ours(network, link.name) || link.name == config.bond.interface;
    if (ours || !link.up || link.name == "lo" || ipv4_addresses(network, link.name).empty()) continue;
    (is_wan_device(config, network, link.name) ? wans : lans).push_back(link.name);
  }
  return lans.empty() ? wans : lans;
}

std::vector<std::string> internet_devices(const model::Config& config, const Snapshot& network) {
  std::vector<std::string> out;
  for (const Route& route : network.routes) {
    const bool main = route.table == netlink::kMainTable && route.destination.is_default() &&
                      route.destination.address.is_v4() && route.protocol != model::kProtocol;
    if (!main || route.device.empty() || route.device == config.bond.interface) continue;
    if (std::find(out.begin(), out.end(), route.device) == out.end()) out.push_back(route.device);
  }
  return out;
}

std::string to_string(const Exit& exit) {
  return exit.gateway ? fmt::format("{} on {}", bondd::to_string(*exit.gateway), exit.device) : exit.device;
}

std::string one_line(const model::Config& config, const SharedExit& shared) {
  return fmt::format(
      "{} and {} both leave by {}, so they are one line; write each WAN's own gateway (and device)",
      config.wans[shared.other].name, config.wans[shared.wan].name, to_string(shared.exit));
}

}  // namespace bondd::plan

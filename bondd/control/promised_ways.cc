#include "bondd/control/promised_ways.h"

#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>

#include "bondd/plan/exits.h"
#include "bondd/plan/firewall.h"
#include "bondd/plan/foreign_rules.h"
#include "bondd/plan/tunnels.h"

namespace bondd::control {
namespace {

using model::Config;
using model::Facts;
using rules::NftPacket;
using Hook = NftPacket::Hook;

// Devices that are up and have an IPv4 address; not lo, the bond or taps of bondd's.
std::vector<std::string> addressed_devices(const Config& config, const netlink::Snapshot& network) {
  std::vector<std::string> out;
  for (const netlink::Link& link : network.links) {
    const bool ours = link.alias.starts_with("bondd:") || link.name == config.bond.interface;
    if (ours || !link.up || link.name == "lo") continue;
    const bool addressed =
        std::any_of(network.addresses.begin(), network.addresses.end(),
                    [&](const auto& one) { return one.device == link.name && one.prefix.address.is_v4(); });
    if (addressed) out.push_back(link.name);
  }
  return out;
}

// The IPv4 address of a device that has only one.
std::optional<IpAddress> address_of(const netlink::Snapshot& network, const std::string& device) {
  std::optional<IpAddress> out;
  for (const netlink::Address& one : network.addresses) {
    if (one.device != device || !one.prefix.address.is_v4()) continue;
    if (out) return std::nullopt;
    out = one.prefix.address;
  }
  return out;
}

Match port_match(std::string_view protocol, std::string_view which, std::uint16_t port) {
  return {fmt::format("{} {} {}", protocol, which, port),
          fmt::format("-p {} --{} {}", protocol, which, port)};
}

// Hosts of the Internet, for rules that look at addresses: far from each other, so that no list of a firewall
// has them all. Nothing is sent to them.
constexpr std::array<std::array<std::uint8_t, 4>, 3> kInternetHosts{
    {{5, 39, 77, 10}, {93, 184, 216, 34}, {151, 101, 65, 6}}};

// Addresses at one end of a way.
using Places = std::vector<IpPrefix>;

// Networks as they are, hosts for the Internet.
Places places(const Places& networks) {
  Places out;
  for (const IpPrefix& network : networks) {
    if (!network.address.is_v4()) continue;
    if (network.length > plan::kInternet) {
      out.push_back(network.network());
      continue;
    }
    for (const auto& host : kInternetHosts) {
      const IpAddress address = IpAddress::v4(host);
      if (network.contains(address)) out.push_back({address, address.bits()});
    }
  }
  return out;
}

// Single hosts of a network, far from each other.
std::vector<IpAddress> hosts_in(const IpPrefix& network) {
  if (network.length == network.address.bits()) return {network.address};
  constexpr std::array<std::uint32_t, 3> kSixteenths{2, 7, 12};  // of the network's size
  std::vector<IpAddress> out;
  const int free_bits = network.address.bits() - network.length;
  for (const std::uint32_t part : kSixteenths) {
    const auto offset = static_cast<std::uint32_t>((std::uint64_t{part} << free_bits) / 16 + 1);
    out.push_back(IpAddress::v4(network.network().address.v4_number() + offset));
  }
  return out;
}

std::vector<IpAddress> internet_hosts() {
  std::vector<IpAddress> out;
  for (const auto& host : kInternetHosts) out.push_back(IpAddress::v4(host));
  return out;
}

// From each to each. Without places at one end nothing is known of it.
void add_examples(Way& way, const Places& from, const Places& to) {
  for (const IpPrefix& source : from.empty() ? Places{IpPrefix{}} : from) {
    for (const IpPrefix& destination : to.empty() ? Places{IpPrefix{}} : to) {
      NftPacket packet = way.packet;
      packet.source_network = source;
      packet.destination_network = destination;
      way.examples.push_back(std::move(packet));
    }
  }
}

// What the way needs connection tracking for. Of answers without a connection bondd's own chains let in
// TCP's, whose first is "invalid", not new.
enum class Tracking : std::uint8_t { kNotNeeded, kForAnswers, kForNat };

struct Ends {
  std::string in, out;  // devices
  Places from, to;
  Tracking tracking = Tracking::kForNat;
  bool answer = false;
  // Whose address NAT changes the destination from.
  std::optional<NftPacket::Arriving> arriving;
  std::optional<std::vector<IpPrefix>> answered_sources = std::nullopt;
  bool own_nat = false;
};

// TCP and UDP each for itself: what a firewall does with one says nothing about the other.
void add_forward(const Ends& ends, const std::string& what, const std::vector<std::string>& trusted,
                 std::vector<Way>& ways) {
  for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
    Way way;
    way.packet.in = ends.in;
    way.packet.out = ends.out;
    way.packet.answer = ends.answer;
    way.packet.protocol = protocol;
    way.packet.arriving = ends.arriving;
    way.what = what;
    way.trusted = trusted;
    way.answered_sources = ends.answered_sources;
    way.own_nat = ends.own_nat;
    way.needs_tracking = ends.tracking == Tracking::kForNat ||
                         (ends.tracking == Tracking::kForAnswers && protocol == IPPROTO_UDP);
    if (ends.answer)
      way.match = {"ct state established,related", "-m conntrack --ctstate RELATED,ESTABLISHED"};
    add_examples(way, ends.from, ends.to);
    ways.push_back(std::move(way));
  }
}

// What has no mark goes there by the bond: a check of the reverse path that does not know bondd's marks
// expects the server's packets from it.
bool goes_into_bond(const Config& config, const Facts& facts, const IpAddress& address) {
  const auto& routes = facts.network.routes;
  const bool elsewhere = std::any_of(routes.begin(), routes.end(), [&](const netlink::Route& route) {
    return route.table == netlink::kMainTable && !route.destination.is_default() &&
           route.destination.contains(address);
  });
  if (elsewhere) return false;
  return std::any_of(config.through_bond.begin(), config.through_bond.end(),
                     [&](const IpPrefix& network) { return network.contains(address); });
}

Way tunnel_way(Hook hook, const std::string& device, const std::string& wan, Match match) {
  Way way;
  way.packet.hook = hook;
  (hook == Hook::kInput ? way.packet.in : way.packet.out) = device;
  way.packet.protocol = IPPROTO_UDP;
  way.wan = wan;
  way.match = way.arriving = std::move(match);
  return way;
}

// The office's tunnels go out to the server's ports, and its answers come in.
void add_office_tunnels(const Config& config, const Facts& facts, std::vector<Way>& ways) {
  for (const plan::Tunnel& tunnel : plan::tunnels(config)) {
    const std::string& wan = config.wans[tunnel.wan - 1].name;
    const std::string device = plan::wan_device(config.wans[tunnel.wan - 1], facts.network);
    const auto chosen = facts.server_of.find(wan);
    if (device.empty() || facts.server_addresses.empty()) continue;
    const IpAddress server =
        chosen == facts.server_of.end() ? facts.server_addresses.front() : chosen->second;
    const auto own = address_of(facts.network, device);
    Way out = tunnel_way(Hook::kOutput, device, wan, port_match("udp", "dport", tunnel.port));
    out.packet.source = own;
    out.packet.destination = server;
    out.packet.destination_port = tunnel.port;
    out.what = fmt::format("the tunnel's packets of {} to the server", wan);
    ways.push_back(std::move(out));
    Way in = tunnel_way(Hook::kInput, device, wan, port_match("udp", "sport", tunnel.port));
    in.packet.source = server;
    in.packet.source_port = tunnel.port;
    in.packet.destination = own;
    in.packet.answer = true;
    in.packet.no_way_back = goes_into_bond(config, facts, server);
    in.what = fmt::format("the server's packets for {}", wan);
    ways.push_back(std::move(in));
  }
}

// Answers to what the office's own machine sends into the bond.
void add_own_answers(const Config& config, Tracking tracking, const Places& far, std::vector<Way>& ways) {
  for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
    Way way;
    way.packet.hook = Hook::kInput;
    way.packet.in = config.bond.interface;
    way.packet.protocol = protocol;
    way.packet.answer = true;
    way.what = fmt::format("the answers from {} to this machine", config.bond.interface);
    way.trusted = {config.bond.interface};
    way.match = {"ct state established,related", "-m conntrack --ctstate RELATED,ESTABLISHED"};
    way.needs_tracking = tracking == Tracking::kForAnswers && protocol == IPPROTO_UDP;
    const IpAddress& own = config.bond.address.address;
    add_examples(way, far, {{own, own.bits()}});
    ways.push_back(std::move(way));
  }
}

void add_office(const Config& config, const Facts& facts, std::vector<Way>& ways) {
  const std::string& bond = config.bond.interface;
  add_office_tunnels(config, facts, ways);
  // Else new connections come out of the bond, too.
  const Tracking tracking =
      config.bond.from_bond == model::FromBond::kReplies ? Tracking::kForAnswers : Tracking::kNotNeeded;
  const Places far = places(config.through_bond);
  add_own_answers(config, tracking, far, ways);
  for (const std::string& lan : plan::lan_devices(config, facts.network)) {
    const auto networks = plan::inside_networks(config, facts.network, lan);
    const Places near = places(networks);
    auto answered = networks;
    answered.push_back({config.bond.address.address, config.bond.address.address.bits()});
    add_forward({lan, bond, near, far, tracking, false, {}, std::move(answered), false},
                fmt::format("what the LAN ({}) sends into {}", lan, bond), {bond, lan}, ways);
    add_forward({bond, lan, far, near, tracking, true, {}},
                fmt::format("the answers from {} to the LAN ({})", bond, lan), {bond}, ways);
  }
}

// What the VPS forwards, seen behind its NAT; at which place of which machine the caller says.
Way service_way(const Config& config, const model::Forward& service) {
  const std::uint16_t port = service.to_port.value_or(service.port).first;
  Way way;
  way.packet.protocol = service.proto == model::Protocol::kTcp ? IPPROTO_TCP : IPPROTO_UDP;
  way.packet.destination = service.to;
  way.packet.destination_port = port;
  way.trusted = {config.bond.interface};
  way.needs_tracking = true;
  const std::string to = to_string(service.to);
  const Match there = port_match(name(service.proto), "dport", port);
  way.match = {fmt::format("ip daddr {} {}", to, there.nft), fmt::format("-d {} {}", to, there.iptables)};
  return way;
}

const char* shown(model::Protocol protocol) {
  return protocol == model::Protocol::kTcp ? "TCP" : "UDP";
}

// What the VPS forwards comes out of the bond: to a host of the LAN, or to this machine.
void add_office_service(const Config& config, const Facts& facts, const model::Forward& service,
                        std::vector<Way>& ways) {
  if (config.bond.from_bond == model::FromBond::kReplies) return;  // the file says so
  Way way = service_way(config, service);
  way.packet.in = config.bond.interface;
  const auto devices = plan::lan_devices(config, facts.network);
  const auto lan = std::find_if(devices.begin(), devices.end(), [&](const std::string& device) {
    const auto networks = plan::inside_networks(config, facts.network, device);
    return std::any_of(networks.begin(), networks.end(),
                       [&](const IpPrefix& network) { return network.contains(service.to); });
  });
  const auto& own = facts.network.addresses;
  const bool here = service.to == config.bond.address.address ||
                    std::any_of(own.begin(), own.end(), [&](const netlink::Address& one) {
                      return one.prefix.address == service.to;
                    });
  if (!here && lan == devices.end()) return;
  way.packet.hook = here ? Hook::kInput : Hook::kForward;
  if (!here) way.packet.out = *lan;
  way.what = fmt::format("what the server forwards to {}, {} port {}", to_string(service.to),
                         shown(service.proto), way.packet.destination_port.value());
  way.arriving = way.match;
  add_examples(way, places({IpPrefix{}}), {{service.to, service.to.bits()}});
  ways.push_back(std::move(way));
}

// Where the office's packets come from: devices with a default route, else all that have an address.
std::vector<std::string> internet_devices(const Config& config, const Facts& facts) {
  std::vector<std::string> out;
  for (const netlink::Route& route : facts.network.routes) {
    if (route.destination.is_default() && route.destination.address.is_v4() && !route.device.empty() &&
        route.device != config.bond.interface && std::find(out.begin(), out.end(), route.device) == out.end())
      out.push_back(route.device);
  }
  return out.empty() ? addressed_devices(config, facts.network) : out;
}

// The office's packets come in, and the answers go out.
void add_vps_tunnel(const Config& config, const Facts& facts, const plan::Tunnel& tunnel,
                    const std::string& device, std::vector<Way>& ways) {
  const std::string& wan = config.wans[tunnel.wan - 1].name;
  const auto own = facts.server_addresses.empty() ? address_of(facts.network, device)
                                                  : std::optional(facts.server_addresses.front());
  Way in = tunnel_way(Hook::kInput, device, wan, port_match("udp", "dport", tunnel.port));
  in.packet.destination_port = tunnel.port;
  in.packet.destination = own;
  in.what = fmt::format("the office's packets for {}, UDP port {}", wan, tunnel.port);
  ways.push_back(std::move(in));
  Way out = tunnel_way(Hook::kOutput, device, wan, port_match("udp", "sport", tunnel.port));
  out.packet.source = own;
  out.packet.source_port = tunnel.port;
  out.packet.answer = true;
  out.what = fmt::format("the tunnel's packets of {} to the office", wan);
  ways.push_back(std::move(out));
}

void add_service(const Config& config, const Facts& facts, const model::Forward& service,
                 const std::string& device, std::vector<Way>& ways) {
  Way way = service_way(config, service);
  way.packet.in = device;
  way.packet.out = config.bond.interface;
  way.what =
      fmt::format("the service at {} port {} for the Internet", shown(service.proto), service.port.first);
  way.packet.arriving = NftPacket::Arriving{address_of(facts.network, device), service.port.first};
  way.packet.translated = true;
  way.own_nat = true;
  way.arriving = port_match(name(service.proto), "dport", service.port.first);
  ways.push_back(std::move(way));
}

// Answers to another address than this machine's do not come back.
std::vector<IpPrefix> own_addresses(const Facts& facts) {
  std::vector<IpPrefix> out;
  for (const netlink::Address& one : facts.network.addresses)
    out.push_back({one.prefix.address, one.prefix.address.bits()});
  return out;
}

void add_vps(const Config& config, const Facts& facts, std::vector<Way>& ways) {
  const std::string& bond = config.bond.interface;
  for (const plan::Tunnel& tunnel : plan::tunnels(config)) {
    for (const std::string& device : internet_devices(config, facts))
      add_vps_tunnel(config, facts, tunnel, device, ways);
  }
  const Places near = places(config.through_bond), internet = places({IpPrefix{}});
  for (const std::string& device : config.masquerade) {
    add_forward({bond, device, near, internet, Tracking::kForNat, false, {}, own_addresses(facts), true},
                fmt::format("what the office sends from {} to the Internet ({})", bond, device), {bond},
                ways);
    const NftPacket::Arriving arriving{address_of(facts.network, device), {}};
    add_forward({device, bond, internet, {}, Tracking::kForNat, true, arriving},
                fmt::format("the Internet's answers ({}) for the office", device), {bond}, ways);
  }
  for (const model::Forward& service : config.forwards) {
    for (const std::string& device : internet_devices(config, facts))
      add_service(config, facts, service, device, ways);
  }
}

// What is known of every packet: the numbers of its devices, and that nobody has marked it.
void complete(NftPacket& packet, const Config& config, const Facts& facts) {
  const auto number = [&](const std::string& device) {
    const auto known = facts.network.facts.find(device);
    return known == facts.network.facts.end() ? 0 : known->second.index;
  };
  packet.in_index = number(packet.in);
  packet.out_index = number(packet.out);
  packet.zero_bits = ~config.mark_mask;
}

// Hosts for what is known of one end.
std::vector<IpAddress> hosts_at(const std::optional<IpAddress>& address,
                                const std::optional<IpPrefix>& network) {
  if (address) return {*address};
  return network && network->length > 0 ? hosts_in(*network) : internet_hosts();
}

// Ports that differ in what firewalls do with them: web, DNS, and one of no known service.
constexpr std::array<std::uint16_t, 4> kPorts{443, 80, 53, 50000};

std::optional<std::uint16_t>& servers_port(NftPacket& packet) {
  return packet.answer ? packet.source_port : packet.destination_port;
}
bool has_ports(const Way& way) {
  return !way.wan.empty() || way.packet.destination_port.has_value();
}

}  // namespace

std::vector<Way> promised_ways(const Config& config, const Facts& facts,
                               const std::vector<model::Forward>& services) {
  std::vector<Way> ways;
  if (config.role == model::Role::kClient) {
    add_office(config, facts, ways);
    for (const model::Forward& service : services) add_office_service(config, facts, service, ways);
  } else {
    add_vps(config, facts, ways);
  }
  for (Way& way : ways) {
    complete(way.packet, config, facts);
    if (way.examples.empty()) way.examples.push_back(way.packet);
    for (NftPacket& packet : way.examples) complete(packet, config, facts);
  }
  return ways;
}

std::vector<NftPacket> hosts_of(const Way& way) {
  std::vector<NftPacket> out;
  for (const NftPacket& example : way.examples) {
    for (const IpAddress& source : hosts_at(example.source, example.source_network)) {
      for (const IpAddress& destination : hosts_at(example.destination, example.destination_network)) {
        NftPacket packet = example;
        packet.source = source;
        packet.destination = destination;
        if (has_ports(way)) {
          out.push_back(std::move(packet));
          continue;
        }
        for (const std::uint16_t port : kPorts) {
          servers_port(packet) = port;
          out.push_back(packet);
        }
      }
    }
  }
  return out;
}

std::vector<Way> by_port(const Way& way) {
  std::vector<Way> out;
  if (has_ports(way)) return out;
  const bool tcp = way.packet.protocol == IPPROTO_TCP;
  for (const std::uint16_t port : kPorts) {
    Way& one = out.emplace_back(way);
    one.what += fmt::format(", {} port {}", tcp ? "TCP" : "UDP", port);
    one.arriving = port_match(tcp ? "tcp" : "udp", way.packet.answer ? "sport" : "dport", port);
    for (NftPacket& packet : one.examples) servers_port(packet) = port;
  }
  return out;
}

}  // namespace bondd::control

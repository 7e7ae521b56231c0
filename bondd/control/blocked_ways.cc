#include "bondd/control/blocked_ways.h"

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

Way forward(const std::string& in, const std::string& out, std::string what, bool answer) {
  Way way;
  way.packet.in = in;
  way.packet.out = out;
  way.packet.answer = answer;
  way.what = std::move(what);
  if (answer) way.match = "ct state established,related";
  return way;
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

struct Ends {
  std::string in, out;  // devices
  Places from, to;
};

// TCP and UDP each for itself: what a firewall does with one says nothing about the other.
void add_forward(const Ends& ends, const std::string& what, const std::vector<std::string>& trusted,
                 bool answer, std::vector<Way>& ways) {
  for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
    Way way = forward(ends.in, ends.out, what, answer);
    way.packet.protocol = protocol;
    way.trusted = trusted;
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

// The office's tunnels go out to the server's ports, and its answers come in.
void add_office_tunnels(const Config& config, const Facts& facts, std::vector<Way>& ways) {
  for (const plan::Tunnel& tunnel : plan::tunnels(config)) {
    const std::string device = plan::wan_device(config.wans[tunnel.wan - 1], facts.network);
    if (device.empty() || facts.server_addresses.empty()) continue;
    Way out;
    out.packet.hook = Hook::kOutput;
    out.packet.out = device;
    out.packet.protocol = IPPROTO_UDP;
    out.packet.destination = facts.server_addresses.front();
    out.packet.destination_port = tunnel.port;
    out.what = fmt::format("the tunnel's packets of {} to the server", config.wans[tunnel.wan - 1].name);
    out.match = fmt::format("udp dport {}", tunnel.port);
    ways.push_back(std::move(out));
    Way in;
    in.packet.hook = Hook::kInput;
    in.packet.in = device;
    in.packet.protocol = IPPROTO_UDP;
    in.packet.source = facts.server_addresses.front();
    in.packet.source_port = tunnel.port;
    in.packet.answer = true;
    in.packet.no_way_back = goes_into_bond(config, facts, facts.server_addresses.front());
    in.what = fmt::format("the server's packets for {}", config.wans[tunnel.wan - 1].name);
    in.match = fmt::format("udp sport {}", tunnel.port);
    ways.push_back(std::move(in));
  }
}

void add_office(const Config& config, const Facts& facts, std::vector<Way>& ways) {
  const std::string& bond = config.bond.interface;
  add_office_tunnels(config, facts, ways);
  const Places far = places(config.through_bond);
  for (const std::string& lan : plan::lan_devices(config, facts.network)) {
    const Places near = places(plan::inside_networks(config, facts.network, lan));
    add_forward({lan, bond, near, far}, fmt::format("what the LAN ({}) sends into {}", lan, bond),
                {bond, lan}, false, ways);
    add_forward({bond, lan, far, near}, fmt::format("the answers from {} to the LAN ({})", bond, lan), {bond},
                true, ways);
  }
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
  Way way;
  way.packet.hook = Hook::kInput;
  way.packet.in = device;
  way.packet.protocol = IPPROTO_UDP;
  way.packet.destination_port = tunnel.port;
  if (!facts.server_addresses.empty()) way.packet.destination = facts.server_addresses.front();
  way.what = fmt::format("the office's packets for {}, UDP port {}", wan, tunnel.port);
  way.match = fmt::format("udp dport {}", tunnel.port);
  ways.push_back(std::move(way));
  Way out;
  out.packet.hook = Hook::kOutput;
  out.packet.out = device;
  out.packet.protocol = IPPROTO_UDP;
  out.packet.source_port = tunnel.port;
  out.packet.answer = true;
  out.what = fmt::format("the tunnel's packets of {} to the office", wan);
  out.match = fmt::format("udp sport {}", tunnel.port);
  ways.push_back(std::move(out));
}

void add_vps(const Config& config, const Facts& facts, std::vector<Way>& ways) {
  const std::string& bond = config.bond.interface;
  for (const plan::Tunnel& tunnel : plan::tunnels(config)) {
    for (const std::string& device : internet_devices(config, facts))
      add_vps_tunnel(config, facts, tunnel, device, ways);
  }
  const Places near = places(config.through_bond), internet = places({IpPrefix{}});
  for (const std::string& device : config.masquerade) {
    add_forward({bond, device, near, internet},
                fmt::format("what the office sends from {} to the Internet ({})", bond, device), {bond},
                false, ways);
    add_forward({device, bond, internet, {}},
                fmt::format("the Internet's answers ({}) for the office", device), {bond}, true, ways);
  }
  for (const model::Forward& service : config.forwards) {
    for (const std::string& device : internet_devices(config, facts)) {
      const std::uint16_t port = service.to_port.value_or(service.port).first;
      const bool tcp = service.proto == model::Protocol::kTcp;
      Way way = forward(
          device, bond,
          fmt::format("the service at {} port {} for the Internet", tcp ? "TCP" : "UDP", service.port.first),
          false);
      way.trusted = {bond};
      way.packet.protocol = tcp ? IPPROTO_TCP : IPPROTO_UDP;
      way.packet.destination = service.to;
      way.packet.destination_port = port;
      way.packet.translated = true;
      way.match = fmt::format("ip daddr {} {} dport {}", to_string(service.to), tcp ? "tcp" : "udp", port);
      ways.push_back(std::move(way));
    }
  }
}

// firewalld writes its table anew at each reload: what is added there does not last.
std::string firewalld_cure(const Way& way) {
  std::string change = way.trusted.empty() ? "" : " --zone=trusted";
  for (const std::string& device : way.trusted) change += fmt::format(" --add-interface={}", device);
  if (way.trusted.empty())
    change = fmt::format(" --add-port={}/udp", way.packet.destination_port.value_or(0));
  return fmt::format("`firewall-cmd --permanent{} && firewall-cmd --reload`", change);
}

// The words by which a rule of that chain knows the packet: only what the kernel knows there.
std::string match_at(const rules::NftRefusal& refusal, const Way& way) {
  using Stage = rules::NftRefusal::Stage;
  const bool forwarded = way.packet.hook == Hook::kForward;
  std::string out;
  if (forwarded && refusal.stage != Stage::kPostrouting) out += fmt::format("iifname \"{}\" ", way.packet.in);
  if (forwarded && refusal.stage != Stage::kPrerouting) out += fmt::format("oifname \"{}\" ", way.packet.out);
  return out + way.match + (way.match.empty() ? "" : " ");
}

std::string cure(const rules::NftRefusal& refusal, const Way& way) {
  // firewalld opens ports for what comes in only.
  const bool leaves = way.packet.hook == Hook::kOutput;
  if (refusal.table == "inet firewalld" && !leaves) return firewalld_cure(way);
  return fmt::format("`nft insert rule {} {} {}accept`", refusal.table, refusal.chain,
                     match_at(refusal, way));
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

// The places that refuse the way: all its examples, or, without any, its packet.
std::vector<rules::NftRefusal> refusals_of(const Way& way, const rules::NftRuleset& ruleset) {
  auto out = rules::refusals(ruleset, way.examples.empty() ? way.packet : way.examples.front());
  for (std::size_t i = 1; i < way.examples.size() && !out.empty(); ++i) {
    const auto more = rules::refusals(ruleset, way.examples[i]);
    std::erase_if(out, [&](const rules::NftRefusal& one) {
      return std::none_of(more.begin(), more.end(), [&](const rules::NftRefusal& other) {
        return other.table == one.table && other.chain == one.chain;
      });
    });
  }
  return out;
}

}  // namespace

std::vector<Way> promised_ways(const Config& config, const Facts& facts) {
  std::vector<Way> ways;
  if (config.role == model::Role::kClient) {
    add_office(config, facts, ways);
  } else {
    add_vps(config, facts, ways);
  }
  for (Way& way : ways) {
    complete(way.packet, config, facts);
    for (NftPacket& packet : way.examples) complete(packet, config, facts);
  }
  return ways;
}

std::vector<std::string> blocked_ways(const std::vector<Way>& ways, const rules::NftRuleset& ruleset) {
  std::vector<std::string> out;
  for (const Way& way : ways) {
    for (const rules::NftRefusal& refusal : refusals_of(way, ruleset)) {
      const std::string by = refusal.policy                      ? " (its policy)"
                             : refusal.deciding == refusal.chain ? ""
                                                                 : fmt::format(" (in {})", refusal.deciding);
      std::string text = fmt::format("the firewall drops {}: table {}, chain {}{}; let it through: {}",
                                     way.what, refusal.table, refusal.chain, by, cure(refusal, way));
      if (std::find(out.begin(), out.end(), text) == out.end()) out.push_back(std::move(text));
    }
  }
  return out;
}

}  // namespace bondd::control

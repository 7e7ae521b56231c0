#include "bondd/control/blocked_ways.h"

#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>

#include "bondd/plan/firewall.h"
#include "bondd/plan/tunnels.h"

namespace bondd::control {
namespace {

using model::Config;
using model::Facts;
using rules::NftPacket;
using Hook = NftPacket::Hook;

std::vector<std::string> devices_of_wans(const Config& config, const netlink::Snapshot& network) {
  std::vector<std::string> out;
  for (const model::Wan& wan : config.wans) {
    const std::string device = plan::wan_device(wan, network);
    if (!device.empty() && std::find(out.begin(), out.end(), device) == out.end()) out.push_back(device);
  }
  return out;
}

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

// Where there are none besides the WANs', the LAN is on the WANs' device.
std::vector<std::string> lan_devices(const Config& config, const netlink::Snapshot& network) {
  const auto wans = devices_of_wans(config, network);
  std::vector<std::string> out = addressed_devices(config, network);
  std::erase_if(out, [&](const std::string& device) {
    return std::find(wans.begin(), wans.end(), device) != wans.end();
  });
  return out.empty() ? wans : out;
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

// The office's tunnels go out to the server's ports, and its answers come in.
void add_office_tunnels(const Config& config, const Facts& facts, std::vector<Way>& ways) {
  for (const plan::Tunnel& tunnel : plan::tunnels(config)) {
    const std::string device = plan::wan_device(config.wans[tunnel.wan - 1], facts.network);
    if (device.empty() || facts.server_addresses.empty()) continue;
    Way out;
    out.packet = {Hook::kOutput, "",   device, IPPROTO_UDP, {}, facts.server_addresses.front(), {},
                  tunnel.port,   false};
    out.what = fmt::format("the tunnel's packets of {} to the server", config.wans[tunnel.wan - 1].name);
    out.match = fmt::format("udp dport {}", tunnel.port);
    ways.push_back(std::move(out));
    Way in;
    in.packet = {Hook::kInput, device,      "", IPPROTO_UDP, facts.server_addresses.front(),
                 {},           tunnel.port, {}, false,       true};
    in.what = fmt::format("the server's packets for {}", config.wans[tunnel.wan - 1].name);
    in.match = fmt::format("udp sport {}", tunnel.port);
    ways.push_back(std::move(in));
  }
}

void add_office(const Config& config, const Facts& facts, std::vector<Way>& ways) {
  const std::string& bond = config.bond.interface;
  add_office_tunnels(config, facts, ways);
  for (const std::string& lan : lan_devices(config, facts.network)) {
    ways.push_back(forward(lan, bond, fmt::format("what the LAN ({}) sends into {}", lan, bond), false));
    ways.back().trusted = {bond, lan};
    ways.push_back(forward(bond, lan, fmt::format("the answers from {} to the LAN ({})", bond, lan), true));
    ways.back().trusted = {bond};
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

void add_vps(const Config& config, const Facts& facts, std::vector<Way>& ways) {
  const std::string& bond = config.bond.interface;
  for (const plan::Tunnel& tunnel : plan::tunnels(config)) {
    for (const std::string& device : internet_devices(config, facts)) {
      Way way;
      way.packet = {Hook::kInput, device, "", IPPROTO_UDP, {}, {}, {}, tunnel.port, false, false};
      if (!facts.server_addresses.empty()) way.packet.destination = facts.server_addresses.front();
      way.what = fmt::format("the office's packets for {}, UDP port {}", config.wans[tunnel.wan - 1].name,
                             tunnel.port);
      way.match = fmt::format("udp dport {}", tunnel.port);
      ways.push_back(std::move(way));
    }
  }
  for (const std::string& device : config.masquerade) {
    ways.push_back(forward(bond, device,
                           fmt::format("what the office sends from {} to the Internet ({})", bond, device),
                           false));
    ways.back().trusted = {bond};
    ways.push_back(
        forward(device, bond, fmt::format("the Internet's answers ({}) for the office", device), true));
    ways.back().trusted = {bond};
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
  if (refusal.table == "inet firewalld") return firewalld_cure(way);
  return fmt::format("`nft insert rule {} {} {}accept`", refusal.table, refusal.chain,
                     match_at(refusal, way));
}

}  // namespace

std::vector<Way> promised_ways(const Config& config, const Facts& facts) {
  std::vector<Way> ways;
  if (config.role == model::Role::kClient) {
    add_office(config, facts, ways);
  } else {
    add_vps(config, facts, ways);
  }
  return ways;
}

std::vector<std::string> blocked_ways(const std::vector<Way>& ways, const rules::NftRuleset& ruleset) {
  std::vector<std::string> out;
  for (const Way& way : ways) {
    for (const rules::NftRefusal& refusal : rules::refusals(ruleset, way.packet)) {
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

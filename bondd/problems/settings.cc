// Which settings of two ends must agree, and what follows when they do not.
#include <fmt/format.h>

#include <algorithm>

#include "bondd/problems/peer_settings.h"

namespace bondd::problems {
namespace {

using model::Backend;
using model::Config;

std::string yes_no(bool value) {
  return value ? "true" : "false";
}

// Keys without which neither end can read a packet of the other. Ends with session keys agree on what is
// enciphered.
bool is_format(const std::string& key, bool session_keys) {
  return key == "tuntap" || (key == "cleartext_data" && !session_keys);
}

Found about(Code code, Words words) {
  return {code, std::move(words)};
}

void compare_wans(const PeerSettings& ours, const PeerSettings& theirs, std::vector<Found>& out) {
  if (theirs.wans.empty()) return;  // nothing was told
  for (const auto& wan : ours.wans) {
    const auto* const other = theirs.with_port(wan.port);
    if (other == nullptr) {
      out.push_back(about(Code::kWanMissingThere, {.wan = wan.name, .port = wan.port}));
      continue;
    }
    if (other->name != wan.name) {
      out.push_back(about(Code::kNameDiffers,
                          {.wan = wan.name, .ours = wan.name, .theirs = other->name, .port = wan.port}));
    }
    if (wan.tunnels != 0 && other->tunnels != 0 && wan.tunnels != other->tunnels) {
      out.push_back(about(Code::kTunnelsDiffer, {.wan = wan.name,
                                                 .ours = std::to_string(wan.tunnels),
                                                 .theirs = std::to_string(other->tunnels),
                                                 .port = wan.port}));
    }
  }
  for (const auto& wan : theirs.wans) {
    if (ours.with_port(wan.port) == nullptr)
      out.push_back(about(Code::kWanMissingHere, {.theirs = wan.name, .port = wan.port}));
  }
}

// The address of each end is the peer of the other.
void compare_ends(const PeerSettings& ours, const PeerSettings& theirs, std::vector<Found>& out) {
  if (theirs.address.empty()) return;  // not told
  if (ours.peer != theirs.address) {
    out.push_back(about(Code::kPeerDiffers,
                        {.key = "peer", .ours = ours.peer, .theirs = "address = " + theirs.address}));
  }
  if (ours.address != theirs.peer) {
    out.push_back(about(Code::kPeerDiffers,
                        {.key = "address", .ours = ours.address, .theirs = "peer = " + theirs.peer}));
  }
}

bool covered(const IpPrefix& network, const std::vector<IpPrefix>& by) {
  return std::ranges::any_of(by, [&](const IpPrefix& wide) { return wide.contains(network); });
}

// Both ends come to the same: the office's computers get no answer, whoever is asked.
void compare_ways(const PeerSettings& office, const PeerSettings& server, std::vector<Found>& out) {
  for (const IpPrefix& network : office.networks) {
    if (covered(network, server.through_bond)) continue;
    out.push_back(about(Code::kLanMissing, {.detail = to_string(network)}));
  }
  const bool internet =
      std::ranges::any_of(office.through_bond, [](const IpPrefix& n) { return n.length <= 1; });
  if (!internet || server.way_out.empty()) return;
  if (server.masquerade.empty()) {
    out.push_back(about(Code::kNatMissing, {.detail = server.way_out}));
  } else if (std::ranges::find(server.masquerade, server.way_out) == server.masquerade.end()) {
    out.push_back(about(Code::kNatDevice, {.theirs = fmt::format("{}", fmt::join(server.masquerade, ", ")),
                                           .detail = server.way_out}));
  }
}

}  // namespace

PeerSettings settings_of(const Config& config) {
  PeerSettings out;
  out.role = name(config.role);
  for (const model::Wan& wan : config.wans) out.wans.push_back({wan.port, wan.name, std::nullopt});
  out.same["backend"] = name(config.backend);
  if (config.backend == Backend::kMlvpn) {
    out.same["cleartext_data"] = yes_no(config.mlvpn.cleartext_data);
    out.same["tuntap"] = config.mlvpn.tap ? "tap" : "tun";
  }
  if (config.backend == Backend::kOpenVpnBond) {
    // Each end judges the other's silence by its own interval.
    out.same["arp_interval"] = format_duration(config.bond.arp_interval);
  }
  out.same["mtu"] = config.bond.mtu ? std::to_string(*config.bond.mtu) : "automatic";
  out.address = to_string(config.bond.address.address);
  out.peer = to_string(config.bond.peer);
  out.through_bond = config.through_bond;
  out.masquerade = config.masquerade;
  for (const model::Forward& forward : config.forwards) {
    const std::uint16_t port = forward.to_port.value_or(forward.port).first;
    out.services.push_back({forward.proto, {port, port}, forward.to, std::nullopt});
  }
  return out;
}

std::vector<Found> compare(const PeerSettings& ours, const PeerSettings& theirs, bool session_keys) {
  std::vector<Found> out;
  if (ours.role == theirs.role) {
    out.push_back(about(Code::kRolesEqual, {.ours = ours.role}));
    return out;
  }
  // A key that one end does not know of is not compared: that end may be older.
  for (const auto& [key, value] : ours.same) {
    const auto other = theirs.same.find(key);
    if (other != theirs.same.end() && other->second != value)
      out.push_back(about(is_format(key, session_keys) ? Code::kFormatDiffers : Code::kSettingDiffers,
                          {.key = key, .ours = value, .theirs = other->second}));
  }
  compare_ends(ours, theirs, out);
  compare_wans(ours, theirs, out);
  const bool office = ours.role == "client";
  compare_ways(office ? ours : theirs, office ? theirs : ours, out);
  return out;
}

}  // namespace bondd::problems

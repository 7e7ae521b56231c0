#include "bondd/plan/processes.h"

#include <fmt/format.h>

#include <algorithm>

#include "bondd/model/ownership.h"
#include "bondd/plan/exits.h"
#include "bondd/plan/routing.h"
#include "bondd/plan/servers.h"
#include "openvpn-profiles/profile.h"

namespace bondd::plan {
namespace {

using model::Config;
using model::Facts;
using model::Role;

constexpr std::uint32_t kPppoeMtu = 1492;
constexpr std::size_t kMaxSocketPath = 107;  // sun_path in unix(7), less its 0
constexpr std::uint32_t kUdpHeader = 8;
// QUIC needs 1228 (RFC 9000, 14.1), IPv6 1280: a bond that carries less is worth less than a line that long
// packets do not take.
constexpr std::uint32_t kLeastInside = 1280;
constexpr std::uint32_t kMlvpnHeader = 28, kMlvpnMac = 16, kEthernetHeader = 14;  // mlvpn/core/wire.h

openvpn::Auth auth(const Config& config) {
  return config.openvpn.auth == model::OpenVpnAuth::kTls ? openvpn::Auth::kTls : openvpn::Auth::kStaticKey;
}

openvpn::Version version(const Facts& facts) {
  return {2, facts.openvpn_minor, 0};
}

// IPv6 if any tunnel's is: its headers are the longer ones.
Family outer_family(const Config& config, const Facts& facts) {
  if (facts.server_addresses.empty()) return Family::kIpv4;
  const bool all_ipv4 = config.role == Role::kServer
                            ? facts.server_addresses.front().is_v4()
                            : std::all_of(config.wans.begin(), config.wans.end(), [&](const model::Wan& wan) {
                                return server_of(wan, facts).is_v4();
                              });
  return all_ipv4 ? Family::kIpv4 : Family::kIpv6;
}

std::uint32_t line_mtu(const model::Wan& wan, const Config& config, const Facts& facts) {
  if (wan.mtu) return *wan.mtu;
  std::uint32_t mtu = kPppoeMtu;
  if (config.role == Role::kServer) return mtu;
  const Exit exit = find_exit(wan, facts.network);
  for (const netlink::Link& link : facts.network.links) {
    if (link.name == exit.device && link.mtu) mtu = std::min(mtu, *link.mtu);
  }
  return mtu;
}

std::uint32_t mlvpn_mtu(std::uint32_t line, const Config& config, Family outer) {
  const std::uint32_t ip = outer == Family::kIpv4 ? 20 : 40;
  // Between two bondd clear data has a MAC, too.
  const bool bare = config.mlvpn.cleartext_data && config.mlvpn.peer == model::MlvpnPeer::kMlvpn;
  return line - ip - kUdpHeader - kMlvpnHeader - (bare ? 0 : kMlvpnMac) -
         (config.mlvpn.tap ? kEthernetHeader : 0);
}

openvpn::Profile profile(const Config& config, const Facts& facts, const Tunnel& tunnel, std::uint32_t mtu) {
  openvpn::Profile out;
  const model::Wan& wan = config.wans[tunnel.wan - 1];
  out.auth = auth(config);
  out.device = model::tap_name(facts.slot, wan.name, tunnel.instance);
  out.mtu = mtu;
  out.static_key = config.openvpn.static_key;
  out.private_key = config.openvpn.private_key;
  out.certificate = config.openvpn.certificate;
  out.peer_fingerprint = config.openvpn.peer_fingerprint;
  out.tls_crypt = model::tls_crypt_file(config.openvpn, facts.run_dir);
  out.user = facts.unprivileged_user;
  out.group = facts.unprivileged_group;
  if (config.role == Role::kServer) {
    out.role = openvpn::Role::kServer;
    out.family = outer_family(config, facts);
    if (!facts.server_addresses.empty()) out.local = facts.server_addresses.front();
    out.local_port = tunnel.port;
    out.fwmark = server_mark(config, facts.slot);
  } else {
    out.role = openvpn::Role::kClient;
    out.local = wan.bind;
    out.remote = server_of(wan, facts);
    out.family = out.remote->family();
    out.remote_port = tunnel.port;
    out.fwmark = model::tunnel_mark(config.mark_mask, facts.slot, tunnel.wan);
  }
  return out;
}

// openvpn cuts a longer path without a word, and is out of reach then.
Result<> check_socket_path(const std::filesystem::path& path) {
  if (path.native().size() <= kMaxSocketPath) return {};
  return failure(fmt::format("{}: the path has {} bytes, a socket's at most {}; use a shorter --run-dir",
                             path.native(), path.native().size(), kMaxSocketPath));
}

}  // namespace

std::uint32_t bond_mtu(const Config& config, const Facts& facts) {
  if (config.bond.mtu) return *config.bond.mtu;
  const Family outer = outer_family(config, facts);
  std::uint32_t line = kPppoeMtu;
  bool first = true;
  for (const model::Wan& wan : config.wans) {
    std::uint32_t mtu = line_mtu(wan, config, facts);
    // A line that loses long packets carries nothing of a bond whose packets are longer.
    const auto measured = facts.path_mtu.find(wan.name);
    if (measured != facts.path_mtu.end() && mlvpn_mtu(measured->second, config, outer) >= kLeastInside)
      mtu = std::min(mtu, measured->second);
    line = first ? mtu : std::min(line, mtu);
    first = false;
  }
  return config.backend == model::Backend::kOpenVpnBond
             ? openvpn::tunnel_mtu(line, auth(config), outer, version(facts))
             : mlvpn_mtu(line, config, outer);
}

Result<std::vector<model::Process>> plan_processes(const Config& config, const Facts& facts,
                                                   const std::vector<Tunnel>& tunnels, std::uint32_t mtu) {
  std::vector<model::Process> out;
  if (config.role == Role::kClient && facts.server_addresses.empty()) return out;
  for (const Tunnel& tunnel : tunnels) {
    openvpn::Profile wanted = profile(config, facts, tunnel, mtu);
    model::Process process;
    process.id = fmt::format("openvpn-{}", tunnel.id);
    process.wan = config.wans[tunnel.wan - 1].name;
    process.tunnel = wanted.device;
    process.management_socket = facts.run_dir / fmt::format("{}.management", process.tunnel);
    if (auto fits = check_socket_path(process.management_socket); !fits)
      return tl::make_unexpected(fits.error());
    wanted.management_socket = process.management_socket;
    const auto text = openvpn::render(wanted, version(facts));
    if (!text) return tl::make_unexpected(text.error().in(process.wan));
    const std::filesystem::path file = facts.run_dir / fmt::format("{}.conf", process.id);
    process.files = {model::File{file, *text, 0600}};
    process.argv = {facts.openvpn, "--config", file};
    out.push_back(std::move(process));
  }
  return out;
}

}  // namespace bondd::plan

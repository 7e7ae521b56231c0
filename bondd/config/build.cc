// Sections -> model::Config. Nothing is reported here.
#include "bondd/config/check.h"

namespace bondd::config {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr Duration kArpInterval = 300ms;  // the recipe's

// Writes the key's value, if it has one, to `out`.
template <typename T, typename Out>
void put(const Section& section, std::string_view key, Out& out) {
  if (auto value = section.get<T>(key)) out = *std::move(value);
}

std::optional<std::uint32_t> small_number(const Section& section, std::string_view key) {
  const auto value = section.get<std::int64_t>(key);
  return value ? std::optional(static_cast<std::uint32_t>(*value)) : std::nullopt;
}

// A relative path starts beside the site's file.
fs::path file_of(const Section& section, std::string_view key, const fs::path& site_file) {
  const auto text = section.get<std::string>(key);
  return text ? (site_file.parent_path() / fs::path(*text)).lexically_normal() : fs::path{};
}

model::Protocol protocol_of(const Section& section) {
  return section.get<std::string>("proto") == "udp" ? model::Protocol::kUdp : model::Protocol::kTcp;
}

model::Bond build_bond(const Section& section) {
  model::Bond bond;
  bond.interface = section.get<std::string>("interface").value_or("bond0");
  put<IpPrefix>(section, "address", bond.address);
  put<IpAddress>(section, "peer", bond.peer);
  if (section.get<std::string>("mode") == "balance-xor") bond.mode = netlink::BondMode::kBalanceXor;
  const auto policy = section.get<std::string>("xmit_hash_policy");
  if (policy == "layer2+3") bond.hash_policy = netlink::HashPolicy::kLayer23;
  if (policy == "layer3+4") bond.hash_policy = netlink::HashPolicy::kLayer34;
  bond.arp_interval = section.get<Duration>("arp_interval").value_or(kArpInterval);
  bond.mtu = small_number(section, "mtu");
  const auto from = section.get<std::string>("from_bond");
  if (from == "replies") bond.from_bond = model::FromBond::kReplies;
  if (from == "all") bond.from_bond = model::FromBond::kAll;
  return bond;
}

model::Wan build_wan(const Section& section) {
  model::Wan wan;
  put<std::string>(section, "name", wan.name);
  put<std::string>(section, "device", wan.device);
  wan.gateway = section.get<IpAddress>("gateway");
  wan.port = static_cast<std::uint16_t>(section.get<std::int64_t>("port").value_or(0));
  wan.upload = section.get<Rate>("upload");
  wan.download = section.get<Rate>("download");
  wan.weight = section.get<double>("weight");
  wan.mtu = small_number(section, "mtu");
  wan.bind = section.get<IpAddress>("bind");
  put<bool>(section, "fallback_only", wan.fallback_only);
  wan.timeout = section.get<Duration>("timeout");
  wan.loss_tolerance = section.get<double>("loss_tolerance");
  wan.latency_tolerance = section.get<Duration>("latency_tolerance");
  return wan;
}

model::OpenVpn build_openvpn(const Section& section, const fs::path& file, std::string_view site) {
  model::OpenVpn openvpn;
  if (section.get<std::string>("auth") == "static-key") {
    openvpn.auth = model::OpenVpnAuth::kStaticKey;
    openvpn.static_key = file_of(section, "key", file);
    return openvpn;
  }
  openvpn.private_key = file_of(section, "key", file);
  openvpn.certificate = file_of(section, "certificate", file);
  const fs::path beside = file.parent_path();
  if (openvpn.private_key.empty()) openvpn.private_key = beside / (std::string(site) + ".key");
  if (openvpn.certificate.empty()) openvpn.certificate = beside / (std::string(site) + ".crt");
  put<std::string>(section, "fingerprint", openvpn.peer_fingerprint);
  if (section.get<std::string>("tls_crypt") == "off") {
    openvpn.tls_crypt = model::TlsCrypt::kOff;
  } else if (section.get<std::string>("tls_crypt")) {
    openvpn.tls_crypt = model::TlsCrypt::kFile;
    openvpn.tls_crypt_file = file_of(section, "tls_crypt", file);
  }
  return openvpn;
}

model::Mlvpn build_mlvpn(const Section& section, const fs::path& file) {
  model::Mlvpn mlvpn;
  mlvpn.password_file = file_of(section, "password_file", file);
  put<bool>(section, "cleartext_data", mlvpn.cleartext_data);
  mlvpn.tap = section.get<std::string>("tuntap") == "tap";
  put<Duration>(section, "timeout", mlvpn.timeout);
  mlvpn.reorder = small_number(section, "reorder");  // "auto" is none
  mlvpn.loss_tolerance = section.get<double>("loss_tolerance");
  mlvpn.latency_tolerance = section.get<Duration>("latency_tolerance");
  if (section.get<std::string>("repair") == "off") mlvpn.repair = model::Repair::kOff;
  const auto peer = section.get<std::string>("peer");
  if (peer == "bondd") mlvpn.peer = model::MlvpnPeer::kBondd;
  if (peer == "mlvpn") mlvpn.peer = model::MlvpnPeer::kMlvpn;
  mlvpn.key_file = file_of(section, "key_file", file);
  // Who has the password may say that it is the original program, which has no keys.
  if (!mlvpn.key_file.empty() && mlvpn.peer == model::MlvpnPeer::kAuto) mlvpn.peer = model::MlvpnPeer::kBondd;
  return mlvpn;
}

model::Failover build_failover(const Section& section) {
  model::Failover failover;
  put<bool>(section, "direct", failover.direct);
  put<Duration>(section, "after", failover.after);
  if (section.get<std::string>("running") == "reset") failover.running = model::Running::kReset;
  return failover;
}

model::Hooks build_hooks(const Section& section, const fs::path& file) {
  model::Hooks hooks;
  hooks.run = file_of(section, "run", file);
  put<Duration>(section, "timeout", hooks.timeout);
  hooks.loss_above = section.get<double>("loss_above");
  hooks.latency_above = section.get<Duration>("latency_above");
  return hooks;
}

model::Web build_web(const Section& section, const fs::path& file) {
  model::Web web;
  if (const auto listen = section.get<Target>("listen")) {
    web.address = listen->address;
    web.port = listen->port->first;
  }
  web.token_file = file_of(section, "token_file", file);
  return web;
}

model::Policy build_policy(const Section& section) {
  model::Policy policy;
  put<std::string>(section, "name", policy.name);
  put<std::string>(section, "wan", policy.wan);
  for (const Section& entry : matches_of(section)) {
    model::Match match;
    match.proto = protocol_of(entry);
    match.dport = entry.get<model::PortRange>("dport");
    match.sport = entry.get<model::PortRange>("sport");
    match.source = entry.get<IpPrefix>("source");
    match.destination = entry.get<IpPrefix>("destination");
    policy.matches.push_back(match);
  }
  return policy;
}

model::Forward build_forward(const Section& section) {
  model::Forward forward;
  forward.proto = protocol_of(section);
  put<model::PortRange>(section, "port", forward.port);
  if (const auto target = section.get<Target>("to")) {
    forward.to = target->address;
    forward.to_port = target->port;
  }
  return forward;
}

}  // namespace

model::Config build(const Sections& sections, const fs::path& file, std::string_view site) {
  model::Config config;
  config.site = site;
  config.file = file;
  config.role = sections.side == Side::kServer ? model::Role::kServer : model::Role::kClient;
  const auto backend = sections.root.get<std::string>("backend");
  config.backend = backend == "mlvpn" ? model::Backend::kMlvpn : model::Backend::kOpenVpnBond;
  put<std::string>(sections.server, "address", config.server.address);
  config.bond = build_bond(sections.bond);
  for (const Section& wan : sections.wans) config.wans.push_back(build_wan(wan));
  put<std::vector<IpPrefix>>(sections.routes, "through_bond", config.through_bond);
  config.mark_mask = small_number(sections.marks, "mask").value_or(model::kDefaultMarkMask);
  config.openvpn = build_openvpn(sections.openvpn, file, site);
  config.mlvpn = build_mlvpn(sections.mlvpn, file);
  config.failover = build_failover(sections.failover);
  config.hooks = build_hooks(sections.hooks, file);
  config.web = build_web(sections.web, file);
  for (const Section& policy : sections.policies) config.policies.push_back(build_policy(policy));
  put<std::vector<std::string>>(sections.nat, "masquerade", config.masquerade);
  for (const Section& forward : sections.forwards) config.forwards.push_back(build_forward(forward));
  return config;
}

}  // namespace bondd::config

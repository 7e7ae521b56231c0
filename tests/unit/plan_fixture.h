// The two example sites and a machine each, as values.
#pragma once

#include "bondd/model/config.h"
#include "bondd/model/ownership.h"
#include "bondd/model/state.h"
#include "tests/support/sysctls.h"

namespace bondd::plan::testing {

inline IpAddress ip(const char* text) {
  return parse_ip(text).value();
}
inline IpPrefix prefix(const char* text) {
  return parse_prefix(text).value();
}

inline model::Config office() {
  model::Config c;
  c.site = "office";
  c.file = "/etc/bondd/office.toml";
  c.role = model::Role::kClient;
  c.server.address = "203.0.113.10";
  c.bond = {"bond0",
            prefix("172.16.16.2/30"),
            ip("172.16.16.1"),
            netlink::BondMode::kBalanceRr,
            netlink::HashPolicy::kLayer2,
            std::chrono::milliseconds(300),
            std::nullopt};
  model::Wan ovh, orange;
  ovh.name = "ovh";
  ovh.device = "eth0";
  ovh.gateway = ip("192.168.1.240");
  ovh.port = 1194;
  orange.name = "orange";
  orange.device = "eth0";
  orange.gateway = ip("192.168.1.254");
  orange.port = 1196;
  c.wans = {ovh, orange};
  c.through_bond = {prefix("0.0.0.0/0")};
  c.openvpn.auth = model::OpenVpnAuth::kStaticKey;
  c.openvpn.static_key = "/etc/bondd/bond.key";
  c.mlvpn.password_file = "/etc/bondd/bond.password";
  model::Match tcp, udp;
  tcp.dport = model::PortRange{6112, 6112};
  udp.proto = model::Protocol::kUdp;
  udp.dport = model::PortRange{27000, 30000};
  c.policies = {{"games", "orange", {tcp, udp}}};
  return c;
}

inline model::Config vps() {
  model::Config c = office();
  c.site = "vps";
  c.file = "/etc/bondd/vps.toml";
  c.role = model::Role::kServer;
  c.bond.address = prefix("172.16.16.1/30");
  c.bond.peer = ip("172.16.16.2");
  for (model::Wan& wan : c.wans) {
    wan.device.clear();
    wan.gateway.reset();
  }
  c.through_bond = {prefix("192.168.1.0/24")};
  c.policies.clear();
  c.masquerade = {"eth0"};
  c.forwards = {{model::Protocol::kTcp, {80, 80}, ip("172.16.16.2"), model::PortRange{80, 80}}};
  return c;
}

inline netlink::Link ethernet(const char* name) {
  netlink::Link link;
  link.name = name;
  link.up = true;
  link.mtu = 1500;
  return link;
}

inline netlink::Route default_via(const char* gateway, const char* device) {
  netlink::Route route;
  route.destination = prefix("0.0.0.0/0");
  route.gateway = ip(gateway);
  route.device = device;
  route.protocol = 4;  // RTPROT_STATIC
  return route;
}

inline model::Facts common_facts(const std::string& site) {
  model::Facts f;
  f.network.links = {ethernet("eth0")};
  f.server_addresses = {ip("203.0.113.10")};
  f.unprivileged_uid = 65534;
  f.unprivileged_user = "nobody";
  f.unprivileged_group = "nogroup";
  f.run_dir = "/run/bondd/" + site;
  f.openvpn = "/usr/sbin/openvpn";
  f.sysctls = bondd::testing::fresh_sysctls();
  return f;
}

inline model::Facts office_facts() {
  model::Facts f = common_facts("office");
  f.network.addresses = {{"eth0", prefix("192.168.1.252/24"), std::nullopt}};
  f.network.routes = {default_via("192.168.1.240", "eth0")};
  return f;
}

inline model::Facts vps_facts() {
  model::Facts f = common_facts("vps");
  f.network.addresses = {{"eth0", prefix("203.0.113.10/24"), std::nullopt}};
  f.network.routes = {default_via("203.0.113.1", "eth0")};
  return f;
}

}  // namespace bondd::plan::testing

// A machine for the check of site files: an office's devices (or a VPS's), some key files, and
// whatever a test adds.
#pragma once

#include <cerrno>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "bondd/config/config.h"

namespace bondd::test {

struct FakeFile {
  std::string content;
  std::uint32_t permissions = 0600;
  bool regular = true;
  bool readable = true;
};

inline const std::string kStaticKey =
    "-----BEGIN OpenVPN Static key V1-----\n00\n-----END OpenVPN Static key V1-----\n";

class FakeMachine final : public config::CheckContext {
 public:
  std::map<std::filesystem::path, FakeFile> files{
      {"/etc/bondd/bond.key", {kStaticKey}},
      {"/etc/bondd/bond.password", {"correct horse battery staple\n"}},
      {"/etc/bondd/open.key", {kStaticKey, 0644}},
      {"/etc/bondd/empty.key", {""}},
      {"/etc/bondd/odd.key", {"what is this\n"}},
      {"/etc/bondd/private.key", {kStaticKey, 0600, true, false}},
      {"/etc/bondd/directory", {"", 0700, false}},
      {"/etc/bondd/web.token", {"0123456789abcdef\n"}},
      {"/etc/bondd/short.password", {"abc\n"}},
      {"/etc/bondd/bom.password",
       {"\xef\xbb\xbf"
        "correct horse battery staple\n"}},
      {"/etc/bondd/utf16.password",
       {std::string("\xff\xfe"
                    "c\0o\0r\0r\0e\0c\0t\0\n\0",
                    18)}},
      {"/etc/bondd/utf16-bare.password", {std::string("c\0o\0r\0r\0e\0c\0t\0\n\0", 16)}},
      {"/etc/bondd/genkey.password",
       {"#\n# 2048 bit OpenVPN static key\n#\n-----BEGIN OpenVPN Static key V1-----\n"}},
      {"/etc/bondd/quoted.password", {"\"correct horse battery staple\"\n"}},
      {"/etc/bondd/odd.password", {"Pferdäpfel stapeln wir nicht \n"}},
      {"/etc/bondd/blank.password", {"  \nsecond line\n"}},
      {"/etc/bondd/tls.key", {"-----BEGIN PRIVATE KEY-----\n"}},
      {"/etc/bondd/tls.crt", {"-----BEGIN CERTIFICATE-----\n", 0644}},
  };
  netlink::Snapshot machine_network = office_network();
  bool knows_network = true;

  static FakeMachine vps() {
    FakeMachine machine;
    machine.machine_network = vps_network();
    return machine;
  }

  static IpPrefix prefix(std::string_view text) { return parse_prefix(text).value(); }

  [[nodiscard]] Result<FileFacts> stat(const std::filesystem::path& file) const override {
    const auto found = files.find(file);
    if (found == files.end()) return errno_failure(file.string(), ENOENT);
    return FileFacts{found->second.regular, found->second.permissions, found->second.content.size()};
  }
  [[nodiscard]] Result<std::string> read(const std::filesystem::path& file,
                                         std::size_t limit) const override {
    const auto found = files.find(file);
    if (found == files.end()) return errno_failure(file.string(), ENOENT);
    if (!found->second.readable) return errno_failure(file.string(), EACCES);
    return found->second.content.substr(0, limit);
  }
  [[nodiscard]] std::optional<netlink::Snapshot> network() const override {
    return knows_network ? std::optional(machine_network) : std::nullopt;
  }

  [[nodiscard]] std::string device_with_altname(const std::string& name) const override {
    const auto found = altnames.find(name);
    return found == altnames.end() ? "" : found->second;
  }
  std::map<std::string, std::string> altnames;
  [[nodiscard]] std::vector<Listener> listeners() const override { return machine_listeners; }
  std::vector<Listener> machine_listeners{
      {model::Protocol::kTcp, 22}, {model::Protocol::kTcp, 443}, {model::Protocol::kUdp, 1194}};

  // A device that is up, with these addresses in place of those it had.
  void set_device(const std::string& name, const std::vector<std::string>& addresses,
                  const std::optional<std::string>& peer = std::nullopt) {
    set_device(machine_network, name, addresses, peer);
  }
  static void set_device(netlink::Snapshot& network, const std::string& name,
                         const std::vector<std::string>& addresses,
                         const std::optional<std::string>& peer = std::nullopt) {
    std::erase_if(network.links, [&](const netlink::Link& link) { return link.name == name; });
    std::erase_if(network.addresses, [&](const netlink::Address& address) { return address.device == name; });
    netlink::Link link;
    link.name = name;
    link.up = true;
    network.links.push_back(link);
    network.facts[name].point_to_point = peer.has_value();
    for (const std::string& address : addresses) {
      network.addresses.push_back(
          {name, prefix(address), peer ? std::optional(parse_ip(*peer).value()) : std::nullopt});
    }
  }

  static void add_default_route(netlink::Snapshot& network, const std::string& gateway,
                                const std::string& device, std::uint32_t metric = 0) {
    netlink::Route route;
    route.destination = prefix("0.0.0.0/0");
    route.gateway = parse_ip(gateway).value();
    route.device = device;
    route.metric = metric;
    network.routes.push_back(route);
  }

  static netlink::Snapshot vps_network() {
    netlink::Snapshot network;
    set_device(network, "lo", {"127.0.0.1/8"});
    set_device(network, "eth0", {"203.0.113.10/24"});
    add_default_route(network, "203.0.113.1", "eth0");
    return network;
  }

  static netlink::Snapshot office_network() {
    netlink::Snapshot network;
    set_device(network, "lo", {"127.0.0.1/8"});
    set_device(network, "eth0", {"192.168.1.252/24", "2001:db8::252/64"});
    add_default_route(network, "192.168.1.240", "eth0");
    set_device(network, "eth1", {"192.168.8.100/24"});
    add_default_route(network, "192.168.8.1", "eth1", 200);
    set_device(network, "ppp0", {"198.51.100.7/32"}, "198.51.100.1");
    set_device(network, "wlan0", {});
    return network;
  }
};

}  // namespace bondd::test

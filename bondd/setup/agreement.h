// What `bondd init` and `bondd join` work with, as plain values.
//
//   init:  what the machine has -> Agreement -> this end's files
//                                     |
//                                   token, one line, pasted on the other machine
//                                     |
//   join:                          Agreement -> that end's files
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bondd/base/ip.h"
#include "bondd/model/config.h"

namespace bondd::setup {

// One line as both files name it.
struct Line {
  std::string name;
  std::uint16_t port = 0;  // UDP, at the VPS
  auto operator<=>(const Line&) const = default;
};

// What both ends must agree on, without secrets.
struct Agreement {
  model::Backend backend = model::Backend::kMlvpn;
  std::string server;  // how the office reaches the VPS: an address or a host name
  std::vector<Line> lines;
  IpPrefix bond;               // the VPS has its first address, the office its second
  std::vector<IpPrefix> lans;  // the office's networks
  auto operator<=>(const Agreement&) const = default;
};

// Where a line leaves the office.
struct Exit {
  std::string device;
  std::optional<IpAddress> gateway;  // none: bondd learns it from the device's routes
  auto operator<=>(const Exit&) const = default;
};

// What one end alone knows of itself.
struct OfficeEnd {
  std::string site;
  std::string interface = "bond0";
  std::vector<Exit> exits;  // one per line of the agreement, in its order
};
struct ServerEnd {
  std::string site;
  std::string interface = "bond0";
  std::string internet_device;  // traffic of the office leaves here, with this device's address
};

// One end's secrets. mlvpn: the password of both, and the file of this end's key pair
// (mlvpn/session/key_pair.h). openvpn-bond: this end's key and certificate (PEM), and the fingerprint of the
// other's certificate.
struct Credentials {
  std::string password, key_pair;
  std::string private_key, certificate, peer_fingerprint;
  auto operator<=>(const Credentials&) const = default;
};

IpAddress server_address(const IpPrefix& bond);
IpAddress office_address(const IpPrefix& bond);

}  // namespace bondd::setup

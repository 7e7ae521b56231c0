// Asks a LAN which of its hosts are gateways, and whether the line behind each leads on. frames.h has the
// packets.
#pragma once

#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/ip.h"

namespace bondd::setup {

struct Gateway {
  IpAddress address;
  bool leads_on = false;  // an answer came from beyond it
  auto operator<=>(const Gateway&) const = default;
};

constexpr int kSmallestPrefix = 22;  // 1022 addresses: more are not asked

// The gateways in the network of `device`, an Ethernet device with `own` address there, and those of `known`
// that are there at all; `target` is an IPv4 address beyond them, the VPS. A network that is larger than
// kSmallestPrefix or not of private use is not searched, only `known` is asked. Blocks for about 2 s. EPERM
// without CAP_NET_RAW.
Result<std::vector<Gateway>> probe_gateways(const std::string& device, const IpPrefix& own,
                                            const IpAddress& target, const std::vector<IpAddress>& known);

}  // namespace bondd::setup

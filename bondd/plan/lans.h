// Which networks are those of the office's computers, as far as the kernel tells. Pure.
#pragma once

#include <set>
#include <string_view>
#include <vector>

#include "bondd/model/config.h"
#include "netlink/rtnl.h"

namespace bondd::plan {

// Whether a device of that name leads to containers, virtual machines or another tunnel: to no line and no
// LAN.
bool is_inner_device(std::string_view name);

// Whether all of the network is of private use: RFC 1918, 6598 (carriers' NAT) and 2544 (tests).
bool is_private(const IpPrefix& network);

// The networks of this office's computers: those of devices that lead to no gateway (or, when everything is
// on one LAN, of the gateways' device), in which a host was met, and those behind a router of the LAN.
// `hosts` has the addresses that answered ARP or asked by it: a network where nobody but a gateway was ever
// met may be that of a modem. In the order of the addresses, then of the routes.
std::vector<IpPrefix> lan_networks(const model::Config& config, const netlink::Snapshot& network,
                                   const std::set<IpAddress>& hosts);

}  // namespace bondd::plan

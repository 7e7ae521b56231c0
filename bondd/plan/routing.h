// Routes and rules: each tunnel by its own box, steered traffic by the chosen box,
// the rest into the bond, answers back the way the question came.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/model/config.h"
#include "bondd/model/state.h"

namespace bondd::plan {

// How a WAN leaves this machine.
struct Exit {
  std::string device;                // empty: not known
  std::optional<IpAddress> gateway;  // none: point-to-point, or not known (see `known`)
  std::optional<IpPrefix> network;   // the device's network that holds the gateway
  std::optional<IpAddress> source;   // the device's address in it
  bool known = false;                // a default route can be written
};

// From the file where it says so, else learned from the device's default routes (DHCP, PPP)
// that are not bondd's own.
Exit find_exit(const model::Wan& wan, const netlink::Snapshot& network);

// The networks on this side of the gateways that are reached by `device`, or by any but the bond if that
// is empty: its own, and those behind a router of the LAN. Sorted.
std::vector<IpPrefix> inside_networks(const model::Config& config, const netlink::Snapshot& network,
                                      std::string_view device);

// The number of the WAN whose gateway is that of the main table's default route by `device`.
std::optional<unsigned> default_wan(const model::Config& config, const netlink::Snapshot& network,
                                    std::string_view device);

struct Routing {
  std::vector<netlink::Route> routes;
  std::vector<netlink::Rule> rules;
};
Routing plan_routing(const model::Config& config, const model::Facts& facts);

}  // namespace bondd::plan

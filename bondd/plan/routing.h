// Routes and rules: each tunnel by its own gateway, steered traffic by the chosen one,
// the rest into the bond, answers back the way the question came.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bondd/model/config.h"
#include "bondd/model/state.h"

namespace bondd::plan {

struct Routing {
  std::vector<netlink::Route> routes;
  std::vector<netlink::Rule> rules;
};
Routing plan_routing(const model::Config& config, const model::Facts& facts);

// Whether the networks of `device` are its gateway's choice, by DHCP: the file names it for a WAN, and the
// LAN is elsewhere. They may be others tomorrow, and the file takes precedence over them.
bool is_from_a_gateway(const model::Config& config, const netlink::Snapshot& network,
                       const std::string& device);

// The mark of a server's tunnels' own packets, which never go into the bond: the office's outer addresses may
// lie in a through_bond network. 0, none, when [marks] mask has no room for the slot.
std::uint32_t server_mark(const model::Config& config, unsigned slot);

}  // namespace bondd::plan

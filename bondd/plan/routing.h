// Routes and rules: each tunnel by its own box, steered traffic by the chosen box,
// the rest into the bond, answers back the way the question came.
#pragma once

#include <optional>
#include <string>
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

struct Routing {
  std::vector<netlink::Route> routes;
  std::vector<netlink::Rule> rules;
};
Routing plan_routing(const model::Config& config, const model::Facts& facts);

}  // namespace bondd::plan

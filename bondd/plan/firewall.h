// The firewall of a site: marks for steering, NAT, forwarded services, ports.
#pragma once

#include "bondd/model/config.h"
#include "bondd/model/state.h"
#include "bondd/plan/tunnels.h"
#include "rules/firewall.h"

namespace bondd::plan {

// Rules are in the words in which iptables-save gives them back, so that what is
// there can be compared with what is wanted.
rules::Firewall plan_firewall(const model::Config& config, const model::Facts& facts,
                              const std::vector<Tunnel>& tunnels);

// The device by which a WAN leaves: the file's, else that of its gateway's network,
// else that of the default route. Empty: not known.
std::string wan_device(const model::Wan& wan, const netlink::Snapshot& network);

}  // namespace bondd::plan

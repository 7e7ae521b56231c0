// The openvpn processes of a site, and the MTU that lets nothing be fragmented outside.
#pragma once

#include <vector>

#include "bondd/base/error.h"
#include "bondd/model/config.h"
#include "bondd/model/state.h"
#include "bondd/plan/tunnels.h"

namespace bondd::plan {

// The MTU of the bond: the largest whose packets outside fit every line, or the
// file's. A line is taken to carry 1492 bytes (PPPoE, RFC 2516) unless the file says
// otherwise or its device carries less: nothing on this machine shows what is behind the gateway.
std::uint32_t bond_mtu(const model::Config& config, const model::Facts& facts);

// One process per tunnel. Fails, in words for the admin, when this openvpn cannot do what
// the file asks for. A client without an address of its server has no process yet.
Result<std::vector<model::Process>> plan_processes(const model::Config& config, const model::Facts& facts,
                                                   const std::vector<Tunnel>& tunnels, std::uint32_t mtu);

}  // namespace bondd::plan

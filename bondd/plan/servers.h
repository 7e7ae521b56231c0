// Which of the server's addresses a WAN of an office may use. One rule for plan, check, up and the
// running site.
#pragma once

#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/model/config.h"
#include "bondd/model/state.h"

namespace bondd::plan {

// Those of the family of the WAN's `bind`, else the IPv4 ones, since WANs are led to their gateways by IPv4;
// all if there are none such. In the order given.
std::vector<IpAddress> server_candidates(const model::Wan& wan, const std::vector<IpAddress>& addresses);

// Where this WAN finds the server: as chosen at run time, else the first candidate. Needs an address.
IpAddress server_of(const model::Wan& wan, const model::Facts& facts);

// No machine has this address: 0.0.0.0/8, and all from multicast (224.0.0.0) on, broadcast with it. Filters
// of name servers answer 0.0.0.0 or "::".
bool is_no_host(const IpAddress& address);

// Why the office's server cannot be at `address`: "this machine's own address (on eth0)". Empty: it can.
std::string unfit_server(const model::Config& config, const IpAddress& address,
                         const netlink::Snapshot& network);

// Of what the server's address in the file resolves to, those where it can be, in that order. Fails with the
// first one and its reason when there are none.
Result<std::vector<IpAddress>> fit_servers(const model::Config& config,
                                           const std::vector<IpAddress>& resolved,
                                           const netlink::Snapshot& network);

}  // namespace bondd::plan

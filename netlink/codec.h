// Values of netlink/values.h to and from rtnetlink messages. Only for this directory's .cc files.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "netlink/message.h"
#include "netlink/rtnl.h"

namespace bondd::netlink {

// A device as the kernel tells it; names of masters are known when all are read.
struct KernelLink {
  Link link;
  LinkFacts facts;
  int master_index = 0;
};
std::optional<KernelLink> parse_link(const nlmsghdr* message);

// link.cc: attributes of `wanted` that differ from `current` (all of them without one).
// False if nothing differs.
bool put_link_changes(Message& message, const Link& wanted, const Link* current);

// bond.cc: IFLA_LINKINFO of a bond, and back. `current`: only what differs from it.
void put_bond(Message& message, const BondOptions& wanted, const BondOptions* current);
BondOptions parse_bond(const Attributes& data);

using DeviceNames = std::map<int, std::string>;  // by interface index

// Empty for what Snapshot leaves out (see there) and what the values cannot say.
std::optional<Address> parse_address(const nlmsghdr* message, const DeviceNames& names);
std::optional<Route> parse_route(const nlmsghdr* message, const DeviceNames& names);
std::optional<Neighbour> parse_neighbour(const nlmsghdr* message, const DeviceNames& names);
std::optional<Rule> parse_rule(const nlmsghdr* message);

// `device`: the interface index, 0 when there is none.
void put_address_message(Message& message, const Address& address, int device);
void put_route(Message& message, const Route& route, int device);
void put_rule(Message& message, const Rule& rule);

}  // namespace bondd::netlink

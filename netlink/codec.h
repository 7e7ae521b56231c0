// Values of netlink/values.h to and from rtnetlink messages. Only for this directory's .cc files.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

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

// Empty for what Snapshot leaves out (see there) and what the values cannot say. No rule of IPv4 or IPv6 is
// left out.
std::optional<Address> parse_address(const nlmsghdr* message, const DeviceNames& names);
std::optional<Neighbour> parse_neighbour(const nlmsghdr* message, const DeviceNames& names);
std::optional<Rule> parse_rule(const nlmsghdr* message);

// One leg of a route: where its packets go next.
struct NextHop {
  std::optional<IpAddress> gateway;
  int device = 0;  // 0: none, as of a blackhole
  bool onlink = false;
};
// nexthop.cc: the kernel's nexthop objects (ip nexthop) by id; a group has several legs. Routes name them
// instead of saying the legs when net.ipv4.nexthop_compat_mode is 0.
using NextHops = std::map<std::uint32_t, std::vector<NextHop>>;
void add_next_hop(const nlmsghdr* message, NextHops& hops);
// A group names its members, which may come later in a dump: call when all have been added.
void resolve_groups(NextHops& hops);

// A route with several legs (multipath) is several routes, dead legs left out.
std::vector<Route> parse_route(const nlmsghdr* message, const DeviceNames& names, const NextHops& hops);
// Whether it names a nexthop object without saying its legs.
bool needs_next_hops(const nlmsghdr* message);
// `device`: the interface index, 0 when there is none.
void put_address_message(Message& message, const Address& address, int device);
void put_route(Message& message, const Route& route, int device);
void put_rule(Message& message, const Rule& rule);

}  // namespace bondd::netlink

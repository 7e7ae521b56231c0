// What of this machine's network a bond needs: the lines to the Internet, the office's networks, a
// network for the bond itself. Pure: a snapshot in, proposals out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/setup/agreement.h"
#include "bondd/setup/gateway_probe.h"
#include "netlink/rtnl.h"

namespace bondd::setup {

// A default route of the main table, best metric first; one per device and gateway. A bondd's own
// interfaces, and those of containers, virtual machines and other tunnels, do not count.
std::vector<Exit> find_exits(const netlink::Snapshot& machine);

// The IPv4 networks of private use on this machine's devices that are no line to the Internet; if there is
// none, on those that are (two gateways on one LAN). In the order of the devices' names.
std::vector<IpPrefix> find_lans(const netlink::Snapshot& machine, const std::vector<Exit>& exits);

// 10/8, 172.16/12 and 192.168/16.
bool is_private(const IpAddress& address);

// The device's first IPv4 address with its network; a default prefix if it has none.
IpPrefix device_network(const netlink::Snapshot& machine, const std::string& device);

// A /30 that overlaps with no network of this machine and none of `lans`: 172.16.16.0/30, or the next free
// of 172.16.17.0 to 172.16.255.0.
std::optional<IpPrefix> propose_bond(const netlink::Snapshot& machine, const std::vector<IpPrefix>& lans);

// The network of this machine that overlaps with `wanted`, as "192.168.1.0/24 on eth1"; empty if none.
// The default route is no network.
std::string overlap(const netlink::Snapshot& machine, const IpPrefix& wanted);

// The first of bond0, bond1, … that no device of this machine has.
std::string propose_interface(const netlink::Snapshot& machine);

// The machine as it is without the interfaces of that site, which new files of it replace (a killed bondd
// leaves them).
netlink::Snapshot without_site(netlink::Snapshot machine, std::string_view site);

// Why this machine cannot be the end that a token for `role` is for; empty: nothing speaks against it.
std::string wrong_end(const netlink::Snapshot& machine, const Agreement& agreement, model::Role role);

// A line out of the office as it was found, or as --wan gives it, and how it answered.
struct FoundExit {
  Exit exit;
  enum class State { kNotTested, kLeadsOn, kStopsHere, kSilent } state = State::kNotTested;
  bool is_given = false;  // its gateway, by --wan or as the only way to know it: it is written down
  bool is_named = false;  // by --wan
};
// What a probe of `device` heard: the states of the exits there, the gateway of one that has none, and a new
// exit for each further gateway that leads on, behind the device's last one.
void add_gateways(std::vector<FoundExit>& exits, const std::string& device,
                  const std::vector<Gateway>& heard);
// A gateway that is the only one of its device is left out, so that a change by DHCP is followed.
std::vector<Exit> to_write(const std::vector<FoundExit>& exits);

// "eth0" or "eth0=192.168.1.254", as --wan takes it. Fails on what is neither.
Result<Exit> parse_exit(std::string_view text);

}  // namespace bondd::setup

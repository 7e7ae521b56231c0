// How each WAN leaves this machine: the file's device and gateway, completed by what the kernel has.
// Pure: the same answer for check, plan, up and the running site.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/model/config.h"
#include "netlink/rtnl.h"

namespace bondd::plan {

struct Exit {
  std::string device;                // empty: not known
  std::optional<IpAddress> gateway;  // none: the device needs none, or not known (see `waits`)
  std::optional<IpPrefix> network;   // the device's network that holds the gateway
  std::optional<IpAddress> source;   // the address of packets that leave here
  bool onlink = false;               // the gateway is in no network of the device, and is there all the same
  // Why no default route can be written now: "wan2 is down". Empty: one can. Every reason may end by
  // itself (a device, an address or a gateway comes), so the WAN waits and the others run.
  std::string waits;

  [[nodiscard]] bool known() const { return waits.empty(); }
};

// What the file leaves out is learned from the kernel, in this order:
//   a default route through the device in the main table, in table "default", in any other table
//   (DHCP clients that have one per device), routes to all parts of it (0.0.0.0/1 and 128.0.0.0/1, four /2),
//   a point-to-point device (PPP, LTE sticks in raw mode or without ARP, WireGuard), which needs no gateway,
//   the far end of an address that has one (`ip addr add OWN peer FAR`).
// Of several the lowest metric. Routes of bondd and through bondd's devices do not count.
Exit find_exit(const model::Wan& wan, const netlink::Snapshot& network);

// Two WANs that leave by one gateway, once all is learned: they are one line.
struct SharedExit {
  std::size_t wan = 0, other = 0;  // indexes into the file's WANs, other < wan
  Exit exit;
};
std::vector<SharedExit> shared_exits(const std::vector<model::Wan>& wans, const netlink::Snapshot& network);

// WANs that leave by two addresses of one device with one hardware address, in words: as a rule they are one
// modem-router. By the index of the later WAN.
std::vector<std::pair<std::size_t, std::string>> one_modem(const std::vector<model::Wan>& wans,
                                                           const netlink::Snapshot& network);

// The main table's routes to networks on this side of the gateways, by `device` or by any but the bond.
std::vector<netlink::Route> inside_routes(const model::Config& config, const netlink::Snapshot& network,
                                          std::string_view device);

// The networks on this side of the gateways that are reached by `device`, or by any but the bond if that
// is empty: its own, and those behind a router of the LAN. Sorted.
std::vector<IpPrefix> inside_networks(const model::Config& config, const netlink::Snapshot& network,
                                      std::string_view device);

// The number of the WAN whose gateway is that of the main table's default route by `device`.
std::optional<unsigned> default_wan(const model::Config& config, const netlink::Snapshot& network,
                                    std::string_view device);

// The interface of that name; null if there is none.
const netlink::Link* find_link(const netlink::Snapshot& network, std::string_view device);

// Whether a WAN of the file leaves by `device`.
bool is_wan_device(const model::Config& config, const netlink::Snapshot& network, std::string_view device);

// Where an office's LAN is: devices that are up with an IPv4 address, not lo, not bondd's, not a WAN's; when
// there are none, the WANs'.
std::vector<std::string> lan_devices(const model::Config& config, const netlink::Snapshot& network);

// The devices of the main table's IPv4 default routes that are not bondd's, each once; a server's ways to the
// Internet.
std::vector<std::string> internet_devices(const model::Config& config, const netlink::Snapshot& network);

// "192.168.1.254 on eth0", "ppp0".
std::string to_string(const Exit& exit);
// What to say of it, and what to do.
std::string one_line(const model::Config& config, const SharedExit& shared);

}  // namespace bondd::plan

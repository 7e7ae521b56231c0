// What rtnetlink(7) knows, as plain values: links, addresses, routes, rules.
// Devices are named, not numbered: a plan is made before its links exist.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/base/ip.h"
#include "bondd/base/units.h"

namespace bondd::netlink {

enum class LinkKind : std::uint8_t { kOther, kTap, kTun, kBond };

enum class BondMode : std::uint8_t { kBalanceRr = 0, kBalanceXor = 2 };            // linux/if_bonding.h
enum class HashPolicy : std::uint8_t { kLayer2 = 0, kLayer34 = 1, kLayer23 = 2 };  // BOND_XMIT_POLICY_*

struct BondOptions {
  BondMode mode = BondMode::kBalanceRr;
  HashPolicy hash_policy = HashPolicy::kLayer2;  // only balance-xor looks at it
  std::uint32_t arp_interval_ms = 0;             // 0: no ARP monitoring
  std::vector<IpAddress> arp_targets;            // IPv4, at most 16

  auto operator<=>(const BondOptions&) const = default;
};

// One network device. In a desired state an empty optional means "leave it".
struct Link {
  std::string name;  // 1 to 15 bytes, see IFNAMSIZ
  LinkKind kind = LinkKind::kOther;
  std::string alias;   // IFLA_IFALIAS; bondd's own links carry "bondd:SITE"
  std::string master;  // the bond it is enslaved to, empty: none
  bool up = false;     // IFF_UP
  std::optional<MacAddress> mac;
  std::optional<std::uint32_t> mtu;
  std::optional<std::uint32_t> txqueuelen;
  std::optional<std::uint32_t>
      gso_max_segs;                        // packets that TCP or GRO may hand over as one, 1: none together
  std::optional<std::uint32_t> owner_uid;  // taps and tuns: who may attach besides root
  std::optional<BondOptions> bond;         // LinkKind::kBond
  bool no_ipv6_address = false;            // IN6_ADDR_GEN_MODE_NONE: no link-local address, no MLD noise
  std::uint32_t group = 0;                 // IFLA_GROUP; nothing but the tag of is_half_made() uses it

  auto operator<=>(const Link&) const = default;
};

// The kernel takes no alias with a bond's creation, but a group: until the bond has its alias, it bears
// the number made of it, so that it can be told from others' at any moment. Never 0.
std::uint32_t group_until_aliased(std::string_view alias);
// A bond that whoever gives that alias has created and not yet given it.
bool is_half_made(const Link& link, std::string_view alias);

// Counters and carrier of a link, as far as the status shows them.
struct LinkFacts {
  int index = 0;
  bool carrier = false;          // IFF_LOWER_UP
  bool point_to_point = false;   // IFF_POINTOPOINT: one neighbour, no gateway needed
  std::optional<bool> slave_up;  // what the bond's monitor says of this slave; empty: no slave
  std::uint64_t rx_bytes = 0, tx_bytes = 0, rx_packets = 0, tx_packets = 0;

  auto operator<=>(const LinkFacts&) const = default;
};

struct Address {
  std::string device;
  IpPrefix prefix;                // with its host bits: 172.16.16.2/30
  std::optional<IpAddress> peer;  // point-to-point devices

  auto operator<=>(const Address&) const = default;
};

// Who has an address on a device's link, as far as the kernel has asked and was answered (ARP; IPv4 only).
struct Neighbour {
  std::string device;
  IpAddress address;
  MacAddress mac;

  auto operator<=>(const Neighbour&) const = default;
};

enum class RouteType : std::uint8_t {  // RTN_*
  kUnicast = 1,
  kBlackhole = 6,
  kUnreachable = 7,
  kProhibit = 8,
  kThrow = 9
};

constexpr std::uint32_t kMainTable = 254;  // RT_TABLE_MAIN

struct Route {
  IpPrefix destination;  // 0.0.0.0/0 or ::/0: default
  std::optional<IpAddress> gateway;
  std::string device;
  std::uint32_t table = kMainTable;
  std::uint8_t protocol = 0;  // RTPROT_*; bondd's own carry model::kProtocol
  std::uint32_t metric = 0;   // IPv6: the kernel makes 1024 of 0, so write 1024
  RouteType type = RouteType::kUnicast;
  std::optional<IpAddress> source;  // RTA_PREFSRC
  std::uint8_t scope = 0;           // RT_SCOPE_*; 253 (link) for a connected route
  bool onlink = false;              // gateway outside the device's networks (RTNH_F_ONLINK)

  auto operator<=>(const Route&) const = default;
};

enum class RuleAction : std::uint8_t {  // FR_ACT_*
  kLookup = 1,
  kGoto = 2,
  kNothing = 3,
  kBlackhole = 6,
  kUnreachable = 7,
  kProhibit = 8
};

struct NumberRange {
  std::uint32_t first = 0, last = 0;
  auto operator<=>(const NumberRange&) const = default;
};

// What rules of others say and bondd's own never do: known, so that it can be told what they do to bondd's
// packets; never written or deleted.
struct RuleExtras {
  RuleAction action = RuleAction::kLookup;
  std::uint32_t target = 0;   // of kGoto: the priority of the rule that is next
  bool inverted = false;      // it is for all packets that the selectors do not fit ("not")
  std::uint8_t tos = 0;       // 0: not looked at
  std::uint8_t protocol = 0;  // IPPROTO_UDP; 0: not looked at
  std::optional<NumberRange> uids, source_ports, destination_ports;
  std::uint64_t tunnel_id = 0;                  // 0: not looked at
  bool l3mdev = false;                          // only for packets of a VRF
  std::uint32_t realms = 0;                     // no selector: it tags what it fits
  std::optional<std::uint32_t> suppress_group;  // routes by devices of that group do not count
  bool unknown = false;                         // a selector that is none of these

  auto operator<=>(const RuleExtras&) const = default;
};

struct Rule {
  Family family = Family::kIpv4;
  std::uint32_t priority = 0;
  std::uint32_t table = 0;
  std::uint8_t protocol = 0;         // FRA_PROTOCOL
  std::uint32_t mark = 0, mask = 0;  // fwmark mark/mask; mask 0: not looked at
  std::optional<IpPrefix> from, to;
  std::string iif, oif;
  std::optional<int> suppress_prefix_length;
  RuleExtras extras;

  // Whether it is one that bondd could have made.
  [[nodiscard]] bool plain() const { return extras == RuleExtras{}; }
  auto operator<=>(const Rule&) const = default;
};

}  // namespace bondd::netlink

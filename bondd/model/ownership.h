// Everything by which bondd finds its own things again: the one table of tags.
//
//   what               tag                                      example, site "office" in slot 0
//   routes and rules   protocol number kProtocol                proto 98
//   rules              priority kRulePriority .. +99            see RulePriority
//   tables             kTableBase + slot * 32 + n               5200 bond, 5201 … WANs, +30 guard, +31 reply
//   marks              [marks] mask, slot * 32 + n in its bits  0x01000000: tunnel of WAN 1
//   links              alias "bondd:SITE"                       bondd:office; until a new bond has it: the
//                                                               group made of it, netlink::is_half_made()
//   taps               tapSLOT-WAN                              tap0-ovh, tap0-ovh~2
//   chains             "BONDD-PART-SITE"                        BONDD-FWD-office
//   sysctls            old value under /run/bondd/SITE/sysctl/
//   processes          pid files under /run/bondd/SITE/
//
// A slot is a number from 0 to 7 that a site holds while it is up, so that two
// sites on one machine share no table, mark or tap. Nothing is found again by its mark, so that
// a site that was made with another mask can be removed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace bondd::model {

constexpr std::uint8_t kProtocol = 98;  // free in iproute2's rt_protos and in the kernel's list

// Priorities of the rules, first match wins; all before "main" (32766). Several
// sites may share a priority: their marks and tables differ.
namespace rule_priority {
constexpr std::uint32_t kFirst = 5200;
constexpr std::uint32_t kTunnel = 5200;   // + n: a tunnel's packets leave by their own WAN, whatever else
constexpr std::uint32_t kReply = 5220;    // answers to what came in through the bond go back through it
constexpr std::uint32_t kCovered = 5230;  // through_bond networks inside a wider route of the main table
constexpr std::uint32_t kCoveredGuard = 5231;  // kGuard for kCovered
constexpr std::uint32_t kMain = 5240;          // + slot: the main table, but not its default route
constexpr std::uint32_t kPolicy = 5250;        // + n: manual steering
constexpr std::uint32_t kBond = 5290;  // through_bond's default route; smaller networks before it, see bond()
// Refuses what kBond's rules lead into the bond, should another program delete one or flush the bond's table.
constexpr std::uint32_t kGuard = 5291;
constexpr std::uint32_t kLast = 5299;

// Where networks of this length are looked up in a bond's table, from 5266 (a host) to 5290 (everything):
// among several sites the smallest network wins, whichever site came up first. Up to /9 they share one.
constexpr std::uint32_t bond(int length) {
  return length == 0 ? kBond : kBond - static_cast<std::uint32_t>(length < 9 ? 1 : length - 8);
}
}  // namespace rule_priority

constexpr std::uint32_t kTableBase = 5200;
constexpr unsigned kSlots = 8;
constexpr unsigned kMaxWans = 15;  // a WAN's number n is 1 to 15

// The bits of a packet's mark that are bondd's when [marks] mask names no others. Free of what is met beside
// it: Shorewall 0xff (or 0xff00, 0xff0000), mwan3 0x3f00, Cilium 0xf00, Docker's 0x100 and up, Kubernetes
// 0x4000 and 0x8000, wg-quick 0xca6c, NethServer 0xf0000, Calico 0xf0000 of its 0xffff0000, Tailscale
// 0xff0000, Antrea bit 31. Bit 31 also because OpenVPN reads a mark as a positive int.
constexpr std::uint32_t kDefaultMarkMask = 0x7f000000;
constexpr unsigned kMarksPerSite = 32;

constexpr std::uint32_t bond_table(unsigned slot) {
  return kTableBase + slot * 32;
}
constexpr std::uint32_t wan_table(unsigned slot, unsigned n) {
  return bond_table(slot) + n;
}
constexpr std::uint32_t guard_table(unsigned slot) {
  return bond_table(slot) + 30;
}
constexpr std::uint32_t reply_table(unsigned slot) {
  return bond_table(slot) + 31;
}

// How many sites' marks `mask` has room for, at most kSlots; 0 when it has none: fewer than 5 bits, gaps, or
// bit 31.
unsigned mark_slots(std::uint32_t mask);

// `value` in the bits of `mask`.
std::uint32_t mark_in(std::uint32_t mask, std::uint32_t value);
// Packets of WAN n's tunnels; packets steered to WAN n, and answers to what came in by it; answers to what
// came in through the bond.
inline std::uint32_t tunnel_mark(std::uint32_t mask, unsigned slot, unsigned n) {
  return mark_in(mask, slot * kMarksPerSite + n);
}
inline std::uint32_t policy_mark(std::uint32_t mask, unsigned slot, unsigned n) {
  return mark_in(mask, slot * kMarksPerSite + 16 + n);
}
inline std::uint32_t reply_mark(std::uint32_t mask, unsigned slot) {
  return mark_in(mask, slot * kMarksPerSite + 16);
}

std::string link_alias(std::string_view site);
// What tells a WAN's instance `k` (from 0) from the first: "", "~2", "~3". No name that a person gives to
// anything has a '~', so that "lte~2" is never another WAN's.
std::string instance_suffix(unsigned k);
// The tap of instance `k` of a WAN; at most 15 bytes, a long name is cut and hashed. Two long names may
// come out alike, which the check of a file refuses.
std::string tap_name(unsigned slot, std::string_view wan, unsigned k);
// Whether tap_name() may make this name for some site.
bool is_tap_name(std::string_view name);
// BONDD-PART-SITE; iptables allows 28 bytes, so a long site name is cut and hashed.
std::string chain_name(std::string_view part, std::string_view site);
// "-SITE" as chain_name ends it: what tells this site's chains from another's.
std::string chain_suffix(std::string_view site);

}  // namespace bondd::model

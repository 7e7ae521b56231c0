// Everything by which bondd finds its own things again: the one table of tags.
//
//   what                tag                                       example, site "office" in slot 0
//   routes and rules    protocol number kProtocol                 proto 98
//   rules               priority kRulePriority + 0 .. 99          5200: fwmark rules, 5280: main without
//   default tables              kTableBase + slot * 16 + n                5200: through the bond, 5201 …: WAN
//   1 … marks               kMarkMask, slot * 16 + n (n from 1)       0x00010000: WAN 1 links alias
//   "bondd:SITE"                        bondd:office chains              "BONDD-PART-SITE" BONDD-FWD-office
//   sysctls             old value under /run/bondd/SITE/sysctl/
//   processes           pid files under /run/bondd/SITE/
//
// A slot is a number from 0 to 15 that a site holds while it is up, so that two
// sites on one machine share no table, mark or chain.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace bondd::model {

constexpr std::uint8_t kProtocol = 98;  // free in iproute2's rt_protos and in the kernel's list

constexpr std::uint32_t kRulePriority = 5200;  // before "main" (32766), after what admins put first
constexpr std::uint32_t kRulePriorityEnd = 5299;
constexpr std::uint32_t kWanRulePriority = kRulePriority;        // + WAN number: fwmark -> the WAN's table
constexpr std::uint32_t kMainRulePriority = kRulePriority + 80;  // main, but not its default route
constexpr std::uint32_t kBondRulePriority = kRulePriority + 81;  // the rest goes into the bond

constexpr std::uint32_t kTableBase = 5200;
constexpr unsigned kSlots = 16;
constexpr unsigned kWansPerSite = 15;  // n from 1 to 15 in marks and tables

constexpr std::uint32_t kMarkMask = 0x00ff0000;

// The table of through_bond's default route, and that of WAN n (1 to 15).
constexpr std::uint32_t bond_table(unsigned slot) {
  return kTableBase + slot * 16;
}
constexpr std::uint32_t wan_table(unsigned slot, unsigned n) {
  return bond_table(slot) + n;
}
constexpr std::uint32_t wan_mark(unsigned slot, unsigned n) {
  return (slot * 16 + n) << 16;
}

std::string link_alias(std::string_view site);
// BONDD-PART-SITE; iptables allows 28 bytes, so a long site name is cut and a hash of it appended.
std::string chain_name(std::string_view part, std::string_view site);
// "-SITE" as chain_name ends it: what tells this site's chains from another's.
std::string chain_suffix(std::string_view site);

}  // namespace bondd::model

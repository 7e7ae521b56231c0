// Nexthop objects (ip nexthop, since Linux 5.3): gateways that routes share by number.
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "netlink/codec.h"

namespace bondd::netlink {
namespace {

// A group's members stand as legs that only have an id, marked so until resolve_groups().
constexpr int kMember = -1;

NextHop member(std::uint32_t id) {
  return {IpAddress::v4(id), kMember, false};
}

std::uint32_t id_of(const NextHop& member) {
  return member.gateway->v4_number();
}

std::vector<NextHop> parse_group(const nlattr* group) {
  std::vector<NextHop> members;
  const auto* at = static_cast<const char*>(mnl_attr_get_payload(group));
  for (std::size_t left = mnl_attr_get_payload_len(group); left >= sizeof(nexthop_grp);
       left -= sizeof(nexthop_grp), at += sizeof(nexthop_grp)) {
    nexthop_grp one{};
    std::memcpy(&one, at, sizeof one);
    members.push_back(member(one.id));
  }
  return members;
}

}  // namespace

void add_next_hop(const nlmsghdr* message, NextHops& hops) {
  if (message->nlmsg_type != RTM_NEWNEXTHOP) return;
  const auto& header = *static_cast<const nhmsg*>(mnl_nlmsg_get_payload(message));
  const Attributes attributes(message, sizeof(nhmsg));
  const auto id = attributes.u32(NHA_ID);
  if (!id) return;
  if (const nlattr* group = attributes.find(NHA_GROUP)) {
    hops[*id] = parse_group(group);
  } else if (attributes.find(NHA_BLACKHOLE) != nullptr || (header.nh_flags & RTNH_F_DEAD) != 0) {
    hops[*id] = {};
  } else {
    hops[*id] = {{attributes.address(NHA_GATEWAY), static_cast<int>(attributes.u32(NHA_OIF).value_or(0)),
                  (header.nh_flags & RTNH_F_ONLINK) != 0}};
  }
}

void resolve_groups(NextHops& hops) {
  for (auto& [id, legs] : hops) {
    std::vector<NextHop> resolved;
    for (const NextHop& leg : legs) {
      if (leg.device != kMember) {
        resolved.push_back(leg);
        continue;
      }
      // A group has no groups in it, see nh_check_attr_group() in net/ipv4/nexthop.c.
      const auto found = hops.find(id_of(leg));
      if (found == hops.end()) continue;
      for (const NextHop& one : found->second) {
        if (one.device != kMember) resolved.push_back(one);
      }
    }
    legs = std::move(resolved);
  }
}

}  // namespace bondd::netlink

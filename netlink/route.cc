#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "netlink/codec.h"

namespace bondd::netlink {
namespace {

constexpr std::uint32_t kDefaultIpv6Metric = 1024;  // IP6_RT_PRIO_USER

bool known_type(std::uint8_t type) {
  return type == RTN_UNICAST || type == RTN_BLACKHOLE || type == RTN_UNREACHABLE || type == RTN_PROHIBIT ||
         type == RTN_THROW;
}

// Kernel-made noise of every IPv6 device: link-local and multicast prefixes.
bool is_ipv6_housekeeping(const IpPrefix& destination) {
  if (destination.address.is_v4()) return false;
  const std::uint8_t* bytes = destination.address.data();
  return bytes[0] == 0xff || (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80);
}

IpAddress unspecified(int family) {
  return family == AF_INET ? IpAddress() : IpAddress::v6({});
}

std::optional<IpAddress> parse_gateway(const Attributes& attributes) {
  if (const auto gateway = attributes.address(RTA_GATEWAY)) return gateway;
  const nlattr* via = attributes.find(RTA_VIA);  // a gateway of the other family
  if (via == nullptr || mnl_attr_get_payload_len(via) < sizeof(rtvia)) return std::nullopt;
  return address_from(static_cast<const char*>(mnl_attr_get_payload(via)) + sizeof(rtvia),
                      mnl_attr_get_payload_len(via) - sizeof(rtvia));
}

std::vector<NextHop> parse_legs(const nlattr* multipath) {
  std::vector<NextHop> legs;
  const auto* at = static_cast<const char*>(mnl_attr_get_payload(multipath));
  std::size_t left = mnl_attr_get_payload_len(multipath);
  while (left >= sizeof(rtnexthop)) {
    const auto* leg = reinterpret_cast<const rtnexthop*>(at);
    if (leg->rtnh_len < sizeof(rtnexthop) || leg->rtnh_len > left) break;
    const Attributes attributes(RTNH_DATA(leg), leg->rtnh_len - sizeof(rtnexthop));
    if ((leg->rtnh_flags & RTNH_F_DEAD) == 0) {
      legs.push_back({parse_gateway(attributes), leg->rtnh_ifindex, (leg->rtnh_flags & RTNH_F_ONLINK) != 0});
    }
    const std::size_t step = RTNH_ALIGN(leg->rtnh_len);
    if (step >= left) break;
    at += step;
    left -= step;
  }
  return legs;
}

std::vector<NextHop> parse_next_hops(const rtmsg& header, const Attributes& attributes,
                                     const NextHops& hops) {
  if (const nlattr* multipath = attributes.find(RTA_MULTIPATH)) return parse_legs(multipath);
  if (const auto id = attributes.u32(RTA_NH_ID); id && attributes.find(RTA_OIF) == nullptr) {
    if (const auto known = hops.find(*id); known != hops.end()) return known->second;
  }
  return {{parse_gateway(attributes), static_cast<int>(attributes.u32(RTA_OIF).value_or(0)),
           (header.rtm_flags & RTNH_F_ONLINK) != 0}};
}

// Routes that the values can say: those for all sources and all types of service.
bool is_plain(const rtmsg& header, const Attributes& attributes) {
  return known_type(header.rtm_type) && header.rtm_tos == 0 && header.rtm_src_len == 0 &&
         (header.rtm_flags & RTM_F_CLONED) == 0 &&
         attributes.u32(RTA_TABLE).value_or(header.rtm_table) != RT_TABLE_LOCAL;
}

// RTA_VIA takes the gateway of an IPv4 route that is an IPv6 one (RFC 5549).
void put_gateway(Message& message, const IpAddress& gateway, bool v4_route) {
  if (gateway.is_v4() == v4_route) return message.put_address(RTA_GATEWAY, gateway);
  std::array<std::uint8_t, sizeof(std::uint16_t) + 16> via{};
  const auto family = static_cast<std::uint16_t>(gateway.af());
  std::memcpy(via.data(), &family, sizeof family);
  std::memcpy(via.data() + sizeof family, gateway.data(), gateway.size());
  message.put_bytes(RTA_VIA, via.data(), sizeof family + gateway.size());
}

}  // namespace

bool needs_next_hops(const nlmsghdr* message) {
  if (message->nlmsg_type != RTM_NEWROUTE) return false;
  const Attributes attributes(message, sizeof(rtmsg));
  return attributes.find(RTA_NH_ID) != nullptr && attributes.find(RTA_OIF) == nullptr &&
         attributes.find(RTA_MULTIPATH) == nullptr;
}

std::vector<Route> parse_route(const nlmsghdr* message, const DeviceNames& names, const NextHops& hops) {
  if (message->nlmsg_type != RTM_NEWROUTE) return {};
  const auto& header = *static_cast<const rtmsg*>(mnl_nlmsg_get_payload(message));
  if (header.rtm_family != AF_INET && header.rtm_family != AF_INET6) return {};
  const Attributes attributes(message, sizeof(rtmsg));
  if (!is_plain(header, attributes)) return {};
  Route route;
  route.destination = {attributes.address(RTA_DST).value_or(unspecified(header.rtm_family)),
                       header.rtm_dst_len};
  if (header.rtm_protocol == RTPROT_KERNEL && is_ipv6_housekeeping(route.destination)) return {};
  route.table = attributes.u32(RTA_TABLE).value_or(header.rtm_table);
  route.protocol = header.rtm_protocol;
  route.metric = attributes.u32(RTA_PRIORITY).value_or(0);
  route.type = static_cast<RouteType>(header.rtm_type);
  route.source = attributes.address(RTA_PREFSRC);
  route.scope = header.rtm_scope;
  std::vector<Route> legs;
  for (const NextHop& hop : parse_next_hops(header, attributes, hops)) {
    route.gateway = hop.gateway;
    route.onlink = hop.onlink;
    const auto name = names.find(hop.device);
    // IPv6 hangs a blackhole on lo, which nobody asked for.
    route.device = name != names.end() && route.type == RouteType::kUnicast ? name->second : "";
    legs.push_back(route);
  }
  return legs;
}

void put_route(Message& message, const Route& route, int device) {
  const bool v4 = route.destination.address.is_v4();
  auto& header = message.header<rtmsg>();
  header.rtm_family = static_cast<std::uint8_t>(route.destination.address.af());
  header.rtm_dst_len = static_cast<std::uint8_t>(route.destination.length);
  header.rtm_table =
      route.table < 256 ? static_cast<std::uint8_t>(route.table) : std::uint8_t{RT_TABLE_COMPAT};
  header.rtm_protocol = route.protocol;
  header.rtm_scope = v4 ? route.scope : std::uint8_t{RT_SCOPE_UNIVERSE};
  header.rtm_type = static_cast<std::uint8_t>(route.type);
  if (route.onlink) header.rtm_flags |= RTNH_F_ONLINK;
  message.put_u32(RTA_TABLE, route.table);
  if (route.destination.length > 0) message.put_address(RTA_DST, route.destination.address);
  if (route.gateway) put_gateway(message, *route.gateway, v4);
  if (device != 0) message.put_u32(RTA_OIF, static_cast<std::uint32_t>(device));
  if (route.source) message.put_address(RTA_PREFSRC, *route.source);
  const std::uint32_t metric = !v4 && route.metric == 0 ? kDefaultIpv6Metric : route.metric;
  if (metric != 0) message.put_u32(RTA_PRIORITY, metric);
}

}  // namespace bondd::netlink

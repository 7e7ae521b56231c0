#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>

#include "netlink/codec.h"

namespace bondd::netlink {

std::optional<Neighbour> parse_neighbour(const nlmsghdr* message, const DeviceNames& names) {
  if (message->nlmsg_type != RTM_NEWNEIGH) return std::nullopt;
  const auto* header = static_cast<const ndmsg*>(mnl_nlmsg_get_payload(message));
  const auto name = names.find(header->ndm_ifindex);
  if (name == names.end() || header->ndm_family != AF_INET) return std::nullopt;
  // Without an answer there is no address of the link; multicast's is made up, not answered.
  if ((header->ndm_state & (NUD_INCOMPLETE | NUD_FAILED | NUD_NOARP)) != 0) return std::nullopt;
  const Attributes attributes(message, sizeof(ndmsg));
  const auto address = attributes.address(NDA_DST);
  const auto mac = attributes.value<MacAddress>(NDA_LLADDR);
  if (!address || !mac) return std::nullopt;
  return Neighbour{name->second, *address, *mac};
}

}  // namespace bondd::netlink

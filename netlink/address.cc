#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "netlink/codec.h"

namespace bondd::netlink {

std::optional<Address> parse_address(const nlmsghdr* message, const DeviceNames& names) {
  if (message->nlmsg_type != RTM_NEWADDR) return std::nullopt;
  const auto* header = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(message));
  const auto name = names.find(static_cast<int>(header->ifa_index));
  if (name == names.end()) return std::nullopt;
  const Attributes attributes(message, sizeof(ifaddrmsg));
  const auto local = attributes.address(IFA_LOCAL);
  const auto address = attributes.address(IFA_ADDRESS);  // the peer's, when there is one
  if (!local && !address) return std::nullopt;
  Address result{.device = name->second, .prefix = {local ? *local : *address, header->ifa_prefixlen}};
  if (local && address && *local != *address) result.peer = address;
  return result;
}

void put_address_message(Message& message, const Address& address, int device) {
  const IpAddress& own = address.prefix.address;
  auto& header = message.header<ifaddrmsg>();
  header.ifa_family = static_cast<std::uint8_t>(own.af());
  header.ifa_prefixlen = static_cast<std::uint8_t>(address.prefix.length);
  header.ifa_index = static_cast<std::uint32_t>(device);
  message.put_address(IFA_LOCAL, own);
  message.put_address(IFA_ADDRESS, address.peer.value_or(own));
  // Usable at once: nobody else can have it on a tunnel of ours.
  if (!own.is_v4() && message.get()->nlmsg_type == RTM_NEWADDR) message.put_u32(IFA_FLAGS, IFA_F_NODAD);
}

}  // namespace bondd::netlink

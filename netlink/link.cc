#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>

#include "bondd/base/text.h"
#include "netlink/codec.h"

namespace bondd::netlink {
namespace {

constexpr std::uint32_t kLeastIpv6Mtu = 1280;  // RFC 8200, 5; IPV6_MIN_MTU of the kernel

std::optional<MacAddress> parse_mac(const Attributes& attributes) {
  const auto bytes = attributes.value<std::array<std::uint8_t, 6>>(IFLA_ADDRESS);
  if (!bytes) return std::nullopt;
  return MacAddress{*bytes};
}

void parse_tuntap(const Attributes& data, Link& link) {
  link.kind = data.u8(IFLA_TUN_TYPE) == IFF_TAP ? LinkKind::kTap : LinkKind::kTun;
  link.owner_uid = data.u32(IFLA_TUN_OWNER);
}

// What kind of device it is, and that kind's properties.
void parse_kind(const Attributes& attributes, Link& link) {
  const Attributes info(attributes.find(IFLA_LINKINFO));
  const std::string kind = info.text(IFLA_INFO_KIND);
  const Attributes data(info.find(IFLA_INFO_DATA));
  if (kind == "tun") parse_tuntap(data, link);
  if (kind == "bond") {
    link.kind = LinkKind::kBond;
    link.bond = parse_bond(data);
  }
}

// The monitor's opinion of a slave of a bond.
std::optional<bool> parse_slave_up(const Attributes& attributes) {
  const Attributes info(attributes.find(IFLA_LINKINFO));
  if (info.text(IFLA_INFO_SLAVE_KIND) != "bond") return std::nullopt;
  const auto status = Attributes(info.find(IFLA_INFO_SLAVE_DATA)).u8(IFLA_BOND_SLAVE_MII_STATUS);
  if (!status) return std::nullopt;
  return *status == 0;  // BOND_LINK_UP
}

// A device without IPv6 gets no link-local address either.
bool parse_no_ipv6_address(const Attributes& attributes) {
  const Attributes families(attributes.find(IFLA_AF_SPEC));
  const nlattr* inet6 = families.find(AF_INET6);
  if (inet6 == nullptr) return true;
  return Attributes(inet6).u8(IFLA_INET6_ADDR_GEN_MODE) == IN6_ADDR_GEN_MODE_NONE;
}

void parse_counters(const Attributes& attributes, LinkFacts& facts) {
  rtnl_link_stats64 stats{};
  const nlattr* attribute = attributes.find(IFLA_STATS64);
  if (attribute == nullptr) return;
  // Kernels differ in how many counters follow those that we want.
  const std::size_t size = std::min<std::size_t>(mnl_attr_get_payload_len(attribute), sizeof(stats));
  std::memcpy(&stats, mnl_attr_get_payload(attribute), size);
  facts.rx_bytes = stats.rx_bytes;
  facts.tx_bytes = stats.tx_bytes;
  facts.rx_packets = stats.rx_packets;
  facts.tx_packets = stats.tx_packets;
}

bool put_if_changed(Message& message, std::uint16_t type, std::optional<std::uint32_t> wanted,
                    std::optional<std::uint32_t> current) {
  if (!wanted || wanted == current) return false;
  message.put_u32(type, *wanted);
  return true;
}

void put_no_ipv6_address(Message& message) {
  message.nest(IFLA_AF_SPEC, [&] {
    message.nest(AF_INET6, [&] { message.put_u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE); });
  });
}

}  // namespace

std::uint32_t group_until_aliased(std::string_view alias) {
  return std::max(fnv1a(alias) & 0x7fffffff, std::uint32_t{1});  // it is an int in the kernel
}

bool is_half_made(const Link& link, std::string_view alias) {
  return link.kind == LinkKind::kBond && link.alias.empty() && link.group == group_until_aliased(alias);
}

std::optional<KernelLink> parse_link(const nlmsghdr* message) {
  if (message->nlmsg_type != RTM_NEWLINK) return std::nullopt;
  const auto* header = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(message));
  const Attributes attributes(message, sizeof(ifinfomsg));
  KernelLink result;
  Link& link = result.link;
  link.name = attributes.text(IFLA_IFNAME);
  link.alias = attributes.text(IFLA_IFALIAS);
  link.up = (header->ifi_flags & IFF_UP) != 0;
  link.mac = parse_mac(attributes);
  link.mtu = attributes.u32(IFLA_MTU);
  link.txqueuelen = attributes.u32(IFLA_TXQLEN);
  link.gso_max_segs = attributes.u32(IFLA_GSO_MAX_SEGS);
  link.no_ipv6_address = parse_no_ipv6_address(attributes);
  link.group = attributes.u32(IFLA_GROUP).value_or(0);
  parse_kind(attributes, link);
  result.master_index = static_cast<int>(attributes.u32(IFLA_MASTER).value_or(0));
  result.facts.index = header->ifi_index;
  result.facts.carrier = (header->ifi_flags & IFF_LOWER_UP) != 0;
  // Without ARP no neighbour is told from another: LTE modems that show up as Ethernet are like that.
  result.facts.point_to_point = (header->ifi_flags & (IFF_POINTOPOINT | IFF_NOARP)) != 0;
  result.facts.slave_up = parse_slave_up(attributes);
  parse_counters(attributes, result.facts);
  return result;
}

bool put_link_changes(Message& message, const Link& wanted, const Link* current) {
  bool changed = false;
  // A slave has its bond's MAC address; setting another would split the bond.
  const bool own_mac = current == nullptr || current->master.empty();
  if (wanted.mac && own_mac && (current == nullptr || current->mac != wanted.mac)) {
    message.put_bytes(IFLA_ADDRESS, wanted.mac->bytes.data(), wanted.mac->bytes.size());
    changed = true;
  }
  if (current != nullptr && current->alias != wanted.alias) {
    message.put_text(IFLA_IFALIAS, wanted.alias);
    changed = true;
  }
  if (current != nullptr && is_half_made(*current, wanted.alias)) {
    message.put_u32(IFLA_GROUP, wanted.group);
    changed = true;
  }
  changed |= put_if_changed(message, IFLA_MTU, wanted.mtu, current ? current->mtu : std::nullopt);
  changed |=
      put_if_changed(message, IFLA_TXQLEN, wanted.txqueuelen, current ? current->txqueuelen : std::nullopt);
  changed |= put_if_changed(message, IFLA_GSO_MAX_SEGS, wanted.gso_max_segs,
                            current ? current->gso_max_segs : std::nullopt);
  // A device without IPv6 (below its least MTU, or of a kernel without it) refuses to be told.
  const bool will_have_ipv6 = !wanted.mtu || *wanted.mtu >= kLeastIpv6Mtu;
  if (current != nullptr && wanted.no_ipv6_address && !current->no_ipv6_address && will_have_ipv6) {
    put_no_ipv6_address(message);
    changed = true;
  }
  return changed;
}

}  // namespace bondd::netlink

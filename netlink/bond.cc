// The bonding driver's options. libnl 3.7 knows no ARP monitoring, so they are put by hand;
// see IFLA_BOND_* in linux/if_link.h and bond_changelink() in the kernel's bond_netlink.c.
#include <linux/if_link.h>

#include "netlink/codec.h"

namespace bondd::netlink {
namespace {

void put_targets(Message& message, const std::vector<IpAddress>& targets) {
  message.nest(IFLA_BOND_ARP_IP_TARGET, [&] {
    std::uint16_t place = 0;
    for (const IpAddress& target : targets) message.put_address(place++, target);
  });
}

std::vector<IpAddress> parse_targets(const Attributes& data) {
  std::vector<IpAddress> targets;
  const nlattr* nest = data.find(IFLA_BOND_ARP_IP_TARGET);
  if (nest == nullptr) return targets;
  for_each_attribute(mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest), [&](const nlattr* one) {
    const auto target = address_from(mnl_attr_get_payload(one), mnl_attr_get_payload_len(one));
    if (target) targets.push_back(*target);
  });
  return targets;
}

void put_options(Message& message, const BondOptions& wanted, const BondOptions* current) {
  if (current == nullptr || current->mode != wanted.mode) {
    message.put_u8(IFLA_BOND_MODE, static_cast<std::uint8_t>(wanted.mode));
  }
  if (current == nullptr || current->hash_policy != wanted.hash_policy) {
    message.put_u8(IFLA_BOND_XMIT_HASH_POLICY, static_cast<std::uint8_t>(wanted.hash_policy));
  }
  if (current == nullptr || current->arp_interval_ms != wanted.arp_interval_ms) {
    message.put_u32(IFLA_BOND_ARP_INTERVAL, wanted.arp_interval_ms);
  }
  const bool same_targets = current != nullptr && current->arp_targets == wanted.arp_targets;
  if (!same_targets) put_targets(message, wanted.arp_targets);
}

}  // namespace

void put_bond(Message& message, const BondOptions& wanted, const BondOptions* current) {
  message.nest(IFLA_LINKINFO, [&] {
    message.put_name(IFLA_INFO_KIND, "bond");
    message.nest(IFLA_INFO_DATA, [&] { put_options(message, wanted, current); });
  });
}

BondOptions parse_bond(const Attributes& data) {
  BondOptions options;
  options.mode = static_cast<BondMode>(data.u8(IFLA_BOND_MODE).value_or(0));
  options.hash_policy = static_cast<HashPolicy>(data.u8(IFLA_BOND_XMIT_HASH_POLICY).value_or(0));
  options.arp_interval_ms = data.u32(IFLA_BOND_ARP_INTERVAL).value_or(0);
  options.arp_targets = parse_targets(data);
  return options;
}

}  // namespace bondd::netlink

#include "bondd/plan/servers.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "bondd/plan/exits.h"

namespace bondd::plan {
namespace {

bool is_loopback(const IpAddress& address) {
  constexpr std::uint8_t kLoopback = 127;
  return address.is_v4() && address.data()[0] == kLoopback;
}

// Any IPv6 address but link-local ones: with it the kernel finds an own way to an IPv6 server.
bool has_ipv6(const netlink::Snapshot& network) {
  const IpPrefix link_local = parse_prefix("fe80::/10").value();
  return std::any_of(network.addresses.begin(), network.addresses.end(), [&](const netlink::Address& own) {
    const IpAddress& address = own.prefix.address;
    return !address.is_v4() && own.device != "lo" && !link_local.contains(address);
  });
}

}  // namespace

bool is_no_host(const IpAddress& address) {
  constexpr std::uint8_t kMulticastV4 = 224, kMulticastV6 = 0xff;
  const std::uint8_t first = address.data()[0];
  return address.is_unspecified() ||
         (address.is_v4() ? first == 0 || first >= kMulticastV4 : first == kMulticastV6);
}

std::vector<IpAddress> server_candidates(const model::Wan& wan, const std::vector<IpAddress>& addresses) {
  const Family family = wan.bind ? wan.bind->family() : Family::kIpv4;
  std::vector<IpAddress> fitting;
  std::copy_if(addresses.begin(), addresses.end(), std::back_inserter(fitting),
               [&](const IpAddress& address) { return address.family() == family; });
  return fitting.empty() ? addresses : fitting;
}

IpAddress server_of(const model::Wan& wan, const model::Facts& facts) {
  const auto found = facts.server_of.find(wan.name);
  return found != facts.server_of.end() ? found->second
                                        : server_candidates(wan, facts.server_addresses).front();
}

std::string unfit_server(const model::Config& config, const IpAddress& address,
                         const netlink::Snapshot& network) {
  if (is_no_host(address)) return "which no machine has";
  if (is_loopback(address)) return "this machine itself";
  const IpPrefix inside = config.bond.address.network();
  if (inside.contains(address)) return fmt::format("inside the bond's own network {}", to_string(inside));
  for (const model::Wan& wan : config.wans) {
    if (find_exit(wan, network).gateway == address) return fmt::format("the gateway of {}", wan.name);
  }
  for (const netlink::Address& own : network.addresses) {
    if (own.prefix.address == address) return fmt::format("this machine's own address (on {})", own.device);
    const bool lan = own.prefix.contains(address) && own.prefix.length < own.prefix.address.bits() &&
                     own.device != config.bond.interface && address.is_v4() &&
                     !is_wan_device(config, network, own.device);
    if (lan) return fmt::format("in the network of {}, {}", own.device, to_string(own.prefix.network()));
  }
  if (!address.is_v4() && !has_ipv6(network)) return "and this machine has no IPv6 address";
  return "";
}

Result<std::vector<IpAddress>> fit_servers(const model::Config& config,
                                           const std::vector<IpAddress>& resolved,
                                           const netlink::Snapshot& network) {
  std::vector<IpAddress> fit;
  std::string why;
  for (const IpAddress& address : resolved) {
    const std::string reason = unfit_server(config, address, network);
    if (reason.empty()) fit.push_back(address);
    if (!reason.empty() && why.empty()) {
      why = fmt::format("{} is {}, {}: the server cannot be there", config.server.address, to_string(address),
                        reason);
    }
  }
  if (fit.empty() && !resolved.empty()) return failure(why);
  return fit;
}

}  // namespace bondd::plan

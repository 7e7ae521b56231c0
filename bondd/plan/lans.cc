#include "bondd/plan/lans.h"

#include <algorithm>
#include <array>

#include "bondd/model/ownership.h"
#include "bondd/plan/exits.h"

namespace bondd::plan {
namespace {

constexpr std::array<std::string_view, 12> kInnerNames{"docker", "virbr", "veth", "lxc", "lxd", "podman",
                                                       "cni",    "tun",   "tap",  "wg",  "zt",  "tailscale"};
constexpr int kWidestLan = 8, kNarrowestLan = 30;
constexpr std::ptrdiff_t kSharedLan = 2;  // gateways on one network: there is no modem's network between

// The bridge of a docker network: br- and 12 hexadecimal digits. A LAN's bridge may be called br-lan.
bool is_docker_bridge(std::string_view name) {
  return name.size() == 15 && name.starts_with("br-") &&
         name.find_first_not_of("0123456789abcdef", 3) == std::string_view::npos;
}

class LanFinder {
 public:
  LanFinder(const model::Config& config, const netlink::Snapshot& network, const std::set<IpAddress>& hosts)
      : config_(config), network_(network), hosts_(hosts) {
    // Also those that the file names and no device leads to: a mistyped device makes no LAN of a modem's
    // network.
    for (const model::Wan& wan : config.wans) {
      if (wan.gateway) gateways_.insert(*wan.gateway);
      if (const Exit exit = find_exit(wan, network); exit.gateway) gateways_.insert(*exit.gateway);
    }
    for (const netlink::Route& route : network.routes) {
      if (route.destination.is_default() && route.gateway) gateways_.insert(*route.gateway);
    }
  }

  std::vector<IpPrefix> find() {
    for (const netlink::Address& address : network_.addresses) look_at(address);
    std::vector<IpPrefix> out = has_inside_ ? inside_ : shared_;
    for (const netlink::Route& route : inside_routes(config_, network_, "")) {
      const bool lan = route.gateway && !gateways_.contains(*route.gateway) &&
                       fits(route.destination.network()) && may_be_lan(route.device);
      if (lan) add(out, route.destination.network());
    }
    return out;
  }

 private:
  void look_at(const netlink::Address& address) {
    const IpPrefix own = address.prefix.network();
    if (address.peer || !fits(own) || !may_be_lan(address.device)) return;
    const auto in_it = [&](const IpAddress& one) { return own.contains(one); };
    const auto gateways = std::ranges::count_if(gateways_, in_it);
    const bool has_host = std::ranges::any_of(
        hosts_, [&](const IpAddress& host) { return in_it(host) && !gateways_.contains(host); });
    if (gateways == 0 && !leads_out(address.device)) {
      has_inside_ = true;
      if (has_host) add(inside_, own);
    } else if (has_host || gateways >= kSharedLan) {
      add(shared_, own);
    }
  }

  static bool fits(const IpPrefix& network) {
    return network.address.is_v4() && network.length >= kWidestLan && network.length <= kNarrowestLan;
  }

  [[nodiscard]] bool may_be_lan(const std::string& device) const {
    const auto facts = network_.facts.find(device);
    return device != config_.bond.interface && !is_inner_device(device) && facts != network_.facts.end() &&
           facts->second.carrier;
  }

  // With a default route of its own it is a line, whether the file knows it or not.
  [[nodiscard]] bool leads_out(const std::string& device) const {
    return is_wan_device(config_, network_, device) ||
           std::ranges::any_of(network_.routes, [&](const netlink::Route& route) {
             return route.destination.is_default() && route.destination.address.is_v4() &&
                    route.protocol != model::kProtocol && route.device == device;
           });
  }

  static void add(std::vector<IpPrefix>& to, const IpPrefix& network) {
    if (std::ranges::find(to, network) == to.end()) to.push_back(network);
  }

  const model::Config& config_;
  const netlink::Snapshot& network_;
  const std::set<IpAddress>& hosts_;
  std::set<IpAddress> gateways_;
  std::vector<IpPrefix> inside_, shared_;
  bool has_inside_ = false;  // some device leads to no gateway, whoever is there
};

}  // namespace

bool is_inner_device(std::string_view name) {
  return name == "lo" || is_docker_bridge(name) ||
         std::ranges::any_of(kInnerNames, [&](std::string_view start) { return name.starts_with(start); });
}

bool is_private(const IpPrefix& network) {
  constexpr std::array kPrivate{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
                                "198.18.0.0/15"};
  return std::any_of(kPrivate.begin(), kPrivate.end(),
                     [&](const char* text) { return parse_prefix(text)->contains(network); });
}

std::vector<IpPrefix> lan_networks(const model::Config& config, const netlink::Snapshot& network,
                                   const std::set<IpAddress>& hosts) {
  return LanFinder(config, network, hosts).find();
}

}  // namespace bondd::plan

#include "tests/support/fake_kernel.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace bondd::testing {
namespace {

using netlink::Address;
using netlink::BondOptions;
using netlink::Link;
using netlink::LinkKind;
using netlink::Route;
using netlink::RouteType;
using netlink::Rule;

constexpr std::uint8_t kProtocolKernel = 2;       // RTPROT_KERNEL
constexpr std::uint8_t kScopeLink = 253;          // RT_SCOPE_LINK
constexpr std::uint32_t kIpv6Metric = 256;        // of connected routes
constexpr std::uint32_t kGsoMaxSegments = 65535;  // linux/netdevice.h: GSO_MAX_SEGS

std::string describe(const Route& route) {
  std::string text = fmt::format("{} table {}", to_string(route.destination), route.table);
  if (route.gateway) text += " via " + to_string(*route.gateway);
  if (!route.device.empty()) text += " dev " + route.device;
  return text;
}

std::string describe(const Rule& rule) {
  return fmt::format("priority {} mark {:#x}/{:#x} table {}", rule.priority, rule.mark, rule.mask,
                     rule.table);
}

template <typename T>
bool erase_equal(std::vector<T>& from, const T& value) {
  const auto found = std::find(from.begin(), from.end(), value);
  if (found == from.end()) return false;
  from.erase(found);
  return true;
}

template <typename T>
bool contains(const std::vector<T>& in, const T& value) {
  return std::find(in.begin(), in.end(), value) != in.end();
}

bool is_connected(const Route& route) {
  return !route.gateway && route.type == RouteType::kUnicast;
}

}  // namespace

FakeKernel::FakeKernel() {
  state_.links.push_back(
      {.name = "lo", .up = true, .mtu = 65536, .txqueuelen = 1000, .gso_max_segs = kGsoMaxSegments});
  state_.facts["lo"] = {.index = next_index_++, .carrier = true};
}

void FakeKernel::add_device(const std::string& name, const std::vector<std::string>& addresses) {
  state_.links.push_back({.name = name,
                          .up = true,
                          .mac = mac_from_seed("device " + name),
                          .mtu = 1500,
                          .txqueuelen = 1000,
                          .gso_max_segs = kGsoMaxSegments});
  state_.facts[name] = {.index = next_index_++, .carrier = true};
  for (const std::string& text : addresses) {
    const Address address{.device = name, .prefix = parse_prefix(text).value()};
    state_.addresses.push_back(address);
    add_connected_route(address);
  }
}

void FakeKernel::fail_at(std::size_t n, int code) {
  fail_at_ = changes_ + n;
  fail_code_ = code;
}

void FakeKernel::crash_at(std::size_t n) {
  crash_at_ = changes_ + n;
}

void FakeKernel::recover() {
  fail_at_ = crash_at_ = kNever;
}

// Counts a change and fails it where a mode says so.
Result<> FakeKernel::enter(std::string call) {
  calls_.push_back(std::move(call));
  ++changes_;
  if (denied_) return errno_failure(calls_.back(), EPERM);
  if (changes_ >= crash_at_) return errno_failure(calls_.back(), EINTR);
  if (changes_ == fail_at_) return errno_failure(calls_.back(), fail_code_);
  return {};
}

Result<netlink::Snapshot> FakeKernel::snapshot() {
  return state_;
}

Link* FakeKernel::find_link(const std::string& name) {
  const auto found = std::find_if(state_.links.begin(), state_.links.end(),
                                  [&](const Link& link) { return link.name == name; });
  return found == state_.links.end() ? nullptr : &*found;
}

Result<> FakeKernel::add_link(const Link& link) {
  if (auto entered = enter("add_link " + link.name); !entered) return entered;
  if (link.name.empty() || link.name.size() > 15) return errno_failure("link name", EINVAL);
  if (link.kind == LinkKind::kOther) return errno_failure("add_link " + link.name, EOPNOTSUPP);
  if (const Link* there = find_link(link.name)) {
    if (there->kind == link.kind && there->alias == link.alias) return {};
    return failure("a device " + link.name + " is there already", EEXIST);
  }
  Link made = link;
  made.up = false;
  made.master.clear();
  if (!made.mac && made.kind != LinkKind::kTun) made.mac = mac_from_seed("link " + link.name);
  if (!made.mtu) made.mtu = 1500;
  if (!made.txqueuelen) made.txqueuelen = made.kind == LinkKind::kTun ? 500 : 1000;
  if (!made.gso_max_segs) made.gso_max_segs = kGsoMaxSegments;
  if (made.kind == LinkKind::kBond && !made.bond) made.bond.emplace();
  if (made.kind != LinkKind::kBond) made.bond.reset();
  state_.links.push_back(made);
  state_.facts[made.name] = {.index = next_index_++};
  return {};
}

Result<> FakeKernel::change_bond(Link& link, const BondOptions& options) {
  if (!link.bond) return errno_failure("bond options of " + link.name, EINVAL);
  const bool has_slaves = std::any_of(state_.links.begin(), state_.links.end(),
                                      [&](const Link& other) { return other.master == link.name; });
  if (options.mode != link.bond->mode && has_slaves) {
    return errno_failure("mode of " + link.name, ENOTEMPTY);
  }
  if (options.mode != link.bond->mode && link.up) return errno_failure("mode of " + link.name, EBUSY);
  link.bond = options;
  return {};
}

Result<> FakeKernel::change_master(Link& link, const std::string& master) {
  if (link.master == master) return {};
  if (!master.empty()) {
    const Link* bond = find_link(master);
    if (bond == nullptr) return errno_failure("master " + master, ENODEV);
    if (bond->kind != LinkKind::kBond || link.kind == LinkKind::kTun) {
      return errno_failure("master " + master, EOPNOTSUPP);
    }
    change_up(link, false);
    link.mac = bond->mac;
  }
  const std::string old = std::exchange(link.master, master);
  if (!old.empty()) after_release(old);
  netlink::LinkFacts& facts = state_.facts[link.name];
  facts.slave_up = master.empty() ? std::nullopt : std::optional(true);
  return {};
}

// The kernel gives a bond that has lost its last slave a random MAC address.
void FakeKernel::after_release(const std::string& master) {
  Link* bond = find_link(master);
  const bool empty = std::none_of(state_.links.begin(), state_.links.end(),
                                  [&](const Link& link) { return link.master == master; });
  if (bond != nullptr && empty) bond->mac = mac_from_seed(fmt::format("random {}", changes_));
}

void FakeKernel::change_up(Link& link, bool up) {
  if (link.up == up) return;
  link.up = up;
  state_.facts[link.name].carrier = up;
  if (up) {
    for (const Address& address : state_.addresses) {
      if (address.device == link.name) add_connected_route(address);
    }
    return;
  }
  drop_routes(link.name, true, true);
  std::erase_if(state_.addresses,
                [&](const Address& a) { return a.device == link.name && !a.prefix.address.is_v4(); });
}

Result<> FakeKernel::set_link(const Link& wanted) {
  if (auto entered = enter("set_link " + wanted.name); !entered) return entered;
  Link* link = find_link(wanted.name);
  if (link == nullptr) return errno_failure("set_link " + wanted.name, ENODEV);
  if (wanted.bond && link->kind == LinkKind::kBond) {
    if (auto changed = change_bond(*link, *wanted.bond); !changed) return changed;
  }
  if (auto changed = change_master(*link, wanted.master); !changed) return changed;
  link->alias = wanted.alias;
  if (wanted.mac && link->master.empty()) link->mac = wanted.mac;
  for (Link& slave : state_.links) {
    if (slave.master == link->name) slave.mac = link->mac;
  }
  if (wanted.mtu) link->mtu = wanted.mtu;
  if (wanted.txqueuelen) link->txqueuelen = wanted.txqueuelen;
  if (wanted.gso_max_segs) link->gso_max_segs = wanted.gso_max_segs;
  if (wanted.owner_uid) link->owner_uid = wanted.owner_uid;
  link->no_ipv6_address = wanted.no_ipv6_address;
  change_up(*link, wanted.up);
  return {};
}

Result<> FakeKernel::delete_link(const std::string& name) {
  if (auto entered = enter("delete_link " + name); !entered) return entered;
  const Link* gone = find_link(name);
  if (gone == nullptr) return {};
  const std::string master = gone->master;
  drop_routes(name, true, true);
  std::erase_if(state_.addresses, [&](const Address& address) { return address.device == name; });
  std::erase_if(state_.links, [&](const Link& link) { return link.name == name; });
  state_.facts.erase(name);
  if (!master.empty()) after_release(master);
  for (Link& link : state_.links) {
    if (link.master != name) continue;
    link.master.clear();
    state_.facts[link.name].slave_up.reset();
    change_up(link, false);
  }
  return {};
}

void FakeKernel::drop_routes(const std::string& device, bool ipv4, bool ipv6) {
  std::erase_if(state_.routes, [&](const Route& route) {
    return route.device == device && (route.destination.address.is_v4() ? ipv4 : ipv6);
  });
}

// The kernel's own route for an address of a device that is up.
void FakeKernel::add_connected_route(const Address& address) {
  const Link* link = find_link(address.device);
  if (link == nullptr || !link->up) return;
  const bool v4 = address.prefix.address.is_v4();
  Route route{.destination = address.prefix.network(), .device = address.device, .protocol = kProtocolKernel};
  if (address.peer) route.destination = IpPrefix{*address.peer, address.prefix.length}.network();
  if (!address.peer && address.prefix.length == address.prefix.address.bits()) return;
  if (v4) {
    route.scope = kScopeLink;
    route.source = address.prefix.address;
  } else {
    route.metric = kIpv6Metric;
  }
  if (!contains(state_.routes, route)) state_.routes.push_back(route);
}

Result<> FakeKernel::add_address(const Address& address) {
  const std::string call = fmt::format("add_address {} dev {}", to_string(address.prefix), address.device);
  if (auto entered = enter(call); !entered) return entered;
  if (find_link(address.device) == nullptr) return errno_failure(call, ENODEV);
  if (contains(state_.addresses, address)) return {};
  state_.addresses.push_back(address);
  add_connected_route(address);
  return {};
}

Result<> FakeKernel::delete_address(const Address& address) {
  const std::string call = fmt::format("delete_address {} dev {}", to_string(address.prefix), address.device);
  if (auto entered = enter(call); !entered) return entered;
  if (!erase_equal(state_.addresses, address)) return {};
  const bool v4 = address.prefix.address.is_v4();
  std::erase_if(state_.routes, [&](const Route& route) {
    const bool connected = route.protocol == kProtocolKernel && route.device == address.device &&
                           route.destination == address.prefix.network() && !v4;
    return connected || route.source == address.prefix.address;
  });
  const bool last = std::none_of(state_.addresses.begin(), state_.addresses.end(), [&](const Address& other) {
    return other.device == address.device && other.prefix.address.is_v4();
  });
  if (v4 && last) drop_routes(address.device, true, false);
  return {};
}

// True if the gateway is on a network that the route's device is connected to.
bool FakeKernel::reachable(const Route& route) const {
  if (route.onlink) return true;
  return std::any_of(state_.routes.begin(), state_.routes.end(), [&](const Route& other) {
    return is_connected(other) && other.device == route.device &&
           other.destination.contains(*route.gateway) &&
           (other.table == route.table || other.table == netlink::kMainTable);
  });
}

Result<> FakeKernel::check_route(const Route& route) {
  if (route.destination != route.destination.network())
    return failure("Invalid prefix for given prefix length", EINVAL);
  if (route.type != RouteType::kUnicast) return {};
  const Link* link = find_link(route.device);
  if (link == nullptr) return failure("Cannot find device " + route.device, ENODEV);
  if (route.gateway && !reachable(route)) return failure("Nexthop has invalid gateway", ENETUNREACH);
  if (!link->up) return failure("Device for nexthop is not up", ENETDOWN);
  const bool source_is_ours = !route.source || std::any_of(state_.addresses.begin(), state_.addresses.end(),
                                                           [&](const Address& address) {
                                                             return address.prefix.address == *route.source;
                                                           });
  if (!source_is_ours) return failure("Invalid prefsrc address", EINVAL);
  return {};
}

Result<> FakeKernel::add_route(const Route& route) {
  const std::string call = "add_route " + describe(route);
  if (auto entered = enter(call); !entered) return entered;
  if (auto checked = check_route(route); !checked) return tl::make_unexpected(checked.error().in(call));
  if (!contains(state_.routes, route)) state_.routes.push_back(route);
  return {};
}

Result<> FakeKernel::delete_route(const Route& route) {
  const std::string call = "delete_route " + describe(route);
  if (auto entered = enter(call); !entered) return entered;
  if (route.protocol == 0) return errno_failure(call, EINVAL);
  erase_equal(state_.routes, route);
  return {};
}

Result<> FakeKernel::add_rule(const Rule& rule) {
  if (auto entered = enter("add_rule " + describe(rule)); !entered) return entered;
  if (!contains(state_.rules, rule)) state_.rules.push_back(rule);
  return {};
}

Result<> FakeKernel::delete_rule(const Rule& rule) {
  const std::string call = "delete_rule " + describe(rule);
  if (auto entered = enter(call); !entered) return entered;
  if (rule.protocol == 0) return errno_failure(call, EINVAL);
  erase_equal(state_.rules, rule);
  return {};
}

}  // namespace bondd::testing

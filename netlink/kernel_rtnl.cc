// Snapshot, addresses, routes and rules of the running kernel; links are in kernel_link.cc.
#include "netlink/kernel_rtnl.h"

#include <fmt/format.h>
#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace bondd::netlink {
namespace {

constexpr std::uint16_t kAdd = NLM_F_CREATE | NLM_F_EXCL;

// As ip(8) would say it, for errors.
std::string describe(const Address& address) {
  return fmt::format("address {} on {}", to_string(address.prefix), address.device);
}

std::string describe(const Route& route) {
  std::string text = "route " + to_string(route.destination);
  if (route.gateway) text += " via " + to_string(*route.gateway);
  if (!route.device.empty()) text += " dev " + route.device;
  return text + fmt::format(" table {}", route.table);
}

constexpr const char* kNotOurs = "has selectors or an action that bondd writes no rules with";

std::string describe(const Rule& rule) {
  std::string text = fmt::format("rule {}", rule.priority);
  if (rule.mask != 0) text += fmt::format(" fwmark {:#x}/{:#x}", rule.mark, rule.mask);
  return text + fmt::format(" lookup {}", rule.table);
}

template <typename T>
Result<> in_context(Result<> result, const T& value) {
  if (result) return result;
  return tl::make_unexpected(result.error().in(describe(value)));
}

template <typename T>
tl::unexpected<Error> passed_on(const Result<T>& failed) {
  return tl::make_unexpected(failed.error());
}

// Of a delete: what is not there is done.
bool already_gone(const Error& error) {
  return error.code == ENOENT || error.code == ESRCH || error.code == ENODEV || error.code == EADDRNOTAVAIL;
}

Result<> gone(Result<> result) {
  if (!result && already_gone(result.error())) return {};
  return result;
}

DeviceNames names_of(const std::vector<KernelLink>& links) {
  DeviceNames names;
  for (const KernelLink& link : links) names[link.facts.index] = link.link.name;
  return names;
}

template <typename T>
bool contains(const std::vector<T>& values, const T& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

}  // namespace

Result<std::vector<KernelLink>> KernelRtnl::read_links() {
  std::vector<KernelLink> links;
  Message message(RTM_GETLINK, 0);
  message.header<ifinfomsg>();
  auto read = socket_.dump(
      message, [&] { links.clear(); },
      [&](const nlmsghdr* answer) {
        if (auto link = parse_link(answer)) links.push_back(std::move(*link));
      });
  if (!read) return tl::make_unexpected(read.error().in("reading links"));
  const DeviceNames names = names_of(links);
  for (KernelLink& link : links) {
    const auto master = names.find(link.master_index);
    if (master != names.end()) link.link.master = master->second;
  }
  return links;
}

Result<DeviceNames> KernelRtnl::device_names() {
  const auto links = read_links();
  if (!links) return passed_on(links);
  return names_of(*links);
}

Result<std::vector<Address>> KernelRtnl::read_addresses(const DeviceNames& names) {
  std::vector<Address> addresses;
  Message message(RTM_GETADDR, 0);
  message.header<ifaddrmsg>();
  auto read = socket_.dump(
      message, [&] { addresses.clear(); },
      [&](const nlmsghdr* answer) {
        if (auto address = parse_address(answer, names)) addresses.push_back(*address);
      });
  if (!read) return tl::make_unexpected(read.error().in("reading addresses"));
  return addresses;
}

Result<std::vector<Route>> KernelRtnl::read_routes(const DeviceNames& names) {
  std::vector<Route> routes;
  NextHops hops;
  bool incomplete = false;
  const auto read_all = [&] {
    Message message(RTM_GETROUTE, 0);
    message.header<rtmsg>();
    return socket_.dump(
        message, [&] { routes.clear(); },
        [&](const nlmsghdr* answer) {
          incomplete = incomplete || needs_next_hops(answer);
          for (Route& route : parse_route(answer, names, hops)) routes.push_back(std::move(route));
        });
  };
  auto read = read_all();
  if (read && incomplete) {
    hops = read_next_hops();
    routes.clear();
    read = read_all();
  }
  if (!read) return tl::make_unexpected(read.error().in("reading routes"));
  return routes;
}

// None on a kernel without nexthop objects (before 5.3).
NextHops KernelRtnl::read_next_hops() {
  NextHops hops;
  Message message(RTM_GETNEXTHOP, 0);
  message.header<nhmsg>();
  const auto read = socket_.dump(
      message, [&] { hops.clear(); }, [&](const nlmsghdr* answer) { add_next_hop(answer, hops); });
  if (!read) return {};
  resolve_groups(hops);
  return hops;
}

Result<std::vector<Rule>> KernelRtnl::read_rules() {
  std::vector<Rule> rules;
  Message message(RTM_GETRULE, 0);
  message.header<fib_rule_hdr>();
  auto read = socket_.dump(
      message, [&] { rules.clear(); },
      [&](const nlmsghdr* answer) {
        if (auto rule = parse_rule(answer)) rules.push_back(*rule);
      });
  if (!read) return tl::make_unexpected(read.error().in("reading rules"));
  return rules;
}

Result<std::vector<Neighbour>> KernelRtnl::read_neighbours(const DeviceNames& names) {
  std::vector<Neighbour> neighbours;
  Message message(RTM_GETNEIGH, 0);
  message.header<ndmsg>().ndm_family = AF_INET;
  auto read = socket_.dump(
      message, [&] { neighbours.clear(); },
      [&](const nlmsghdr* answer) {
        if (auto neighbour = parse_neighbour(answer, names)) neighbours.push_back(std::move(*neighbour));
      });
  if (!read) return tl::make_unexpected(read.error().in("reading neighbours"));
  return neighbours;
}

Result<Snapshot> KernelRtnl::snapshot() {
  Snapshot snapshot;
  auto links = read_links();
  if (!links) return passed_on(links);
  const DeviceNames names = names_of(*links);
  auto addresses = read_addresses(names);
  if (!addresses) return passed_on(addresses);
  auto routes = read_routes(names);
  if (!routes) return passed_on(routes);
  auto rules = read_rules();
  if (!rules) return passed_on(rules);
  auto neighbours = read_neighbours(names);
  if (!neighbours) return passed_on(neighbours);
  for (KernelLink& link : *links) {
    snapshot.facts[link.link.name] = link.facts;
    snapshot.links.push_back(std::move(link.link));
  }
  snapshot.addresses = std::move(*addresses);
  snapshot.routes = std::move(*routes);
  snapshot.rules = std::move(*rules);
  snapshot.neighbours = std::move(*neighbours);
  return snapshot;
}

Result<std::optional<KernelLink>> KernelRtnl::find_link(Message& message) {
  std::optional<KernelLink> found;
  auto got = socket_.get(message, [&](const nlmsghdr* answer) { found = parse_link(answer); });
  if (!got && got.error().code == ENODEV) return std::nullopt;
  if (!got) return passed_on(got);
  return found;
}

Result<std::optional<KernelLink>> KernelRtnl::find_link(int index) {
  Message message(RTM_GETLINK, 0);
  message.header<ifinfomsg>().ifi_index = index;
  return find_link(message);
}

Result<std::optional<KernelLink>> KernelRtnl::find_link(const std::string& name) {
  if (name.empty() || name.size() >= IFNAMSIZ) return failure("bad device name '" + name + "'", EINVAL);
  Message message(RTM_GETLINK, 0);
  message.header<ifinfomsg>();
  message.put_name(IFLA_IFNAME, name);
  auto found = find_link(message);
  if (!found || !*found || (*found)->master_index == 0) return found;
  const auto master = find_link((*found)->master_index);
  if (!master) return passed_on(master);
  if (*master) (*found)->link.master = (*master)->link.name;
  return found;
}

// 0 for no device; ENODEV if there is none of that name.
Result<int> KernelRtnl::index_of(const std::string& device) {
  if (device.empty()) return 0;
  const auto link = find_link(device);
  if (!link) return passed_on(link);
  if (!*link) return failure(fmt::format("there is no device {}", device), ENODEV);
  return (*link)->facts.index;
}

Result<bool> KernelRtnl::has_address(const Address& address) {
  const auto names = device_names();
  if (!names) return passed_on(names);
  const auto addresses = read_addresses(*names);
  if (!addresses) return passed_on(addresses);
  return contains(*addresses, address);
}

Result<> KernelRtnl::add_address(const Address& address) {
  const auto device = index_of(address.device);
  if (!device) return in_context(passed_on(device), address);
  Message message(RTM_NEWADDR, kAdd);
  put_address_message(message, address, *device);
  auto added = socket_.request(message);
  if (added || added.error().code != EEXIST) return in_context(std::move(added), address);
  // The kernel calls it "exists" too when only the peer or the prefix length differs.
  const auto there = has_address(address);
  if (!there) return in_context(passed_on(there), address);
  if (*there) return {};
  return in_context(failure("the device has it with another peer or prefix length", EEXIST), address);
}

Result<> KernelRtnl::delete_address(const Address& address) {
  const auto device = index_of(address.device);
  if (!device) return in_context(gone(passed_on(device)), address);
  Message message(RTM_DELADDR, 0);
  put_address_message(message, address, *device);
  return in_context(gone(socket_.request(message)), address);
}

Result<bool> KernelRtnl::has_route(const Route& route) {
  const auto names = device_names();
  if (!names) return passed_on(names);
  const auto routes = read_routes(*names);
  if (!routes) return passed_on(routes);
  return contains(*routes, route);
}

Result<> KernelRtnl::add_route(const Route& route) {
  const auto device = index_of(route.device);
  if (!device) return in_context(passed_on(device), route);
  // IPv4 without EXCL: EEXIST then means an equal route in everything, protocol too, and
  // another's route to the same place steps behind ours. IPv6 would make one multipath route of the two.
  const bool v4 = route.destination.address.is_v4();
  Message message(RTM_NEWROUTE, v4 ? std::uint16_t{NLM_F_CREATE} : kAdd);
  put_route(message, route, *device);
  auto added = socket_.request(message);
  if (added || added.error().code != EEXIST) return in_context(std::move(added), route);
  if (v4) return {};
  const auto there = has_route(route);
  if (!there) return in_context(passed_on(there), route);
  if (*there) return {};
  return in_context(failure("another route to it has the same metric", EEXIST), route);
}

// The kernel deletes the first route that matches what is given, and takes a missing gateway or a
// metric of 0 for "any": so it is asked only if the very route is there.
Result<> KernelRtnl::delete_route(const Route& route) {
  if (route.protocol == 0) return in_context(failure("has no protocol number to be known by", EINVAL), route);
  const auto device = index_of(route.device);
  if (!device) return in_context(gone(passed_on(device)), route);
  const auto there = has_route(route);
  if (!there) return in_context(passed_on(there), route);
  if (!*there) return {};
  Message message(RTM_DELROUTE, 0);
  put_route(message, route, *device);
  return in_context(gone(socket_.request(message)), route);
}

Result<bool> KernelRtnl::has_rule(const Rule& rule) {
  const auto rules = read_rules();
  if (!rules) return passed_on(rules);
  return contains(*rules, rule);
}

Result<> KernelRtnl::add_rule(const Rule& rule) {
  if (!rule.plain()) return in_context(failure(kNotOurs, EINVAL), rule);
  // EXCL passes over the protocol number, and an equal rule of the admin would stand for ours
  // until he deletes it. So ours is looked for here.
  const auto there = has_rule(rule);
  if (!there) return in_context(passed_on(there), rule);
  if (*there) return {};
  Message message(RTM_NEWRULE, NLM_F_CREATE);
  put_rule(message, rule);
  return in_context(socket_.request(message), rule);
}

// As delete_route: what is not given matches all.
Result<> KernelRtnl::delete_rule(const Rule& rule) {
  if (rule.protocol == 0) return in_context(failure("has no protocol number to be known by", EINVAL), rule);
  if (!rule.plain()) return in_context(failure(kNotOurs, EINVAL), rule);
  const auto there = has_rule(rule);
  if (!there) return in_context(passed_on(there), rule);
  if (!*there) return {};
  Message message(RTM_DELRULE, 0);
  put_rule(message, rule);
  return in_context(gone(socket_.request(message)), rule);
}

Result<std::unique_ptr<Rtnl>> make_rtnl() {
  auto socket = Socket::open();
  if (!socket) return passed_on(socket);
  return std::make_unique<KernelRtnl>(std::move(*socket));
}

}  // namespace bondd::netlink

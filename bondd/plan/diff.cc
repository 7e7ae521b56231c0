// Steps from what is there to what is wanted. The order is the safety: the firewall
// stands before the first route leads through it, routes and rules stand before the
// first packet is sent, and everything goes in reverse.
//
//   stop changed processes -> sysctls -> firewall -> links and their sysctls -> addresses -> routes -> rules
//   -> start processes -> rules, routes, addresses, links, firewall, sysctls that are no longer wanted
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "bondd/plan/plan.h"
#include "rules/iptables.h"

namespace bondd::plan {
namespace {

using namespace model;
using netlink::Link;
using netlink::Route;

template <typename T>
bool contains(const std::vector<T>& list, const T& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

const Link* find_link(const std::vector<Link>& links, const std::string& name) {
  const auto found =
      std::find_if(links.begin(), links.end(), [&](const Link& link) { return link.name == name; });
  return found == links.end() ? nullptr : &*found;
}

template <typename T>
bool same_if_wanted(const std::optional<T>& wanted, const std::optional<T>& there) {
  return !wanted || wanted == there;
}

// A slave wears the bond's MAC, so a tap's own is not compared.
bool link_as_wanted(const Link& wanted, const Link& there) {
  return wanted.alias == there.alias && wanted.master == there.master && wanted.up == there.up &&
         (!wanted.master.empty() || same_if_wanted(wanted.mac, there.mac)) &&
         same_if_wanted(wanted.mtu, there.mtu) && same_if_wanted(wanted.txqueuelen, there.txqueuelen) &&
         same_if_wanted(wanted.gso_max_segs, there.gso_max_segs) &&
         (!wanted.no_ipv6_address || there.no_ipv6_address);
}

// What can only be had by making the link anew.
bool must_be_remade(const Link& wanted, const Link& there) {
  return wanted.kind != there.kind || !same_if_wanted(wanted.bond, there.bond) ||
         !same_if_wanted(wanted.owner_uid, there.owner_uid);
}

// The kernel takes one route per destination, table and metric.
auto route_key(const Route& route) {
  return std::tuple(route.destination, route.table, route.metric);
}

class Differ {
 public:
  Differ(const DesiredState& desired, const Owned& owned) : desired_(desired), owned_(owned) {}

  std::vector<Step> steps() {
    stop_processes();
    set_sysctls();
    if (!desired_.firewall.empty() && !rules::equivalent(desired_.firewall, owned_.firewall)) {
      add(InstallFirewall{desired_.firewall});
    }
    add_links();
    set_device_sysctls();
    for (const auto& address : desired_.addresses) {
      if (remade_.contains(address.device) || !contains(owned_.addresses, address)) add(AddAddress{address});
    }
    add_routes();
    for (const auto& rule : desired_.rules) {
      if (!contains(owned_.rules, rule)) add(AddRule{rule});
    }
    for (const auto& process : desired_.processes) {
      if (!contains(owned_.processes, process)) add(StartProcess{process});
    }
    remove_what_is_left();
    return std::move(steps_);
  }

 private:
  void add(Step step) { steps_.push_back(std::move(step)); }

  void stop_processes() {
    for (const auto& process : owned_.processes) {
      if (!contains(desired_.processes, process)) add(StopProcess{process.id});
    }
  }

  // Every wanted value is written down once, also one that is right already: another step
  // may change it on the way (see plan_sysctls).
  void set_sysctls() {
    for (const Sysctl& sysctl : desired_.sysctls) {
      const auto current = owned_.current_sysctls.find(sysctl.key);
      if (current == owned_.current_sysctls.end() || is_fixed(sysctl)) continue;  // or no such key here
      const auto saved = owned_.saved_sysctls.find(sysctl.key);
      if (saved == owned_.saved_sysctls.end()) {
        add(SetSysctl{sysctl, current->second});
      } else if (current->second != sysctl.value) {
        add(SetSysctl{sysctl, saved->second});
      }
    }
  }

  [[nodiscard]] bool is_fixed(const Sysctl& sysctl) const {
    return std::ranges::any_of(owned_.fixed_sysctls,
                               [&](const FixedSysctl& fixed) { return fixed.wanted.key == sysctl.key; });
  }

  void add_links() {
    for (const Link& link : desired_.links) {
      const Link* there = find_link(owned_.links, link.name);
      if (there != nullptr && must_be_remade(link, *there)) {
        add(DeleteLink{link.name});
        remade_.insert(link.name);
        there = nullptr;
      }
      if (there == nullptr) {
        remade_.insert(link.name);
        Link bare = link;  // made down and free; the next step makes it what it shall be
        bare.master.clear();
        bare.up = false;
        add(AddLink{bare});
      }
      if (there == nullptr || !link_as_wanted(link, *there) || remade_.contains(link.master))
        add(SetLink{link});
    }
  }

  // A device that is made now starts with the kernel's defaults.
  void set_device_sysctls() {
    for (const Sysctl& sysctl : desired_.device_sysctls) {
      const auto current = owned_.current_sysctls.find(sysctl.key);
      const bool known = current != owned_.current_sysctls.end();
      const bool remade = std::any_of(remade_.begin(), remade_.end(), [&](const std::string& device) {
        return sysctl.key.find(fmt::format(".conf.{}.", device_key(device))) != std::string::npos;
      });
      if (is_fixed(sysctl)) continue;
      if (remade || (known && current->second != sysctl.value)) add(SetDeviceSysctl{sysctl});
    }
  }

  // A route goes with its device, so what led through a remade link is to be made again.
  void add_routes() {
    for (const Route& route : desired_.routes) {
      if (!remade_.contains(route.device) && contains(owned_.routes, route)) continue;
      for (const Route& old : owned_.routes) {
        if (old != route && route_key(old) == route_key(route)) {
          add(DeleteRoute{old});
          replaced_.push_back(old);
        }
      }
      add(AddRoute{route});
    }
  }

  void remove_what_is_left() {
    for (const auto& rule : owned_.rules) {
      if (!contains(desired_.rules, rule)) add(DeleteRule{rule});
    }
    for (const Route& route : owned_.routes) {
      if (!contains(desired_.routes, route) && !contains(replaced_, route)) add(DeleteRoute{route});
    }
    for (const auto& address : owned_.addresses) {
      if (!contains(desired_.addresses, address)) add(DeleteAddress{address});
    }
    for (auto link = owned_.links.rbegin(); link != owned_.links.rend();
         ++link) {  // slaves before their bond
      if (find_link(desired_.links, link->name) == nullptr) add(DeleteLink{link->name});
    }
    if (desired_.firewall.empty() && !owned_.firewall.empty()) add(RemoveFirewall{owned_.firewall});
    remove_stale_chains();
    restore_sysctls();
  }

  // Installing writes the wanted chains whole; chains that are no longer wanted go one by one.
  void remove_stale_chains() {
    if (desired_.firewall.empty()) return;
    std::set<std::pair<std::string, std::string>> wanted;
    for (const auto& table : desired_.firewall.tables) {
      for (const auto& chain : table.chains) wanted.emplace(table.name, chain.name);
    }
    rules::Firewall stale;
    for (const auto& table : owned_.firewall.tables) {
      rules::Table left{table.name, {}, {}};
      for (const auto& chain : table.chains) {
        if (!wanted.contains({table.name, chain.name})) left.chains.push_back(chain);
      }
      for (const auto& jump : table.jumps) {
        if (!wanted.contains({table.name, jump.chain})) left.jumps.push_back(jump);
      }
      if (!left.chains.empty() || !left.jumps.empty()) stale.tables.push_back(left);
    }
    if (!stale.empty()) add(RemoveFirewall{stale});
  }

  // In the order in which they were set: forwarding first, for it changes others again.
  void restore_sysctls() {
    std::set<std::string> wanted;
    for (const Sysctl& sysctl : desired_.sysctls) wanted.insert(sysctl.key);
    const auto restore = [&](const std::string& key, const std::string& value) {
      if (!wanted.contains(key)) add(RestoreSysctl{Sysctl{key, value}});
    };
    constexpr const char* kForwarding = "net.ipv4.ip_forward";
    if (const auto saved = owned_.saved_sysctls.find(kForwarding); saved != owned_.saved_sysctls.end()) {
      restore(kForwarding, saved->second);
    }
    for (const auto& [key, value] : owned_.saved_sysctls) {
      if (key != kForwarding) restore(key, value);
    }
  }

  const DesiredState& desired_;
  const Owned& owned_;
  std::vector<Step> steps_;
  std::set<std::string> remade_;  // links
  std::vector<Route> replaced_;
};

}  // namespace

std::vector<Step> diff(const DesiredState& desired, const Owned& owned) {
  return Differ(desired, owned).steps();
}

}  // namespace bondd::plan

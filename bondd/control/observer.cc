#include "bondd/control/observer.h"

#include <fmt/format.h>
#include <grp.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "bondd/model/ownership.h"
#include "bondd/plan/exits.h"
#include "bondd/plan/plan.h"
#include "bondd/supervise/run_program.h"
#include "bondd/supervise/spawn.h"
#include "openvpn-profiles/profile.h"

namespace bondd::control {
namespace {

bool is_link_local(const IpPrefix& prefix) {
  return !prefix.address.is_v4() && prefix.address.data()[0] == 0xfe &&
         (prefix.address.data()[1] & 0xc0) == 0x80;
}

bool in_slot(std::uint32_t table, unsigned slot) {
  return table >= model::bond_table(slot) && table < model::bond_table(slot + 1);
}

void find_user(Programs& programs) {
  const passwd* user = supervise::unprivileged_user();
  if (user == nullptr) return;
  programs.uid = user->pw_uid;
  programs.user = user->pw_name;
  const group* own = getgrgid(user->pw_gid);
  programs.group = own != nullptr ? own->gr_name : fmt::format("{}", user->pw_gid);
}

// A plan starts from the machine as it was before us: what we changed counts with its old
// value, or the next plan would no longer see why it had to be changed.
std::string value_before_us(const std::string& key, const std::string& now,
                            const std::map<std::string, std::string>& saved) {
  if (const auto found = saved.find(key); found != saved.end()) return found->second;
  // Switching ip_forward on switches every device's forwarding on. Those that were on before are saved.
  const auto forward = saved.find("net.ipv4.ip_forward");
  const bool ours = forward != saved.end() && forward->second == "0" && key.ends_with(".forwarding");
  return ours ? "0" : now;
}

}  // namespace

model::Owned owned_network(const netlink::Snapshot& snapshot, const std::string& site, unsigned slot) {
  model::Owned owned;
  const std::string alias = model::link_alias(site);
  std::copy_if(
      snapshot.links.begin(), snapshot.links.end(), std::back_inserter(owned.links),
      [&](const netlink::Link& link) { return link.alias == alias || netlink::is_half_made(link, alias); });
  std::set<std::string> names;
  for (const netlink::Link& link : owned.links) names.insert(link.name);
  // Addresses have no tag: those on our own links are ours, but for the kernel's link-local ones.
  std::copy_if(snapshot.addresses.begin(), snapshot.addresses.end(), std::back_inserter(owned.addresses),
               [&](const netlink::Address& address) {
                 return names.contains(address.device) && !is_link_local(address.prefix);
               });
  std::copy_if(snapshot.routes.begin(), snapshot.routes.end(), std::back_inserter(owned.routes),
               [&](const netlink::Route& route) {
                 return route.protocol == model::kProtocol &&
                        (in_slot(route.table, slot) || names.contains(route.device));
               });
  std::copy_if(snapshot.rules.begin(), snapshot.rules.end(), std::back_inserter(owned.rules),
               [&](const netlink::Rule& rule) {
                 return rule.protocol == model::kProtocol && rule.plain() &&
                        rule.priority >= model::rule_priority::kFirst &&
                        rule.priority <= model::rule_priority::kLast &&
                        (in_slot(rule.table, slot) || rule.priority == model::rule_priority::kMain + slot);
               });
  return owned;
}

Programs find_programs() {
  Programs programs;
  find_user(programs);
  const auto path = supervise::find_program("openvpn");
  if (!path) return programs;
  programs.openvpn = *path;
  // Its exit status is 1 for --version up to 2.5.
  const auto ran = supervise::run_program({*path, "--version"});
  if (!ran) return programs;
  if (const auto version = openvpn::parse_version(ran->output)) {
    programs.openvpn_minor = version->minor;
    programs.openvpn_version = openvpn::to_string(*version);
  }
  return programs;
}

Result<> Observer::read_firewall() {
  auto firewall = iptables_->observe({"BONDD-", model::chain_suffix(run_dir_->site())});
  if (firewall) {
    firewall_ = std::move(*firewall);
    firewall_error_.reset();
    return {};
  }
  firewall_error_ = firewall.error();
  if (!tolerant_) return tl::make_unexpected(firewall.error());
  firewall_ = rules::Firewall{};
  return {};
}

// A gateway keeps the hardware address that it last had: the kernel forgets those it has not heard for a
// while, and the plan would change with every silence.
void Observer::remember_gateways(const model::Config& config, netlink::Snapshot& network) {
  for (const model::Wan& wan : config.wans) {
    const plan::Exit exit = plan::find_exit(wan, network);
    const auto is_it = [&](const netlink::Neighbour& one) {
      return one.device == exit.device && exit.gateway == one.address;
    };
    const auto now = std::find_if(network.neighbours.begin(), network.neighbours.end(), is_it);
    const auto before = std::find_if(gateways_.begin(), gateways_.end(), is_it);
    if (now == network.neighbours.end()) {
      if (before != gateways_.end()) network.neighbours.push_back(*before);
    } else if (before == gateways_.end()) {
      gateways_.push_back(*now);
    } else {
      *before = *now;
    }
  }
}

Result<Observation> Observer::observe(Depth depth, unsigned slot, const Programs& programs,
                                      const model::Config* config) {
  auto snapshot = rtnl_->snapshot();
  if (!snapshot) return tl::make_unexpected(snapshot.error().in("cannot read the network's state"));
  if (config != nullptr && config->role == model::Role::kClient) remember_gateways(*config, *snapshot);
  if (depth == Depth::kAll || !firewall_) {
    if (auto read = read_firewall(); !read)
      return tl::make_unexpected(read.error().in("cannot read the firewall"));
  }
  Observation seen;
  seen.owned = owned_network(*snapshot, run_dir_->site(), slot);
  seen.owned.firewall = *firewall_;
  seen.owned.saved_sysctls = run_dir_->saved_sysctls();
  if (processes_ != nullptr) seen.owned.processes = processes_->running();

  std::vector<std::string> keys;
  if (config != nullptr) keys = plan::relevant_sysctls(*config, *snapshot);
  for (const auto& [key, saved] : seen.owned.saved_sysctls) keys.push_back(key);
  for (const std::string& key : keys) {
    auto value = sysctls_->read(key);
    if (!value) continue;
    seen.facts.sysctls[key] = value_before_us(key, *value, seen.owned.saved_sysctls);
    seen.owned.current_sysctls[key] = std::move(*value);
  }

  seen.facts.slot = slot;
  seen.facts.mark_uses = iptables_->mark_uses();
  seen.facts.network = std::move(*snapshot);
  seen.facts.unprivileged_uid = programs.uid;
  seen.facts.unprivileged_user = programs.user;
  seen.facts.unprivileged_group = programs.group;
  seen.facts.openvpn_minor = programs.openvpn_minor;
  seen.facts.openvpn = programs.openvpn;
  seen.facts.run_dir = run_dir_->path();
  return seen;
}

void Observer::read_sysctls(const model::DesiredState& desired, model::Owned& owned) const {
  for (const auto* sysctls : {&desired.sysctls, &desired.device_sysctls}) {
    for (const model::Sysctl& sysctl : *sysctls) {
      auto value = sysctls_->read(sysctl.key);
      // A device that is to be made starts with the values of "default".
      const std::string key =
          value || sysctl_device(sysctl.key).empty() ? sysctl.key : with_device(sysctl.key, "default");
      const auto now = value ? value : sysctls_->read(key);
      if (now && *now != sysctl.value && sysctls_->is_fixed(key))
        owned.fixed_sysctls.push_back({sysctl, *now});
      if (value) owned.current_sysctls[sysctl.key] = std::move(*value);
    }
  }
}

}  // namespace bondd::control

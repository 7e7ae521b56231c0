#include "bondd/control/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "bondd/model/ownership.h"
#include "bondd/plan/lans.h"
#include "bondd/plan/plan.h"

namespace bondd::control {
namespace {

constexpr const char* kForwarding = "net.ipv4.ip_forward";
constexpr const char* kStillForwards = "this machine still forwards packets";

// What of others shows that packets are forwarded: rules, and interfaces to guests or another tunnel. A
// bridge of virtual machines needs no rule.
std::set<std::string> forwarding_users(rules::Iptables& iptables, netlink::Rtnl& rtnl) {
  std::set<std::string> users = iptables.forwarding_rules();
  const auto network = rtnl.snapshot();
  if (!network) return users;
  for (const netlink::Link& link : network->links) {
    if (!link.up || link.name == "lo" || link.alias.starts_with(model::link_alias(""))) continue;
    if (!link.master.empty()) users.insert("interface " + link.master);
    if (plan::is_inner_device(link.name)) users.insert("interface " + link.name);
  }
  return users;
}

// A program that came while forwarding was on (docker, libvirt, a VPN) found it on and did not switch it on
// itself.
std::string new_forwarding_user(const std::optional<std::set<std::string>>& before,
                                const std::set<std::string>& now) {
  if (!before) return {};
  for (const std::string& user : now) {
    if (!before->contains(user)) return fmt::format("another program forwards packets by now ({})", user);
  }
  return {};
}

std::string left_alone(const std::string& key, const std::string& now, const std::string& before,
                       const std::string& why) {
  return fmt::format("{0} stays {1}, it was {2} before bondd: {3}; `sysctl -w {0}={2}` puts it back", key,
                     now, before, why);
}

// "net.ipv4.conf.eth0/100.rp_filter" is of eth0.100.
std::string device_of_key(std::string_view key) {
  constexpr std::string_view kConf = ".conf.";
  const std::size_t begin = key.find(kConf), end = key.rfind('.');
  if (begin == std::string_view::npos || end < begin + kConf.size()) return {};
  std::string device(key.substr(begin + kConf.size(), end - begin - kConf.size()));
  std::replace(device.begin(), device.end(), '/', '.');
  return device;
}

// The interface that a step changes or leads through; empty: none.
struct InterfaceOf {
  std::string operator()(const model::AddLink& one) const { return one.link.name; }
  std::string operator()(const model::SetLink& one) const { return one.link.name; }
  std::string operator()(const model::AddAddress& one) const { return one.address.device; }
  std::string operator()(const model::AddRoute& one) const { return one.route.device; }
  std::string operator()(const model::SetDeviceSysctl& one) const { return device_of_key(one.sysctl.key); }
  std::string operator()(const auto& /*other*/) const { return {}; }
};

}  // namespace

std::vector<Error> Executor::execute(const std::vector<model::Step>& steps) {
  not_set_up_.clear();
  std::vector<Error> errors = save_settings(steps);
  if (!errors.empty()) return errors;  // what cannot be put back must not be changed
  look_at_settings(steps);
  // An interface that could not be made may be there and somebody else's: nothing of the plan is done to it.
  std::set<std::string> not_made;
  for (const model::Step& step : steps) {
    if (const std::string name = std::visit(InterfaceOf{}, step); !name.empty() && not_made.contains(name))
      continue;
    auto done = execute(step);
    if (done) continue;
    if (const auto* link = std::get_if<model::AddLink>(&step)) not_made.insert(link->link.name);
    if (!std::holds_alternative<model::SetDeviceSysctl>(step))
      not_set_up_.insert(std::visit(InterfaceOf{}, step));
    errors.push_back(std::move(done.error()));
  }
  return errors;
}

Result<> Executor::execute(const model::Step& step) {
  auto done = std::visit([this](const auto& one) { return run(one); }, step);
  if (done) return done;
  const std::vector<std::string> lines = plan::print({step});
  return tl::make_unexpected(done.error().in(lines.empty() ? "a step of the plan" : lines.front()));
}

// All old values are on disk before the kernel has the first new one: a change of forwarding changes
// other settings along, and a crash may come at any time.
std::vector<Error> Executor::save_settings(const std::vector<model::Step>& steps) {
  std::vector<Error> errors;
  for (const model::Step& step : steps) {
    const auto* set = std::get_if<model::SetSysctl>(&step);
    if (set == nullptr) continue;
    const model::Sysctl& wanted = set->sysctl;
    auto saved = machine_.run_dir->save_sysctl(wanted.key, set->saved, wanted.value,
                                               machine_.sysctls->device_index(wanted.key));
    if (saved && wanted.key == kForwarding && set->saved == "0")
      saved = machine_.run_dir->note_forwarding_users(forwarding_users(*machine_.iptables, *machine_.rtnl));
    if (!saved) errors.push_back(saved.error());
  }
  return errors;
}

// Putting one back changes others (forwarding does), so whose they are is looked at before.
void Executor::look_at_settings(const std::vector<model::Step>& steps) {
  current_.clear();
  forwarding_stays_ = false;
  for (const model::Step& step : steps) {
    const auto* restore = std::get_if<model::RestoreSysctl>(&step);
    if (restore == nullptr) continue;
    const std::string& key = restore->sysctl.key;
    if (auto value = machine_.sysctls->read(name_now(key))) current_[key] = *value;
  }
}

// A value that is right is not written: /proc/sys may be read-only, as in a container.
Result<> Executor::run(const model::SetSysctl& step) {
  if (machine_.sysctls->read(step.sysctl.key) == step.sysctl.value) return {};
  return machine_.sysctls->write(step.sysctl.key, step.sysctl.value);
}

Result<> Executor::run(const model::SetDeviceSysctl& step) {
  const model::Sysctl& wanted = step.sysctl;
  const auto now = machine_.sysctls->read(wanted.key);
  const bool needed = wanted.need != model::Need::kMay;
  if (now == wanted.value || (!now && !needed)) return {};
  auto written = machine_.sysctls->write(wanted.key, wanted.value);
  if (!written && written.error().code == EROFS && !needed) return {};
  return written;
}

// A device that was renamed meanwhile took its settings along.
std::string Executor::name_now(const std::string& key) const {
  const unsigned device = machine_.run_dir->sysctl_device_index(key);
  if (device == 0 || machine_.sysctls->device_index(key) == device) return key;
  return machine_.sysctls->of_device(key, device).value_or(key);
}

Result<> Executor::run(const model::RestoreSysctl& step) {
  const std::string& key = step.sysctl.key;
  const std::string name = name_now(key);
  const auto now = machine_.sysctls->read(name);
  // A setting that left with its device needs nothing put back, nor does one that is right.
  if (now && *now != step.sysctl.value && !machine_.run_dir->hand_over_sysctl(key)) {
    if (const std::string claim = claim_of_others(step.sysctl); !claim.empty()) {
      left_alone_.push_back(left_alone(name, *now, step.sysctl.value, claim));
    } else if (auto written = machine_.sysctls->write(name, step.sysctl.value);
               !written && written.error().code != ENOENT) {
      return written;
    }
  }
  machine_.run_dir->forget_sysctl(key);
  return {};
}

// Only a value that is still the one that bondd wrote is bondd's to put back.
std::string Executor::claim_of_others(const model::Sysctl& before) {
  const auto set = machine_.run_dir->sysctl_set(before.key);
  const auto now = current_.find(before.key);
  // A down that was killed after it put forwarding back: that switched redirects on, as inet_forward_change()
  // does.
  const bool by_kernel =
      before.key.ends_with(".accept_redirects") && !machine_.run_dir->saved_sysctls().contains(kForwarding);
  if (set && now != current_.end() && now->second != *set && !by_kernel)
    return fmt::format("bondd had set it to {}, somebody else to {}", *set, now->second);
  const bool forwards =
      before.value == "0" && (before.key == kForwarding || before.key.ends_with(".forwarding"));
  if (forwards) {
    const std::string user = new_forwarding_user(machine_.run_dir->forwarding_users(),
                                                 forwarding_users(*machine_.iptables, *machine_.rtnl));
    forwarding_stays_ = !user.empty();
    return user;
  }
  // With forwarding on the kernel itself would have switched this off: inet_forward_change().
  if (forwarding_stays_ && before.key.ends_with(".accept_redirects")) return kStillForwards;
  return {};
}

std::vector<std::string> settings_left(const SettingsBefore& before, const std::filesystem::path& run_root,
                                       const Sysctls& sysctls, rules::Iptables& iptables,
                                       netlink::Rtnl& rtnl) {
  std::set<std::string> needed;
  for (const std::string& site : known_sites(run_root)) {
    if (!runs_in_this_netns(RunDirView(run_root, site))) continue;
    for (const auto& [key, value] : RunDirView(run_root, site).saved_sysctls()) needed.insert(key);
  }
  const bool forwards = sysctls.read(kForwarding) == "1";
  std::vector<std::string> left;
  for (const auto& [key, value] : before.values) {
    const auto now = sysctls.read(key);
    if (!now || *now == value || needed.contains(key)) continue;
    std::string why;
    if (key == kForwarding)
      why = new_forwarding_user(before.forwarding_users, forwarding_users(iptables, rtnl));
    if (forwards && key.ends_with(".accept_redirects")) why = kStillForwards;  // inet_forward_change()
    left.push_back(left_alone(key, *now, value, why.empty() ? "another program set it" : why));
  }
  return left;
}

}  // namespace bondd::control

// Carries out a plan's steps. The order is the plan's; a step that fails does not
// stop those after it.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/control/process_table.h"
#include "bondd/control/run_dir.h"
#include "bondd/control/sysctls.h"
#include "bondd/model/state.h"
#include "netlink/rtnl.h"
#include "rules/iptables.h"

namespace bondd::control {

// Where changes go. All borrowed, all outlive their users.
struct Machine {
  netlink::Rtnl* rtnl = nullptr;
  rules::Iptables* iptables = nullptr;
  Sysctls* sysctls = nullptr;
  ProcessTable* processes = nullptr;
  RunDir* run_dir = nullptr;
};

class Executor {
 public:
  explicit Executor(const Machine& machine) : machine_(machine) {}

  // One error per step that failed, each with the step as a command line in front. Empty: all
  // done. Nothing is done when old settings cannot be written down first.
  std::vector<Error> execute(const std::vector<model::Step>& steps);
  // The interfaces of which some link, address or route could not be set by the last execute().
  [[nodiscard]] const std::set<std::string>& not_set_up() const { return not_set_up_; }
  // Settings that were not put back since they are no longer bondd's to put back, in words. Emptied by the
  // call.
  std::vector<std::string> take_left_alone() { return std::exchange(left_alone_, {}); }

 private:
  Result<> execute(const model::Step& step);
  std::vector<Error> save_settings(const std::vector<model::Step>& steps);
  Result<> run(const model::SetSysctl& step);
  Result<> run(const model::RestoreSysctl& step);
  Result<> run(const model::SetDeviceSysctl& step);
  Result<> run(const model::InstallFirewall& step) { return machine_.iptables->install(step.firewall); }
  Result<> run(const model::RemoveFirewall& step) { return machine_.iptables->remove(step.firewall); }
  Result<> run(const model::AddLink& step) { return machine_.rtnl->add_link(step.link); }
  Result<> run(const model::SetLink& step) { return machine_.rtnl->set_link(step.link); }
  Result<> run(const model::DeleteLink& step) { return machine_.rtnl->delete_link(step.name); }
  Result<> run(const model::AddAddress& step) { return machine_.rtnl->add_address(step.address); }
  Result<> run(const model::DeleteAddress& step) { return machine_.rtnl->delete_address(step.address); }
  Result<> run(const model::AddRoute& step) { return machine_.rtnl->add_route(step.route); }
  Result<> run(const model::DeleteRoute& step) { return machine_.rtnl->delete_route(step.route); }
  Result<> run(const model::AddRule& step) { return machine_.rtnl->add_rule(step.rule); }
  Result<> run(const model::DeleteRule& step) { return machine_.rtnl->delete_rule(step.rule); }
  Result<> run(const model::StartProcess& step) { return machine_.processes->start(step.process); }
  Result<> run(const model::StopProcess& step) { return machine_.processes->stop(step.id); }

  // What stands in the way of putting a setting back, in words; empty if nothing does.
  std::string claim_of_others(const model::Sysctl& before);
  [[nodiscard]] std::string name_now(const std::string& key) const;
  void look_at_settings(const std::vector<model::Step>& steps);

  Machine machine_;
  std::map<std::string, std::string> current_;  // of settings to be put back, before the first one was
  bool forwarding_stays_ = false;
  std::vector<std::string> left_alone_;
  std::set<std::string> not_set_up_;
};

// What `down` says of settings that are not as they were: `before` and `users` as the site's run directory
// had them (RunDirView::saved_sysctls, forwarding_users). Those that another site on record needs are left
// out.
struct SettingsBefore {
  std::map<std::string, std::string> values;
  std::optional<std::set<std::string>> forwarding_users;
};
std::vector<std::string> settings_left(const SettingsBefore& before, const std::filesystem::path& run_root,
                                       const Sysctls& sysctls, rules::Iptables& iptables,
                                       netlink::Rtnl& rtnl);

}  // namespace bondd::control

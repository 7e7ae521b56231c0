// Carries out a plan's steps. The order is the plan's; a step that fails does not
// stop those after it.
#pragma once

#include <string>
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

 private:
  Result<> execute(const model::Step& step);
  std::vector<Error> save_settings(const std::vector<model::Step>& steps);
  Result<> run(const model::SetSysctl& step);
  Result<> run(const model::RestoreSysctl& step);
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

  Machine machine_;
};

}  // namespace bondd::control

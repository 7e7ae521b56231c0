// One pass: observe, plan, diff, execute. Level-triggered: a pass needs to know
// nothing of what changed, and a second one right after has nothing to do.
// Has no loop and no clock; the daemon decides when.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/ip.h"
#include "bondd/control/executor.h"
#include "bondd/control/observer.h"
#include "bondd/control/pass.h"
#include "bondd/model/config.h"
#include "bondd/plan/plan.h"

namespace bondd::control {

// What a pass did.
struct Pass {
  std::vector<model::Step> steps;
  std::vector<Error> errors;         // of the steps that failed
  std::set<std::string> not_set_up;  // interfaces of which some link, address or route is missing
  [[nodiscard]] bool settled() const { return errors.empty(); }
};

class Reconciler {
 public:
  Reconciler(const Machine& machine, Programs programs, unsigned slot)
      : machine_(machine),
        programs_(std::move(programs)),
        slot_(slot),
        observer_(machine.rtnl, machine.iptables, machine.sysctls, machine.run_dir, machine.processes),
        executor_(machine) {}

  // Nothing: the site shall be gone.
  void set_config(std::optional<model::Config> config) { inputs_.config = std::move(config); }
  void set_server_addresses(std::vector<IpAddress> addresses) {
    inputs_.server_addresses = std::move(addresses);
  }
  void set_server_of(std::map<std::string, IpAddress> by_wan) { inputs_.server_of = std::move(by_wan); }
  // Taps that do not carry now.
  void set_dead(std::set<std::string> dead) { inputs_.dead = std::move(dead); }
  // By WAN, where long packets get lost.
  void set_path_mtu(std::map<std::string, std::uint32_t> by_wan) { inputs_.path_mtu = std::move(by_wan); }
  // The numbers of the WANs by which new connections and this machine's NTP leave past the bond; 0: by the
  // bond.
  void set_past_bond(unsigned direct_wan, unsigned clock_wan) {
    inputs_.direct_wan = direct_wan;
    inputs_.clock_wan = clock_wan;
  }

  // Where the other end's speed test is answered; 0: none runs.
  void set_speed_test_port(std::uint16_t port) { inputs_.speed_test_port = port; }

  // Fails when the machine cannot be read or the file cannot be planned; nothing is
  // changed then. Steps that failed are in the Pass.
  Result<Pass> reconcile(Depth depth);
  // What a pass with `config` would do on the machine as it is now, its firewall as last seen. Changes
  // nothing. Fails as reconcile() does. Blocks for netlink dumps.
  Result<Prepared> prepare_with(const model::Config& config);

  // The last plan that was made; empty before the first and when the site is to be gone.
  [[nodiscard]] const plan::Plan& plan() const { return plan_; }
  // Settings that the last pass found wrong and that cannot be changed here.
  [[nodiscard]] const std::vector<model::FixedSysctl>& fixed_sysctls() const { return fixed_; }
  // The network as the last pass found it.
  [[nodiscard]] const netlink::Snapshot& network() const { return network_; }
  // Settings that passes did not put back, in words. Emptied by the call.
  std::vector<std::string> take_left_alone() { return executor_.take_left_alone(); }

 private:
  void remember_firewall(const Pass& pass, const model::DesiredState& desired);

  Machine machine_;
  Programs programs_;
  unsigned slot_;
  Observer observer_;
  Executor executor_;
  Inputs inputs_;
  plan::Plan plan_;
  std::vector<model::FixedSysctl> fixed_;
  netlink::Snapshot network_;
};

// Removes all that bears the site's tags, in a few passes, since some things can go
// only after others. The first error that remains, if any.
Result<> remove_everything(Reconciler& reconciler);

}  // namespace bondd::control

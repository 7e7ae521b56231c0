// Reads the machine: the facts that a plan starts from, and what is there of ours.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "bondd/base/error.h"
#include "bondd/control/process_table.h"
#include "bondd/control/run_dir.h"
#include "bondd/control/sysctls.h"
#include "bondd/model/config.h"
#include "bondd/model/state.h"
#include "netlink/rtnl.h"
#include "rules/iptables.h"

namespace bondd::control {

// What of a snapshot bears this site's tags (model/ownership.h).
model::Owned owned_network(const netlink::Snapshot& snapshot, const std::string& site, unsigned slot);

// What is installed, and does not change while bondd runs.
struct Programs {
  std::filesystem::path openvpn;  // empty: not installed
  int openvpn_minor = 0;          // 2.5, 2.6, 2.7: the number after "2."
  std::string openvpn_version;    // "2.6.14", for messages
  std::optional<std::uint32_t> uid;
  std::string user, group;
};
// Looks for openvpn, asks for its version, and for the user to run it as: _bondd, else
// openvpn, else nobody. Blocks for one program run.
Programs find_programs();

enum class Depth : std::uint8_t {
  kAll,      // everything anew: netlink dumps and iptables-save runs
  kNetwork,  // the firewall as it was last seen: for changes that must not wait
};

struct Observation {
  model::Facts facts;  // all but the server's addresses and the dead tunnels
  model::Owned owned;
};

class Observer {
 public:
  // `processes` may be null: none run. All borrowed.
  Observer(netlink::Rtnl* rtnl, rules::Iptables* iptables, const Sysctls* sysctls, const RunDirView* run_dir,
           const ProcessTable* processes)
      : rtnl_(rtnl), iptables_(iptables), sysctls_(sysctls), run_dir_(run_dir), processes_(processes) {}

  // `config` may be null: then the facts lack the settings that a plan for it would ask for.
  Result<Observation> observe(Depth depth, unsigned slot, const Programs& programs,
                              const model::Config* config);

  // Adds the current values of settings that a plan wants and observe() did not know of, and which of them
  // cannot be changed.
  void read_sysctls(const model::DesiredState& desired, model::Owned& owned) const;

  // What install() or remove() has just made of the firewall; nothing: not known, read it again.
  void set_firewall(std::optional<rules::Firewall> firewall) { firewall_ = std::move(firewall); }

  // Without privileges the firewall cannot be read: let it count as empty.
  void tolerate_unreadable_firewall() { tolerant_ = true; }
  [[nodiscard]] const std::optional<Error>& firewall_error() const { return firewall_error_; }

 private:
  Result<> read_firewall();
  void remember_gateways(const model::Config& config, netlink::Snapshot& network);

  netlink::Rtnl* rtnl_;
  rules::Iptables* iptables_;
  const Sysctls* sysctls_;
  const RunDirView* run_dir_;
  const ProcessTable* processes_;
  bool tolerant_ = false;
  std::vector<netlink::Neighbour> gateways_;  // that were ever heard
  std::optional<rules::Firewall> firewall_;
  std::optional<Error> firewall_error_;
};

}  // namespace bondd::control

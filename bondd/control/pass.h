// One look at the machine, as a value: what is there, what shall be, and the steps between the two.
// `up`, `check`, `plan`, the daemon and `down` differ only in what they do with it.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/ip.h"
#include "bondd/control/observer.h"
#include "bondd/model/config.h"
#include "bondd/plan/plan.h"

namespace bondd::control {

// What a pass needs to know that the machine does not tell.
struct Inputs {
  std::optional<model::Config> config;            // nothing: the site shall be gone
  std::vector<IpAddress> server_addresses;        // server.address resolved, in order of preference
  std::map<std::string, IpAddress> server_of;     // by WAN, as chosen at run time; the others take the first
  std::set<std::string> dead;                     // taps that do not carry now
  std::map<std::string, std::uint32_t> path_mtu;  // by WAN, as measured where long packets get lost
  unsigned direct_wan = 0;            // by which new connections leave past the bond; 0: by the bond
  unsigned clock_wan = 0;             // by which this machine's NTP leaves; 0: as all else
  std::uint16_t speed_test_port = 0;  // where the other end's speed test is answered; 0: none runs
};

struct Prepared {
  model::Facts facts;
  model::Owned owned;
  plan::Plan plan;
  std::vector<model::Step> steps;  // from `owned` to the plan
};

// Reads the machine and plans; changes nothing. Fails when the machine cannot be read or the file cannot
// be planned. Blocks for netlink dumps and, with Depth::kAll, for iptables-save.
Result<Prepared> prepare(Observer& observer, Depth depth, unsigned slot, const Programs& programs,
                         const Inputs& inputs);

// Steps from `prepared.owned`, which a caller may have completed, to the plan.
void find_steps(Prepared& prepared);

}  // namespace bondd::control

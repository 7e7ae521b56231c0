// The pure heart: what the kernel, the firewall and the child processes shall
// look like for a file on this machine, and the steps from what is there.
//
//   Config + Facts --plan()--> DesiredState --diff(Owned)--> steps --print()--> text
//
// up, reload, repair, down and clean-up after a crash are this one path: down is
// diff of an empty DesiredState, up twice is an empty list of steps.
#pragma once

#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/model/config.h"
#include "bondd/model/state.h"

namespace bondd::plan {

// Something the admin should know about the plan; `wan` is empty when it concerns the site.
struct Note {
  std::string wan;
  std::string text;
  bool waits = false;  // that WAN has no way out now; the text is why
  bool stops = false;  // all of that WAN's packets surely go another way, or nowhere
  auto operator<=>(const Note&) const = default;
};

struct Plan {
  model::DesiredState state;
  std::vector<Note> notes;    // of the WANs
  std::vector<Note> foreign;  // see foreign_notes()
};

// Never fails for what may come right later: a WAN without a way out yet has a note and an
// unreachable route instead, so that nothing of it leaks. Fails when OpenVPN cannot do what
// the file asks for, and when the file's mask has no marks for one more office on this machine.
Result<Plan> plan(const model::Config& config, const model::Facts& facts);

// The part of it under /proc/sys.
void plan_settings(const model::Config& config, const model::Facts& facts, model::DesiredState& state);

// "ovh: gateway …", for people.
std::string to_string(const Note& note);

// The sysctls whose current values plan() wants in Facts::sysctls.
std::vector<std::string> relevant_sysctls(const model::Config& config, const netlink::Snapshot& network);

// Whether the kernel looks at a packet's mark when it checks by which device its source is reached
// (src_valid_mark).
bool looks_at_marks(const model::Facts& facts, const std::string& device);

// A device's name in a sysctl's key: its dots are slashes, as in sysctl(8).
std::string device_key(std::string device);

// Steps from `owned` to `desired`, in order of execution: adds before deletes, the firewall
// before the routes, deletes in reverse. Empty when there is nothing to do.
std::vector<model::Step> diff(const model::DesiredState& desired, const model::Owned& owned);

// The steps as lines a person could type: ip, iptables, sysctl, openvpn. No secrets.
std::vector<std::string> print(const std::vector<model::Step>& steps);

// "changes 2 interfaces, 6 routes": how much is to be done; "nothing to change".
std::string summary(const std::vector<model::Step>& steps);

// One step as one short line for the log.
std::string describe(const model::Step& step);

}  // namespace bondd::plan

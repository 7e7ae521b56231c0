// What of this machine a site needs, whether the site runs or not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bondd/doctor/finding.h"
#include "bondd/model/config.h"

namespace bondd::doctor {

struct MachineFacts {
  std::string kernel;    // uname(2): "6.1.0-18-amd64"
  std::string iptables;  // `iptables --version`: "iptables v1.8.9 (nf_tables)"; empty: it does not run
  std::string openvpn;   // "2.6.14"; empty: not installed
  std::optional<bool> forwarding;    // net.ipv4.ip_forward
  std::vector<std::string> strict;   // devices of WANs whose reverse path filter is strict (rp_filter 1)
  std::int64_t now = 0;              // this machine's clock, seconds since 1970
  std::int64_t installed = 0;        // when this bondd was made: no clock can be right before that
  std::optional<bool> synchronised;  // adjtimex(2): NTP keeps the clock
  std::vector<std::string> missing;  // what preflight found, each with its cure
};

// `config` may be null: nothing is known of a site. `runs`: bondd sets forwarding and rp_filter while it
// runs.
std::vector<Finding> machine_findings(const MachineFacts& facts, const model::Config* config, bool runs);

}  // namespace bondd::doctor

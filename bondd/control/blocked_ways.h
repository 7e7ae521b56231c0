// Packets of the bond that another's firewall refuses. bondd's own chains accept them, but every base chain
// of nf_tables and every table of iptables-legacy sees a packet, so one of firewalld's or of the admin's may
// still drop it.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "bondd/control/promised_ways.h"
#include "rules/nft_ruleset.h"

namespace bondd::control {

struct Blocked {
  std::string wan;  // whose tunnel it is; empty: not a tunnel's
  std::string text;
  bool stops = false;  // all of the WAN's packets of one direction are surely refused
};

// What refuses or spoils a way, with table, chain and the line to add, each once; and what of the firewall
// could not be read. What depends on something unknown is told with "may", but not of the tunnels of WANs in
// `heard`: their packets pass.
std::vector<Blocked> blocked_ways(const std::vector<Way>& ways, const rules::NftRuleset& ruleset,
                                  const std::set<std::string>& heard);

}  // namespace bondd::control

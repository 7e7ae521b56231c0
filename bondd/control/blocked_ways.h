// Packets of the bond that another's firewall refuses. bondd's own chains accept them, but every base chain
// of nf_tables sees a packet, so a table of firewalld's or of the admin's may still drop it.
#pragma once

#include <string>
#include <vector>

#include "bondd/model/config.h"
#include "bondd/model/state.h"
#include "rules/nft_verdict.h"

namespace bondd::control {

// A way that the site promises, as packets on it, and what that carries in words.
struct Way {
  rules::NftPacket packet;
  // The same with addresses, where an example has to do: the way is blocked where each of them is refused.
  std::vector<rules::NftPacket> examples;
  std::string what;                  // "what the LAN (eth0) sends into bond0"
  std::string match;                 // the rest for nft beside the devices: "udp dport 1194"
  std::vector<std::string> trusted;  // devices that firewalld must trust for it
};

// All ways of a site: the tunnels' own packets, the LAN into the bond and back, the bond to the Internet and
// back, forwarded services.
std::vector<Way> promised_ways(const model::Config& config, const model::Facts& facts);

// Each refusing base chain once, with table, chain and the line to add.
std::vector<std::string> blocked_ways(const std::vector<Way>& ways, const rules::NftRuleset& ruleset);

}  // namespace bondd::control

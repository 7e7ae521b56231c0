// The packets that a site promises to carry, as firewalls see them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bondd/model/config.h"
#include "bondd/model/state.h"
#include "rules/nft_verdict.h"

namespace bondd::control {

// How a rule knows the packets of a way, beside their devices.
struct Match {
  std::string nft, iptables;  // "udp dport 1194", "-p udp --dport 1194"
};

// A way that the site promises, as packets on it, and what that carries in words.
struct Way {
  rules::NftPacket packet;
  // The same with networks, where an example has to do: the way is blocked where each of them is refused.
  std::vector<rules::NftPacket> examples;
  std::string what;                  // "what the LAN (eth0) sends into bond0"
  std::string wan;                   // whose tunnel it is; empty: not a tunnel's
  Match match;                       // empty: all between its devices
  Match arriving;                    // where connection tracking and NAT have not seen the packets yet
  std::vector<std::string> trusted;  // devices that firewalld must trust for it
  bool needs_tracking = false;       // without a connection it gets no NAT, or its answers are dropped
  // Sources with which it gets an answer, should another's NAT give it one; nothing: all.
  std::optional<std::vector<IpPrefix>> answered_sources;
  bool own_nat = false;  // bondd's own NAT is for it, in the same chains
};

// All ways of a site: the tunnels' own packets, the LAN into the bond and back, the bond to the Internet and
// back, forwarded services. `services`: what the VPS forwards to this office, as it tells.
std::vector<Way> promised_ways(const model::Config& config, const model::Facts& facts,
                               const std::vector<model::Forward>& services = {});

// A way's packets as single hosts send them, with usual ports.
std::vector<rules::NftPacket> hosts_of(const Way& way);
// The parts of a way that are of one usual port; none of a way that is for certain ports.
std::vector<Way> by_port(const Way& way);

}  // namespace bondd::control

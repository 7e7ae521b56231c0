// From what is known of a running site to what is wrong with it: each WAN's way is followed hop by hop,
// interface, gateway, Internet, server, port, key, and the first that fails is named. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bondd/model/answer.h"
#include "bondd/model/config.h"
#include "bondd/model/state.h"
#include "bondd/model/wan_status.h"
#include "bondd/problems/peer_settings.h"
#include "bondd/problems/table.h"

namespace bondd::problems {

using model::Answer;

// What is known of one WAN's way. Unknown is no fault: then the next hop is looked at.
struct WanFacts {
  std::string device;   // by which it leaves; empty on a server
  std::string gateway;  // empty: none is needed, or it is not known
  Answer interface_there = Answer::kUnknown, link_up = Answer::kUnknown;
  std::string gateway_unknown;  // why there is none; empty: there is one, or none is needed
  Answer gateway_by_arp = Answer::kUnknown;
  // From the probes (bondd/probes).
  Answer beyond_gateway = Answer::kUnknown, server_answers = Answer::kUnknown,
         port_refused = Answer::kUnknown, port_rejected = Answer::kUnknown;
  std::string last_hop;        // the farthest that answered beyond the gateway
  std::string unreachable_by;  // a router beyond it that says that it knows no way to the server
  std::string wrong_secret;    // what was seen; empty: nothing of that kind
  std::string refused_peer;    // likewise: why the other end, which has the password, is not believed
};

// Found elsewhere, as one sentence: what `warnings` of the status have, too.
struct Remark {
  Code code = Code::kStartNote;
  std::string wan;  // empty: of the site
  std::string text;
  bool stops = false;  // it surely stops that WAN's packets, unless the WAN is heard all the same
  bool operator==(const Remark&) const = default;
};

// A setting of the machine that is wrong and cannot be changed: what that does, and what to do. kMay is none.
Found about_fixed(const model::Config& config, const model::FixedSysctl& fixed);

struct SiteFacts {
  const model::Config* config = nullptr;
  std::vector<model::WanStatus> states;  // as the backend has them, in the file's order
  std::vector<WanFacts> wans;            // in the same order
  std::string resolve_error, engine_error, pass_error;
  std::string direct_wan;     // by which new connections leave past the bond; empty: by the bond
  std::string office_inside;  // what a server's through_bond holds of the office's Internet addresses
  std::optional<PeerSettings> ours, theirs;
  std::vector<Remark> remarks;
  std::vector<model::FixedSysctl> fixed;  // see about_fixed()
};

// All that hold; what another one explains is left out.
std::vector<Found> find(const SiteFacts& facts);

}  // namespace bondd::problems

// The script that MLVPN called when its tunnel or a link came and went (statuscommand): what of it bondd does
// itself, and what nobody does any more. Pure; nothing is run.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/base/ip.h"
#include "bondd/setup/mlvpn_conf.h"

namespace bondd::setup {

struct UpdownScript {
  std::optional<IpPrefix> address;  // of the tunnel's device, with its host bits
  std::optional<IpAddress> peer;
  std::vector<IpPrefix> networks;       // routed into the tunnel
  std::vector<std::string> masquerade;  // devices
  std::vector<ImportRemark> remarks;    // each line that does something else, by its number
};

// Knows ip(8), ifconfig's and route's usual forms, iptables -j MASQUERADE. A command is named in a remark by
// its first word only: what follows may be a secret.
UpdownScript parse_updown_script(std::string_view text);

}  // namespace bondd::setup

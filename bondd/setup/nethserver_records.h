// The tunnels of NethServer's mlvpn module: its records, as the same sections that an mlvpn.conf has. Three
// forms: the admin's commands, `db mlvpn show`, and /var/lib/nethserver/db/mlvpn.
//
//   db mlvpn set c1 client status enabled Password secret Connections eth1:1.2.3.4:5080,eth2:1.2.3.4:5081
//
//   c1=client                    c1=client|status|enabled|Password|secret|Connections|eth1:1.2.3.4:5080
//       status=enabled
//       Password=secret
#pragma once

#include <string_view>
#include <vector>

#include "bondd/setup/mlvpn_conf.h"

namespace bondd::setup {

// Whether a text is one of these, and no mlvpn.conf.
bool has_nethserver_records(std::string_view text);
// One for each tunnel, in the file's order; a line that is none of these is among the `odd` of the tunnel
// before it, or of the first.
std::vector<ConfFile> parse_nethserver_records(std::string_view text);

}  // namespace bondd::setup

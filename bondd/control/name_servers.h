// Asks the system's name servers without the system's resolver, by a way of our own.
#pragma once

#include <string>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/ip.h"
#include "bondd/base/units.h"

namespace bondd::control {

// The IPv4 addresses of `name`, a full one, from the name servers of /etc/resolv.conf. The questions bear
// each of `marks` (SO_MARK), so that they leave by the WANs' boxes also while everything else goes into
// a bond that carries nothing; the first answer counts. Blocks for `limit` at the most.
Result<std::vector<IpAddress>> ask_name_servers(const std::string& name,
                                                const std::vector<std::uint32_t>& marks, Duration limit);

}  // namespace bondd::control

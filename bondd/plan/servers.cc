#include "bondd/plan/servers.h"

#include <algorithm>
#include <iterator>

namespace bondd::plan {

std::vector<IpAddress> server_candidates(const model::Wan& wan, const std::vector<IpAddress>& addresses) {
  const Family family = wan.bind ? wan.bind->family() : Family::kIpv4;
  std::vector<IpAddress> fitting;
  std::copy_if(addresses.begin(), addresses.end(), std::back_inserter(fitting),
               [&](const IpAddress& address) { return address.family() == family; });
  return fitting.empty() ? addresses : fitting;
}

IpAddress server_of(const model::Wan& wan, const model::Facts& facts) {
  const auto found = facts.server_of.find(wan.name);
  return found != facts.server_of.end() ? found->second
                                        : server_candidates(wan, facts.server_addresses).front();
}

}  // namespace bondd::plan

// What of other programs on this machine stands in a site's way, for commands that look without a running
// site.
#pragma once

#include <filesystem>
#include <vector>

#include "bondd/model/config.h"
#include "bondd/plan/plan.h"

namespace bondd {

// Empty where the machine cannot be read; without rights the firewall is not looked at. Blocks for netlink
// dumps and for iptables-save.
std::vector<plan::Note> look_for_foreign(const model::Config& config, const std::filesystem::path& run_root);

}  // namespace bondd

// What of other programs and settings on this machine stands in a site's way, for commands that look without
// a running site.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "bondd/model/config.h"
#include "bondd/plan/plan.h"

namespace bondd {

struct Others {
  std::vector<std::string> obstacles;  // that `up` would fail at
  std::vector<plan::Note> notes;       // that take the site's packets
};

// Empty where the machine cannot be read; without rights the firewall is not looked at. Blocks for netlink
// dumps and for iptables-save.
Others look_for_foreign(const model::Config& config, const std::filesystem::path& run_root);

}  // namespace bondd

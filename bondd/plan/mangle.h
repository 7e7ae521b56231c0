// The mangle table of a site: by which way a packet goes, the size of TCP segments.
#pragma once

#include "bondd/model/config.h"
#include "bondd/model/state.h"
#include "rules/firewall.h"

namespace bondd::plan {

rules::Table plan_mangle(const model::Config& config, const model::Facts& facts);

}  // namespace bondd::plan

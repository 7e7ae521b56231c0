// What the running bondd says of its site, as findings.
#pragma once

#include <vector>

#include "bondd/doctor/finding.h"
#include "bondd/model/status.h"

namespace bondd::doctor {

// A finding for each WAN that carries, for each problem and for each warning of `status`.
std::vector<Finding> site_findings(const model::SiteStatus& status);

// Those about `wan` only.
std::vector<Finding> of_wan(std::vector<Finding> findings, const std::string& wan);

}  // namespace bondd::doctor

// `bondd metrics`: a site's status in the text format of Prometheus. Pure.
#pragma once

#include <string>
#include <vector>

#include "bondd/model/status.h"

namespace bondd {

// Every metric has its HELP and TYPE once, then a sample for each site or WAN. A figure that is not known has
// no sample. Ends with a newline; empty only when there is no site.
std::string metrics_view(const std::vector<model::SiteStatus>& sites);

}  // namespace bondd

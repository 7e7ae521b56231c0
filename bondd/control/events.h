// What `bondd monitor` tells: the differences between two looks at a site. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "bondd/model/event.h"
#include "bondd/model/status.h"

namespace bondd::control {

// From `before` to `after`, both of one site: its state, those of its WANs, and problems that came or went.
// `now` is seconds since 1970. A WAN or a problem that was not there before has an empty `from`, so that the
// changes from an empty status are all that there is.
std::vector<model::Event> changes(std::int64_t now, const model::SiteStatus* before,
                                  const model::SiteStatus& after);

}  // namespace bondd::control

// What of others on this machine stands in the way of a site's packets.
#pragma once

#include <string>
#include <vector>

#include "bondd/model/config.h"
#include "bondd/model/state.h"
#include "bondd/plan/plan.h"

namespace bondd::plan {

// Rules and routes that are looked at before ours and lead our packets elsewhere; rules among our
// priorities; rules and chains that use the bits of our marks. Each note names the culprit and what to do.
// A rule that may or may not fit our packets (a source port, a VRF) is not named.
std::vector<Note> foreign_notes(const model::Config& config, const model::Facts& facts);

// What to say, and do, when `there`, which this site did not make, has the name of an interface that it
// needs: another site's bond goes by that site's own `bondd down` only.
std::string link_taken(const model::Config& config, const netlink::Link& there);

}  // namespace bondd::plan

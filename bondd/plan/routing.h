// Routes and rules: each tunnel by its own gateway, steered traffic by the chosen one,
// the rest into the bond, answers back the way the question came.
#pragma once

#include <vector>

#include "bondd/model/config.h"
#include "bondd/model/state.h"

namespace bondd::plan {

struct Routing {
  std::vector<netlink::Route> routes;
  std::vector<netlink::Rule> rules;
};
Routing plan_routing(const model::Config& config, const model::Facts& facts);

}  // namespace bondd::plan

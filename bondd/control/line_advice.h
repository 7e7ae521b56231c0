// What the openvpn-bond backend cannot make up for, in words: lines that lose packets, or that are
// far apart in delay. Said by `status`, and by `check` of a site that runs.
#pragma once

#include <vector>

#include "bondd/model/status.h"
#include "bondd/problems/find.h"

namespace bondd::control {

// From what was measured on the WANs that carry; nothing when there are fewer than two of them,
// when they are alike and clean, or when the backend is another one.
std::vector<problems::Remark> line_advice(const model::SiteStatus& site);

}  // namespace bondd::control

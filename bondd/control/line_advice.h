// What a line's measured figures mean for who uses the bond, in words: one that loses long packets, and, with
// openvpn-bond, lines that lose packets or that are far apart in delay. Said by `status`, and by `check` of a
// site that runs.
#pragma once

#include <vector>

#include "bondd/model/status.h"
#include "bondd/problems/find.h"

namespace bondd::control {

// From what was measured on the WANs that carry. Nothing of loss and delay when there are fewer than two of
// them, when they are alike and clean, or with mlvpn, which makes up for both.
std::vector<problems::Remark> line_advice(const model::SiteStatus& site);

}  // namespace bondd::control

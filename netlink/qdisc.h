// Queueing disciplines, as far as bondd needs them: packets held back on one device.
#pragma once

#include <string>

#include "bondd/base/error.h"
#include "bondd/base/units.h"

namespace bondd::netlink {

// Holds every packet that leaves by `device` back for `delay` (0 to 4 s) with a netem qdisc at its
// root. The first call drops what the device's old qdisc held; another delay loses nothing. ENOENT when
// the kernel has no sch_netem, ENODEV when there is no such device, EPERM without CAP_NET_ADMIN.
Result<> set_hold_back(const std::string& device, Duration delay);

}  // namespace bondd::netlink

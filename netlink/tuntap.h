// Persistent taps and tuns: rtnetlink cannot make them, /dev/net/tun does. See tuntap.rst in the
// kernel's documentation. Only for this directory's .cc files.
#pragma once

#include "bondd/base/unique_fd.h"
#include "netlink/values.h"

namespace bondd::netlink {

// A tap or tun that goes away with the descriptor, unless make_persistent() is called. Without
// packet information, one queue, owned by link.owner_uid. EBUSY if the name is taken.
Result<UniqueFd> create_tuntap(const Link& link);
Result<> make_persistent(const UniqueFd& tuntap);
// Changes who may attach; EBUSY while a program is attached.
Result<> change_owner(const Link& link);

}  // namespace bondd::netlink

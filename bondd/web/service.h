// bondd-web's loop: what bondd tells on one side, browsers on the other.
#pragma once

#include "bondd/base/error.h"
#include "bondd/ipc/fd_channel.h"
#include "bondd/web/pages.h"

namespace bondd::web {

// Waits for bondd's first message, gives up the last rights (see mlvpn::lock_down()) and answers until bondd
// closes the channel, or SIGTERM. Fails when it cannot begin or go on.
Result<> serve(ipc::FdChannel channel, PageFiles files, Pages::Metrics metrics);

}  // namespace bondd::web

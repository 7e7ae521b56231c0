// The other end of a speed test: a process without rights, which bondd starts for the time of one test.
#pragma once

#include "bondd/base/error.h"
#include "bondd/ipc/fd_channel.h"

namespace bondd::speedtest {

// The first message of the channel is "TOKEN PEER", and the listening socket. Answers connections from PEER
// that begin with TOKEN until the channel closes, but no longer than five minutes. Anything else on a
// connection ends it, without a word.
Result<> respond(ipc::FdChannel channel);

}  // namespace bondd::speedtest

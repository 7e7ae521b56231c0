// The CLI's end of a site's control socket.
#pragma once

#include <filesystem>

#include "bondd/base/error.h"
#include "bondd/base/unique_fd.h"
#include "bondd/base/units.h"
#include "bondd/ipc/messages.h"

namespace bondd::ipc {

// Connected to the daemon at `socket`. ENOENT or ECONNREFUSED when none listens.
Result<UniqueFd> connect_control(const std::filesystem::path& socket);

// Sends one request and waits at most `limit` for its reply; ETIMEDOUT after that.
Result<Reply> ask(int fd, const Request& request, Duration limit);

// Both, on a connection of its own.
Result<Reply> ask(const std::filesystem::path& socket, const Request& request, Duration limit);

// Waits at most `limit` until the other end closes; false if it does not.
bool wait_closed(int fd, Duration limit);

}  // namespace bondd::ipc

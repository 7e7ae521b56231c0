// Words to the service manager, see sd_notify(3). Nothing happens without one.
#pragma once

#include <string_view>

namespace bondd {

// "READY=1\nSTATUS=…", "STOPPING=1". To the datagram socket that NOTIFY_SOCKET names.
void notify_service_manager(std::string_view state);

}  // namespace bondd

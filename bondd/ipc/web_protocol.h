// What bondd tells bondd-web, over an FdChannel. Nothing goes the other way: the process that browsers talk
// to cannot ask bondd for anything.
//
//   bondd --kStart + listening socket--> bondd-web      once
//         --kSite, kStatus, kEvent----->                after that, whenever there is news
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "bondd/base/error.h"
#include "bondd/base/ip.h"
#include "bondd/base/secret.h"
#include "bondd/model/config.h"

namespace bondd::ipc {

struct WebMessage {
  enum class Kind : std::uint8_t {
    kStart,   // of WebStart
    kSite,    // web_site_json()
    kStatus,  // status_json()
    kEvent,   // render(model::Event)
  };
  Kind kind = Kind::kStatus;
  std::string text;
};
std::string render(const WebMessage& message);
Result<WebMessage> parse_web_message(std::string_view text);

struct WebStart {
  IpAddress address;      // where the socket listens
  std::string host_name;  // of this machine
  Secret token;           // may be empty
};
// The text holds the token: wipe it.
std::string render(const WebStart& start);
Result<WebStart> parse_web_start(std::string_view text);

// What the page shows of the site's file, and no secret of it: role and backend, WANs, what is steered,
// routed and forwarded. `started` and `loaded` (of the file): seconds since 1970.
std::string web_site_json(const model::Config& config, std::int64_t started, std::int64_t loaded);

}  // namespace bondd::ipc

// What goes over a site's control socket: one JSON object per line, a request and
// then one reply. Also the JSON form of the status, which the contract fixes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/units.h"
#include "bondd/model/event.h"
#include "bondd/model/status.h"

namespace bondd::ipc {

enum class Command : std::uint8_t {
  kStatus,
  kStop,
  kReload,
  kConfirm,
  kDrain,
  kRestore,
  kMonitor,
  kPlan,
  kSpeedTest,
  kHooksTest
};

struct Request {
  Command command = Command::kStatus;
  std::string file;           // kReload, kPlan: the file to read; empty: the one the site came from
  std::string wan;            // kDrain, kRestore; kSpeedTest: the WAN that carries alone; empty: all do
  Duration confirm_within{};  // kReload: until kConfirm must come; 0: it need not
};

struct Reply {
  bool ok = true;
  std::vector<std::string> messages;  // for people, one line each; of kMonitor an event each; of
                                      // kPlan a summary, then the steps that kReload would do
  std::string status;                 // kStatus: the JSON of status_json(); kSpeedTest: of SpeedTestNow
};

// The state of the speed test that belongs to a connection: its first kSpeedTest begins it, its end ends it.
struct SpeedTestNow {
  bool ready = false;       // both ends do as was asked last
  std::string token;        // the other end's connections begin with it
  std::uint16_t port = 0;   // where the other end listens, at bond.peer; 0: not yet
  std::string address;      // of this end in the bond
  std::string why_not_yet;  // in words; empty when ready
  // WANs whose traffic may cost money, and by which key of the file that is known.
  std::vector<std::pair<std::string, std::string>> metered;
  bool operator==(const SpeedTestNow&) const = default;
};

// One line each, without the newline.
std::string render(const Request& request);
std::string render(const Reply& reply);
Result<Request> parse_control_request(std::string_view line);
Result<Reply> parse_control_reply(std::string_view line);

// The contract's line of `bondd monitor --json`, without the newline. After the reply to kMonitor the running
// bondd sends one for each event, until either end closes the connection.
std::string render(const model::Event& event);
Result<model::Event> parse_event(std::string_view line);

std::string render(const SpeedTestNow& now);
Result<SpeedTestNow> parse_speed_test(std::string_view json);

// The contract's `bondd status --json`; unknown figures are null. One line, or
// indented for people when `pretty`.
std::string status_json(const model::SiteStatus& status, bool pretty = false);
// Several sites: an array.
std::string status_json(const std::vector<model::SiteStatus>& sites, bool pretty = false);
Result<model::SiteStatus> parse_status(std::string_view json);

}  // namespace bondd::ipc

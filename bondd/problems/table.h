// Every problem that bondd can name of a running site, once: its code, how bad it is, its words, what to
// do, and which other problems explain it. Read by check, up, status and the documentation.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "bondd/base/units.h"
#include "bondd/model/problem.h"

namespace bondd::problems {

// In the order in which a packet of a WAN meets them: the first that fails explains all below it.
enum class Code : std::uint8_t {
  kEngineDown,
  kNameUnresolved,
  kInterfaceMissing,
  kInterfaceDown,
  kWanStopped,
  kGatewayUnknown,
  kGatewaySilent,
  kLineDead,
  kUnreachable,
  kServerDead,
  kPortRefused,
  kPortRejected,
  kPortSilent,
  kPortOrSecret,
  kSecretDiffers,
  kPeerRefused,
  kOfficeSilent,
  kOfficeAway,
  kNoReply,
  kPeerLeft,
  kOneWay,
  kRepairFailed,
  kSettingFixed,
  kRedirectsOn,
  kPastBond,
  kOfficeInside,
  kUnconfirmed,
  kRolesEqual,
  kFormatDiffers,
  kSettingDiffers,
  kPeerDiffers,
  kTunnelsDiffer,
  kWanMissingThere,
  kWanMissingHere,
  kNameDiffers,
  kNatMissing,
  kNatDevice,
  kLanMissing,
  kForeignRules,
  kFirewallDrops,
  kLineNarrow,
  kLineLossy,
  kLineLate,
  kWanNote,
  kStartNote,
};
inline constexpr int kCodes = static_cast<int>(Code::kStartNote) + 1;

// Where a problem of a WAN stands on a packet's way; kNone: on no way, hidden by nothing.
enum class Hop : std::uint8_t {
  kNone,
  kProgram,
  kInterface,
  kMachine,  // rules of others on this machine; sure, what follows is found by probes that these stop, too
  kGateway,
  kInternet,
  kServer,
  kPort,
  kSession
};

struct Row {
  Code code;
  std::string_view name;  // in JSON
  model::Severity severity;
  Hop hop;            // hidden by a problem of the same WAN, or the site, with an earlier hop
  Duration patience;  // it must last that long before it is shown
  // With {wan}, {device}, {gateway}, {server}, {port}, {hop}, {site}, {file}, {key}, {ours}, {theirs},
  // {detail}, see Words.
  std::string_view text, remedy;
  bool logged_elsewhere = false;  // by whoever finds it
};
std::span<const Row> table();
const Row& row(Code code);

// What the texts name.
struct Words {
  std::string wan, device, gateway, server, hop, site, file, key, ours, theirs, detail;
  std::uint16_t port = 0;
  bool operator==(const Words&) const = default;
};
std::string render(std::string_view text, const Words& words);

// A problem that holds now.
struct Found {
  Code code = Code::kNoReply;
  Words words;
};

// The text and what to do, as one line.
std::string to_line(const Found& found);

}  // namespace bondd::problems

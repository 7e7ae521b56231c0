// What the supervisor and bondd-engine say to each other: JSON objects with a
// "type", over an FdChannel. Requests go down, reports come up. Links are named
// as the WANs in the configuration. Descriptors travel with the message that
// names them, in the order written below.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/ip.h"
#include "bondd/base/units.h"
#include "bondd/model/config.h"
#include "bondd/model/wan_status.h"

namespace bondd::ipc {

struct EngineEndpoint {
  IpAddress address;
  std::uint16_t port = 0;
  bool operator==(const EngineEndpoint&) const = default;
};

// One link; the meaning of each value is that of mlvpn::LinkConfig.
struct EngineLink {
  std::string name;
  std::optional<EngineEndpoint> remote;  // client only; empty while not resolved
  Rate upload;                           // 0: not known
  double weight = 0;                     // 0: from `upload`, else measured
  bool fallback_only = false;
  Duration timeout = std::chrono::seconds(30);
  double loss_tolerance = 100;                    // percent; 100: off
  Duration latency_tolerance = Duration::zero();  // zero: off
  bool operator==(const EngineLink&) const = default;
};

// The first request. Descriptors: tun, keys (a pipe or memfd with the 64 bytes that the password
// becomes, see mlvpn/session/password.h), one UDP socket per link.
struct EngineStart {
  bool server = false;
  bool clear_data = false;
  bool reorder = true;
  model::MlvpnPeer peer = model::MlvpnPeer::kAuto;
  bool peer_proved = false;  // that it has session keys, in an earlier run
  bool repair = true;        // resend what a line lost, with a bondd peer
  bool offloads = true;      // false: one packet per system call message, to compare
  Duration max_reorder_wait = std::chrono::milliseconds(800);
  std::vector<EngineLink> links;
  bool operator==(const EngineStart&) const = default;
};

// The other links do not lose a packet through any of these.
struct EngineAddLink {  // descriptor: its socket
  EngineLink link;
  bool operator==(const EngineAddLink&) const = default;
};
struct EngineUpdateLink {
  EngineLink link;
  bool operator==(const EngineUpdateLink&) const = default;
};
struct EngineRemoveLink {
  std::string name;
  bool operator==(const EngineRemoveLink&) const = default;
};
struct EngineReplaceSocket {  // descriptor: the new socket (address or port changed)
  std::string name;
  bool operator==(const EngineReplaceSocket&) const = default;
};
struct EngineSetRemote {  // the answer to kResolve
  std::string name;
  EngineEndpoint remote;
  bool operator==(const EngineSetRemote&) const = default;
};
struct EngineSetPassword {  // descriptor: as in EngineStart
  bool operator==(const EngineSetPassword&) const = default;
};
struct EngineSetNotice {  // what the peer's daemon is told; it comes there as an EngineEvent
  std::string text;
  bool operator==(const EngineSetNotice&) const = default;
};
struct EngineGetStatus {  // answered by one EngineStatus
  bool operator==(const EngineGetStatus&) const = default;
};
struct EngineStop {  // says DISCONNECT on every link and ends with status 0
  bool operator==(const EngineStop&) const = default;
};

using EngineRequest =
    std::variant<EngineStart, EngineAddLink, EngineUpdateLink, EngineRemoveLink, EngineReplaceSocket,
                 EngineSetRemote, EngineSetPassword, EngineSetNotice, EngineGetStatus, EngineStop>;

// The engine has its descriptors, holds no rights any more and carries packets.
struct EngineReady {
  std::string crypto;   // "avx512"
  std::string tun;      // "vnet tso4 tso6 uso"
  std::string sandbox;  // "user nobody, no capabilities, seccomp"
  bool operator==(const EngineReady&) const = default;
};

// Something happened to a link; see mlvpn::EventKind.
struct EngineEvent {
  enum class Kind : std::uint8_t { kState, kPeerMoved, kResolve, kWrongPassword, kDowngrade, kNotice };
  Kind kind = Kind::kState;
  std::string link;
  model::WanState from = model::WanState::kDown, state = model::WanState::kDown;
  std::string reason;  // for a person; of a notice, its text
  bool operator==(const EngineEvent&) const = default;
};

// Figures of one link; what is not known is empty.
struct EngineLinkStatus {
  model::WanStatus wan;  // as it is shown; without what only the daemon knows
  bool peer_is_bondd = false;
  std::optional<EngineEndpoint> peer;
  std::string path;  // the link whose socket carries it: another's while re-homed
  std::optional<double> rtt_var_ms;
  std::uint64_t rx_packets = 0, tx_packets = 0, disconnects = 0;
  double peer_rest_ms = 0;  // how much later than usual the peer's next word may come
  bool operator==(const EngineLinkStatus&) const = default;
};

// Counts that explain trouble; the core's (mlvpn::EngineStats) and the device's.
struct EngineCounters {
  std::uint64_t malformed = 0, bad_mac = 0, replayed = 0, foreign = 0;
  std::uint64_t delivered = 0, late = 0, duplicates = 0, holes_lost = 0;
  std::uint64_t dropped_no_link = 0, dropped_no_buffer = 0, dropped_oversize = 0;
  std::uint64_t reorder_held = 0, ingress_queued = 0;
  std::uint64_t tun_reads = 0, tun_writes = 0, tun_refused = 0;
  std::uint64_t tun_rx_packets = 0, tun_rx_bytes = 0, tun_tx_packets = 0, tun_tx_bytes = 0;
  std::uint64_t udp_receive_calls = 0, udp_receive_messages = 0, udp_send_calls = 0, udp_send_messages = 0;
  std::uint64_t udp_blocked = 0, udp_failed = 0, udp_oversize = 0;
  bool operator==(const EngineCounters&) const = default;
};

struct EngineStatus {
  std::vector<EngineLinkStatus> links;
  EngineCounters counters;
  bool operator==(const EngineStatus&) const = default;
};

// A request was refused, or (`fatal`) the engine ends now.
struct EngineFailure {
  std::string message;
  bool fatal = false;
  bool operator==(const EngineFailure&) const = default;
};

using EngineReport = std::variant<EngineReady, EngineEvent, EngineStatus, EngineFailure>;

std::string render(const EngineRequest& request);
std::string render(const EngineReport& report);
Result<EngineRequest> parse_request(std::string_view text);
Result<EngineReport> parse_report(std::string_view text);

}  // namespace bondd::ipc

// What one WAN does now: measured by a backend, shown by `bondd status`. The engine, the daemon and
// the command line hand on this one struct, so that no figure is lost on the way.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace bondd::model {

// The words of the contract; see to_string().
enum class WanState : std::uint8_t {
  kDown,      // carries nothing, and carried before or cannot begin
  kWaiting,   // for its interface, its gateway or the server's address
  kStarting,  // not heard since the site came up; still tried
  kUp,        // carries traffic
  kLossy,     // heard, more packet loss than loss_tolerance: not used while others are better
  kSlow,      // heard, more latency than latency_tolerance: not used while others are better
  kSilent,    // was up, does not answer now: carries nothing
  kDrained,   // heard, and out of use by an admin's command
};
inline constexpr int kWanStates = 8;
std::string_view to_string(WanState state);
std::optional<WanState> parse_wan_state(std::string_view text);

// What keeps others from reading and changing what a WAN of mlvpn carries.
enum class Protection : std::uint8_t {
  kUnknown,   // no session, or another backend
  kPassword,  // one key for all time, made of the password; the header is open to changes
  kSession,   // keys of this session, new ones each 120 s
};
inline constexpr int kProtections = 3;
std::string_view to_string(Protection protection);  // empty when not known
std::optional<Protection> parse_protection(std::string_view text);

// The peer was heard on this WAN lately.
constexpr bool is_heard(WanState state) {
  return state == WanState::kUp || state == WanState::kLossy || state == WanState::kSlow ||
         state == WanState::kDrained;
}

// The engine's reason for a WAN whose session the peer has ended.
inline constexpr std::string_view kPeerLeft = "the peer disconnected";

// "In" is what this end receives, "out" what it sends: on the office, download and upload. What is not
// known, because it was not measured yet or cannot be, is empty.
struct WanStatus {
  std::string name;
  WanState state = WanState::kStarting;
  std::string reason;       // in words for the admin; empty when up
  std::string explanation;  // what limits its use, in words; may be empty
  std::string device;       // the interface by which it leaves
  std::string gateway;      // an address; empty on a server, and where none is needed
  std::int64_t since = 0;   // of the state, seconds since 1970; 0: not known
  Protection protection = Protection::kUnknown;

  std::optional<double> rtt_ms;
  std::optional<double> loss_percent;     // of what came in lately
  std::optional<double> tx_loss_percent;  // of what went out lately, as the peer reports
  std::optional<double> heard_ms_ago;
  std::optional<double> capacity_mbit;     // out, as measured or as the file says
  std::optional<double> rx_capacity_mbit;  // in, as the peer measured it
  std::optional<double> queue_ms;          // that the engine keeps in front of the line
  std::optional<std::uint64_t>
      path_mtu;  // longest IP packet that arrives, where longer ones of ours are lost
  std::optional<std::uint64_t> repaired;  // packets that were lost here and sent again
  std::optional<double> key_age_s;        // of the session's keys

  std::optional<std::uint64_t> rx_bytes, tx_bytes;
  // Of the last 10 s; the shares are of all WANs, and empty while next to nothing flows.
  std::optional<double> rx_mbit, tx_mbit, share_percent, rx_share_percent;
  std::optional<std::uint64_t> today_rx_bytes, today_tx_bytes;  // since midnight, local time

  bool operator==(const WanStatus&) const = default;
};

// Without what was measured of a line while the peer was heard on it: it tells nothing of now.
inline void forget_measured(WanStatus& wan) {
  wan.rtt_ms = wan.loss_percent = wan.tx_loss_percent = wan.queue_ms = std::nullopt;
}

// Calls `visit(key, field)` for each figure, `key` being its name in the JSON of the contract.
template <typename Wan, typename Visit>
void visit_figures(Wan& wan, Visit visit) {
  visit("rtt_ms", wan.rtt_ms);
  visit("loss_percent", wan.loss_percent);
  visit("rx_bytes", wan.rx_bytes);
  visit("tx_bytes", wan.tx_bytes);
  visit("capacity_mbit", wan.capacity_mbit);
  visit("share_percent", wan.share_percent);
  visit("queue_ms", wan.queue_ms);
  visit("tx_loss_percent", wan.tx_loss_percent);
  visit("heard_ms_ago", wan.heard_ms_ago);
  visit("rx_capacity_mbit", wan.rx_capacity_mbit);
  visit("rx_share_percent", wan.rx_share_percent);
  visit("rx_mbit", wan.rx_mbit);
  visit("tx_mbit", wan.tx_mbit);
  visit("repaired", wan.repaired);
  visit("path_mtu", wan.path_mtu);
  visit("key_age_s", wan.key_age_s);
  visit("today_rx_bytes", wan.today_rx_bytes);
  visit("today_tx_bytes", wan.today_tx_bytes);
}

// Names of the WANs that are heard.
std::set<std::string> heard_names(const std::vector<WanStatus>& wans);

}  // namespace bondd::model

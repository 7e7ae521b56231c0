// What the two ends tell each other of their files, and what must agree. Pure: a text of "key value"
// lines goes over the tunnel, settings come out, and their differences are problems with names.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/base/ip.h"
#include "bondd/model/config.h"
#include "bondd/problems/table.h"

namespace bondd::problems {

constexpr std::size_t kMostSettingsBytes = 1200;  // fits one packet of every line
constexpr std::size_t kMostPeerWans = 16;
constexpr std::size_t kSpeedTestToken = 32;  // hexadecimal digits: 128 bits

struct PeerSettings {
  std::string role;                         // "client" or "server"
  std::map<std::string, std::string> same;  // settings that must be equal, by the file's key
  std::string address, peer;                // of [bond]: what is one end's is the other end's other
  struct Wan {
    std::uint16_t port = 0;
    std::string name;
    std::optional<double> capacity_mbit;  // of what that end sends, as measured
    unsigned tunnels = 0;                 // that it has there; 0: not told
    bool unheard = false;                 // that end receives nothing there now
    bool undecryptable = false;           // that end receives packets there that it cannot decrypt
    bool drained = false;                 // its admin has taken it out of use
    bool operator==(const Wan&) const = default;
  };
  std::vector<Wan> wans;
  // The WAN with that UDP port; null if there is none.
  [[nodiscard]] const Wan* with_port(std::uint16_t port) const;
  std::vector<IpPrefix> networks;        // of an office: the networks of its computers
  std::vector<IpPrefix> through_bond;    // what that end sends into the bond
  std::vector<std::string> masquerade;   // of a server: devices of [nat]
  std::vector<model::Forward> services;  // of a server: where it forwards to; `port` is the one there
  std::string way_out;                   // of a server: the device of its default route
  bool takes_speed_tests = false;        // an earlier bondd does not say so
  // `bondd speedtest` runs at that end: its connections begin with the token, and only the WAN with that port
  // shall carry; 0: all do.
  struct SpeedTest {
    std::string token;  // kSpeedTestToken hexadecimal digits
    std::uint16_t wan_port = 0;
    bool operator==(const SpeedTest&) const = default;
  };
  std::optional<SpeedTest> speed_test;
  // The answer of the other end: where it listens inside the bond, and which WAN carries as it was asked.
  struct SpeedTestReady {
    std::uint16_t listens = 0, wan_port = 0;
    std::string test;  // see speed_test_name()
    bool operator==(const SpeedTestReady&) const = default;
  };
  std::optional<SpeedTestReady> speed_test_ready;
  bool operator==(const PeerSettings&) const = default;
};

// Never longer than kMostSettingsBytes: what does not fit is left out from the end.
std::string render(const PeerSettings& settings);
// The text comes from the peer, authenticated; bytes that are no printable ASCII, unknown keys and
// values out of range are dropped. Nothing if it is not such a text.
std::optional<PeerSettings> parse_peer_settings(std::string_view text);

// The first digits of a test's token, by which an answer is known to be for this test and not an earlier one.
std::string speed_test_name(const std::string& token);

// What this end would tell of itself; networks, way_out and capacities are the caller's.
PeerSettings settings_of(const model::Config& config);

// Only key, ours, theirs, detail, wan and port of the words are filled in. `session_keys`: no WAN is
// protected by the password alone.
std::vector<Found> compare(const PeerSettings& ours, const PeerSettings& theirs, bool session_keys);

}  // namespace bondd::problems

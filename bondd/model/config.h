// A site's file as plain values, after parsing and checking: what is here is valid.
// See contract.md's two files; `config` is the only module that knows TOML.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/base/ip.h"
#include "bondd/base/units.h"
#include "bondd/model/ownership.h"
#include "netlink/values.h"

namespace bondd::model {

enum class Role : std::uint8_t { kClient, kServer };
enum class Backend : std::uint8_t { kOpenVpnBond, kMlvpn };
// The words of the file.
std::string_view name(Role role);
std::string_view name(Backend backend);

struct Server {
  std::string address;  // client: address or host name to reach; server: address to listen on, empty: all
  auto operator<=>(const Server&) const = default;
};

// What may come in from the other end, beside answers.
enum class FromBond : std::uint8_t {
  kForwards,  // what the VPS forwards, and pings of the bond's address
  kReplies,   // pings only
  kAll,       // everything: both ends are one trusted network
};

struct Bond {
  std::string interface;
  IpPrefix address;  // with host bits
  IpAddress peer;
  netlink::BondMode mode = netlink::BondMode::kBalanceRr;
  netlink::HashPolicy hash_policy = netlink::HashPolicy::kLayer2;
  Duration arp_interval{};
  std::optional<std::uint32_t> mtu;  // none: computed to fit every line
  FromBond from_bond = FromBond::kForwards;
  auto operator<=>(const Bond&) const = default;
};

struct Wan {
  std::string name;
  std::string device;                // client; empty: the device of the default route
  std::optional<IpAddress> gateway;  // the modem-router; none: learned from the device's routes
  std::uint16_t port = 0;
  std::optional<Rate> upload, download;
  std::optional<double> weight;
  std::optional<std::uint32_t> mtu;  // of the line; none: 1492 or the device's if smaller
  std::optional<IpAddress> bind;     // local address of the tunnel's packets
  bool fallback_only = false;        // mlvpn: used when no other WAN is usable
  // mlvpn: this WAN's own; none: those of Mlvpn.
  std::optional<Duration> timeout;
  std::optional<double> loss_tolerance;  // percent
  std::optional<Duration> latency_tolerance;
  auto operator<=>(const Wan&) const = default;
};

enum class OpenVpnAuth : std::uint8_t { kTls, kStaticKey };

// The key without which openvpn answers nobody (its tls-crypt).
enum class TlsCrypt : std::uint8_t {
  kDerived,  // from both certificates' fingerprints
  kFile,     // of openvpn --genkey secret
  kOff,      // none: for a peer that is older than it
};

struct OpenVpn {
  OpenVpnAuth auth = OpenVpnAuth::kTls;
  std::filesystem::path static_key;   // kStaticKey; absolute
  std::filesystem::path private_key;  // kTls: SITE.key beside the file, made by `bondd key`
  std::filesystem::path certificate;  // kTls: SITE.crt beside the file
  std::string peer_fingerprint;       // kTls: SHA-256 of the peer's certificate, "AB:CD:…"
  TlsCrypt tls_crypt = TlsCrypt::kDerived;
  std::filesystem::path tls_crypt_file;  // kFile; absolute
  auto operator<=>(const OpenVpn&) const = default;
};

// The files that openvpn reads secrets from, as the site's file names them; those that are empty are not
// used.
inline std::array<std::filesystem::path, 3> secret_files(const OpenVpn& openvpn) {
  return {openvpn.static_key, openvpn.private_key, openvpn.tls_crypt_file};
}

// Where openvpn's tls-crypt key stands: a derived one is written into the run directory before the first
// openvpn starts. Empty: there is none.
inline std::filesystem::path tls_crypt_file(const OpenVpn& openvpn, const std::filesystem::path& run_dir) {
  if (openvpn.auth != OpenVpnAuth::kTls || openvpn.tls_crypt == TlsCrypt::kOff) return {};
  return openvpn.tls_crypt == TlsCrypt::kFile ? openvpn.tls_crypt_file : run_dir / "tls-crypt.key";
}

enum class Repair : std::uint8_t { kAuto, kOff };

// Who may be at the other end.
enum class MlvpnPeer : std::uint8_t {
  kAuto,   // a bondd or the original program; what had session keys once is refused without them
  kBondd,  // a bondd with session keys
  kMlvpn,  // the original program
};

struct Mlvpn {
  std::filesystem::path password_file;  // absolute
  bool cleartext_data = false;
  bool tap = false;  // "tun" or "tap"
  Duration timeout = std::chrono::seconds(30);
  std::optional<std::uint32_t> reorder;  // packets; none: automatic, 0: off
  std::optional<double> loss_tolerance;  // percent
  std::optional<Duration> latency_tolerance;
  Repair repair = Repair::kAuto;
  MlvpnPeer peer = MlvpnPeer::kAuto;
  std::filesystem::path key_file;  // absolute; empty: the password alone says who the other end is
  auto operator<=>(const Mlvpn&) const = default;
};

struct PortRange {
  std::uint16_t first = 0, last = 0;
  auto operator<=>(const PortRange&) const = default;
};

enum class Protocol : std::uint8_t { kTcp, kUdp };
std::string_view name(Protocol protocol);  // "tcp", "udp"

struct Match {
  Protocol proto = Protocol::kTcp;
  std::optional<PortRange> dport, sport;
  std::optional<IpPrefix> source, destination;
  auto operator<=>(const Match&) const = default;
};

// Manual steering: what matches leaves by that WAN's gateway, outside the bond.
struct Policy {
  std::string name;
  std::string wan;
  std::vector<Match> matches;
  auto operator<=>(const Policy&) const = default;
};

// What becomes of the office's connections when the other way is taken.
enum class Running : std::uint8_t {
  kFinish,  // they stay on the way on which they began, and wait there
  kReset,   // TCP is told to begin anew
};

// What the office does while no WAN reaches the server.
struct Failover {
  Duration after = std::chrono::seconds(10);  // that the bond has carried nothing
  bool direct = false;                        // new connections leave by a WAN, past the bond
  Running running = Running::kFinish;
  auto operator<=>(const Failover&) const = default;
};

// A program that is run when the state of a WAN or of the bond changes.
struct Hooks {
  std::filesystem::path run;  // empty: none
  Duration timeout = std::chrono::seconds(30);
  // Of a WAN: calls for packet loss (in percent, either way) and round trips above these; empty: none.
  std::optional<double> loss_above;
  std::optional<Duration> latency_above;
  auto operator<=>(const Hooks&) const = default;
};

// The page that shows the site to a browser.
struct Web {
  IpAddress address;                 // where it listens
  std::uint16_t port = 0;            // 0: there is no page
  std::filesystem::path token_file;  // absolute; empty: none is asked for, on loopback only
  auto operator<=>(const Web&) const = default;
};

// A token's file has it in its first line: `text` up to there.
std::string_view web_token_of(std::string_view text);
// Long enough not to be guessed over a network, and of characters that stand in a URL and a header as they
// are.
inline constexpr std::size_t kShortestWebToken = 16;
bool is_web_token(std::string_view token);

// A service in the office, reachable at the VPS's address.
struct Forward {
  Protocol proto = Protocol::kTcp;
  PortRange port;
  IpAddress to;
  std::optional<PortRange> to_port;  // none: the same
  auto operator<=>(const Forward&) const = default;
};

struct Config {
  std::string site;            // the file's stem: letters, digits, '-', '_', '.'; at most 64
  std::filesystem::path file;  // absolute
  Role role = Role::kClient;
  Backend backend = Backend::kOpenVpnBond;
  Server server;
  Bond bond;
  std::vector<Wan> wans;  // 1 to 15, in the file's order; their number n counts from 1
  std::vector<IpPrefix> through_bond;
  OpenVpn openvpn;
  Mlvpn mlvpn;
  Failover failover;
  Hooks hooks;
  Web web;
  std::vector<Policy> policies;
  std::vector<std::string> masquerade;  // devices
  std::vector<Forward> forwards;
  std::uint32_t mark_mask = kDefaultMarkMask;  // the bits of marks that are this site's

  auto operator<=>(const Config&) const = default;
};

}  // namespace bondd::model

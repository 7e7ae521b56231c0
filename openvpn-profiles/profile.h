// The configuration file of one openvpn process of a bond: what bondd decides, as
// a value, and its rendering for the openvpn that is installed (2.5, 2.6, 2.7).
// Pure: nothing here touches a file or runs a program.
#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/ip.h"

namespace bondd::openvpn {

struct Version {
  int major = 2, minor = 6, patch = 0;
  auto operator<=>(const Version&) const = default;
};

// From the first line of `openvpn --version`: "OpenVPN 2.6.14 x86_64-pc-linux-gnu [SSL …".
// "2.7_beta1" is 2.7.0. Fails when it is no such line.
Result<Version> parse_version(std::string_view output);
std::string to_string(const Version& version);

enum class Role : std::uint8_t { kClient, kServer };
enum class Auth : std::uint8_t { kTls, kStaticKey };

// One end of one tunnel. Paths are absolute. The tap exists before openvpn
// starts and is owned by `user`; its MTU and queue length are the plan's.
struct Profile {
  Role role = Role::kClient;
  Auth auth = Auth::kTls;
  std::string device;               // the tap, 1 to 15 bytes
  Family family = Family::kIpv4;    // of the packets outside
  std::optional<IpAddress> local;   // server: address to listen on, none: all; client: address to send from
  std::uint16_t local_port = 0;     // server: the port to listen on; client: 0, the kernel chooses
  std::optional<IpAddress> remote;  // client: the server
  std::uint16_t remote_port = 0;    // client
  std::uint32_t fwmark = 0;         // of every packet outside (SO_MARK); 0: none
  std::uint32_t mtu = 1400;         // of the tap, see tunnel_mtu()
  std::filesystem::path management_socket;         // empty: none
  std::filesystem::path static_key;                // kStaticKey
  std::filesystem::path private_key, certificate;  // kTls
  std::string peer_fingerprint;                    // kTls: "AB:CD:…", 32 bytes; small letters are accepted
  std::filesystem::path tls_crypt;                 // kTls: a static key; empty: strangers are answered
  std::string user, group;                         // empty: stays root
  unsigned ping_s = 5;           // something is sent at least this often, so that NAT entries live
  unsigned replay_window = 512;  // packets
  unsigned replay_time_s = 15;
  unsigned verbosity = 3;

  auto operator<=>(const Profile&) const = default;
};

// The text of the file for `openvpn --config`. Fails, in words for the admin, where
// this openvpn cannot do it (static keys from 2.8 on, pinned certificates before
// 2.6) and where a value could not stand in such a file.
Result<std::string> render(const Profile& profile, const Version& version);

// The largest MTU of the tap (an IP packet inside) whose packet outside still fits a
// line of `line_mtu` bytes; measured against openvpn 2.6.14, see profile_test.cc.
// Outside: IP and UDP header; static key: HMAC-SHA1, IV, and padded to 16 bytes:
// packet id, Ethernet header, packet; TLS: 24 bytes (2.7: 28, 64-bit packet ids) of
// AES-256-GCM and Ethernet header.
std::uint32_t tunnel_mtu(std::uint32_t line_mtu, Auth auth, Family outer, const Version& version = {});

// Size of the packet outside, IP header included, that carries an inner packet of
// `inner` bytes.
std::uint32_t outer_size(std::uint32_t inner, Auth auth, Family outer, const Version& version = {});

}  // namespace bondd::openvpn

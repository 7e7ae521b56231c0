#include "openvpn-profiles/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>

namespace bondd::openvpn {
namespace {

// openvpn cuts a line of its file into words of at most 255 bytes, and
// refuses a longer line (OPTION_LINE_SIZE, options.h).
constexpr std::size_t kLineMax = 250;
constexpr std::uint32_t kUsualMtu = 1500;

constexpr std::uint32_t kUdpHeader = 8, kEthernetHeader = 14;
constexpr std::uint32_t kSha1 = 20, kAesBlock = 16;
constexpr std::uint32_t kLongPacketId = 8;  // sequence and time: static keys have no session to number in
constexpr std::uint32_t kGcmHeader = 4 + 4 + 16;    // opcode and peer id, packet id, tag
constexpr std::uint32_t kEpochHeader = 4 + 8 + 16;  // 2.7: the packet id holds the key's epoch, 64 bits

constexpr Version k26{2, 6, 0}, k27{2, 7, 0}, k28{2, 8, 0};

std::uint32_t ip_and_udp(Family family) {
  return (family == Family::kIpv4 ? 20U : 40U) + kUdpHeader;
}

std::uint32_t gcm_header(const Version& version) {
  return version < k27 ? kGcmHeader : kEpochHeader;
}

// Writes "name value …" lines and remembers the first value that cannot stand in one.
class Lines {
 public:
  template <typename... Values>
  void add(std::string_view name, const Values&... values) {
    std::string line(name);
    ((line += ' ', line += quoted(name, fmt::format("{}", values))), ...);
    if (line.size() > kLineMax) {
      fail(
          fmt::format("openvpn accepts lines of {} bytes, this one has {}: {}", kLineMax, line.size(), line));
    }
    text_ += line + '\n';
  }
  void comment(std::string_view text) { text_ += fmt::format("# {}\n", text); }
  void fail(std::string message) {
    if (!error_) error_ = Error{std::move(message)};
  }
  Result<std::string> take() && {
    if (error_) return tl::make_unexpected(*error_);
    return std::move(text_);
  }

 private:
  // openvpn reads "…" with \ before " and \; it knows no way to write control characters.
  std::string quoted(std::string_view name, const std::string& value) {
    const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
    const auto is_plain = [](unsigned char c) {
      return std::isalnum(c) != 0 ||
             std::string_view("_-./:+@,=").find(static_cast<char>(c)) != std::string_view::npos;
    };
    if (std::any_of(value.begin(), value.end(), is_control)) {
      fail(fmt::format("the value of \"{}\" has a control character in it", name));
      return "\"\"";
    }
    if (!value.empty() && std::all_of(value.begin(), value.end(), is_plain)) return value;
    std::string out = "\"";
    for (const char c : value) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    return out + "\"";
  }

  std::string text_;
  std::optional<Error> error_;
};

bool is_fingerprint(std::string_view text) {
  if (text.size() != 32 * 3 - 1) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (i % 3 == 2 ? c != ':' : std::isxdigit(c) == 0) return false;
  }
  return true;
}

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

void add_device(Lines& lines, const Profile& profile) {
  lines.comment("The tap is there already; bondd alone gives it its addresses and routes.");
  lines.add("dev", profile.device);
  lines.add("dev-type", "tap");
  lines.add("ifconfig-noexec");
  lines.add("route-noexec");
  // The tap's MTU is set on the tap. Buffers for a peer set up by hand, too, who
  // leaves it at 1500.
  lines.add("tun-mtu", std::max(profile.mtu, kUsualMtu));
  lines.add("mssfix", 0);  // nothing to do on a tap; the firewall clamps
}

void add_socket(Lines& lines, const Profile& profile) {
  const bool v4 = profile.family == Family::kIpv4;
  lines.add("proto", v4 ? "udp4" : "udp6");
  if (profile.role == Role::kServer) {
    if (profile.local) {
      lines.add("local", to_string(*profile.local));
    } else {
      lines.add("multihome");  // answer from the address that was asked
    }
    if (profile.local_port == 0) lines.fail("a server needs the port that it listens on");
    lines.add("lport", profile.local_port);
    // The office's address may change at any time; what authenticates is the office.
    lines.add("float");
  } else {
    if (!profile.remote || profile.remote_port == 0) {
      lines.fail("a client needs its server's address and port");
      return;
    }
    lines.add("remote", to_string(*profile.remote), profile.remote_port);
    if (profile.local) lines.add("local", to_string(*profile.local));
    if (profile.local || profile.local_port != 0) {
      lines.add("lport", profile.local_port);
    } else {
      lines.add("nobind");
    }
  }
  for (const auto& address : {profile.local, profile.remote}) {
    if (address && address->family() != profile.family) {
      lines.fail(fmt::format("{} is not of the tunnel's address family", to_string(*address)));
    }
  }
  if (profile.fwmark != 0) lines.add("mark", profile.fwmark);
  // What we send fits the line. Should the path be narrower than anyone said, a fragment is
  // better than silence: IPv4 routers make it when no DF is set, IPv6 wants path MTU discovery.
  lines.add("mtu-disc", v4 ? "no" : "maybe");
}

void add_static_key(Lines& lines, const Profile& profile, const Version& version) {
  if (version >= k28) {
    lines.fail(fmt::format(
        "openvpn {} has no static keys any more: remove auth = \"static-key\" on both ends, so that they "
        "use TLS",
        to_string(version)));
  }
  lines.comment("The recipe's shared key. No session: whoever holds the key can read what was recorded.");
  if (version >= k27) lines.add("allow-deprecated-insecure-static-crypto");
  lines.add("secret", profile.static_key.string());
  lines.add("cipher", "AES-256-CBC");
  lines.add("auth", "SHA1");
}

void add_tls(Lines& lines, const Profile& profile, const Version& version) {
  if (version < k26) {
    lines.fail(fmt::format(
        "openvpn {} cannot pin the peer's certificate (peer-fingerprint came with 2.6): install a newer "
        "openvpn, or set auth = \"static-key\" on both ends",
        to_string(version)));
  }
  if (!is_fingerprint(profile.peer_fingerprint)) {
    lines.fail(
        fmt::format("\"{}\" is not the SHA-256 fingerprint of a certificate; `bondd key FILE` on the "
                    "peer prints it",
                    profile.peer_fingerprint));
  }
  lines.comment("TLS 1.3 between two self-signed certificates that know each other by fingerprint.");
  lines.add(profile.role == Role::kServer ? "tls-server" : "tls-client");
  lines.add("cert", profile.certificate.string());
  lines.add("key", profile.private_key.string());
  lines.add("peer-fingerprint", upper(profile.peer_fingerprint));
  if (!profile.tls_crypt.empty()) lines.add("tls-crypt", profile.tls_crypt.string());
  lines.add("tls-version-min", "1.3");
  lines.add("data-ciphers", "AES-256-GCM");
  lines.add("auth", "none");  // the AEAD cipher authenticates
  if (profile.role == Role::kServer) {
    lines.add("dh", "none");
    lines.add("explicit-exit-notify", 1);  // the client starts a new session at once
  } else {
    // A handshake that got no answer is begun anew after 6 s, and asks at 0, 1 and 3 s: a
    // server that comes back is found within 3 s.
    lines.add("tls-timeout", 1);
  }
  lines.add("hand-window", profile.role == Role::kServer ? 10 : 6);
}

void add_life(Lines& lines, const Profile& profile, const Version& version) {
  if (version >= k26) lines.add("disable-dco");  // for tun devices only
  lines.add("replay-window", profile.replay_window, profile.replay_time_s);
  if (profile.auth == Auth::kStaticKey) {
    lines.comment(
        "A peer whose clock went back sends nothing but what looks like replays: bondd wants to know.");
    lines.add("mute", 30);  // openvpn counts each such line three times
  } else {
    lines.add("mute-replay-warnings");
  }
  lines.comment("bondd watches the tunnel itself: nothing here gives up because the peer is away.");
  lines.add("ping", profile.ping_s);
  lines.add("persist-tun");
  lines.add("persist-key");
  // Without its privileges openvpn could set no mark on a new socket, and would leave by
  // the wrong box. So it never restarts inside: it ends, and bondd starts it.
  lines.add("remap-usr1", "SIGTERM");
  lines.add("script-security", 0);
  if (!profile.user.empty()) lines.add("user", profile.user);
  if (!profile.group.empty()) lines.add("group", profile.group);
  if (!profile.management_socket.empty()) {
    lines.add("management", profile.management_socket.string(), "unix");
    lines.add("management-signal");  // ends when bondd is gone, however bondd ended
  }
  lines.add("verb", profile.verbosity);
  lines.add("suppress-timestamps");
}

}  // namespace

Result<Version> parse_version(std::string_view output) {
  constexpr std::string_view kStart = "OpenVPN ";
  const std::string_view line = output.substr(0, output.find('\n'));
  const auto unknown = [&] {
    return failure(fmt::format("cannot tell the version of openvpn from \"{}\"", line.substr(0, 80)));
  };
  if (!line.starts_with(kStart)) return unknown();
  const char* at = line.data() + kStart.size();
  const char* const end = line.data() + line.size();
  Version version;
  int* const parts[] = {&version.major, &version.minor, &version.patch};
  for (int i = 0; i < 3; ++i) {
    if (i > 0) {
      if (at == end || *at != '.') break;
      ++at;
    }
    const auto [rest, error] = std::from_chars(at, end, *parts[i]);
    if (error != std::errc{} || *parts[i] < 0) return unknown();
    if (i == 0 && (rest == end || *rest != '.')) return unknown();
    at = rest;
  }
  return version;
}

std::string to_string(const Version& version) {
  return version.patch == 0 ? fmt::format("{}.{}", version.major, version.minor)
                            : fmt::format("{}.{}.{}", version.major, version.minor, version.patch);
}

Result<std::string> render(const Profile& profile, const Version& version) {
  if (profile.device.empty() || profile.device.size() > 15) {
    return failure(fmt::format("\"{}\" is no name of a tap: 1 to 15 bytes", profile.device));
  }
  if (version < Version{2, 5, 0}) {
    return failure(fmt::format("openvpn {} is too old: bondd needs 2.5 or newer", to_string(version)));
  }
  Lines lines;
  lines.comment(fmt::format("Written by bondd for openvpn {}; changes are lost.", to_string(version)));
  add_device(lines, profile);
  add_socket(lines, profile);
  if (profile.auth == Auth::kTls) {
    add_tls(lines, profile, version);
  } else {
    add_static_key(lines, profile, version);
  }
  add_life(lines, profile, version);
  return std::move(lines).take();
}

std::uint32_t outer_size(std::uint32_t inner, Auth auth, Family outer, const Version& version) {
  const std::uint32_t frame = inner + kEthernetHeader;
  if (auth == Auth::kTls) return ip_and_udp(outer) + gcm_header(version) + frame;
  const std::uint32_t padded = ((kLongPacketId + frame) / kAesBlock + 1) * kAesBlock;  // always some padding
  return ip_and_udp(outer) + kSha1 + kAesBlock + padded;
}

std::uint32_t tunnel_mtu(std::uint32_t line_mtu, Auth auth, Family outer, const Version& version) {
  const std::uint32_t headers = ip_and_udp(outer);
  if (auth == Auth::kTls) {
    const std::uint32_t fixed = headers + gcm_header(version) + kEthernetHeader;
    return line_mtu > fixed ? line_mtu - fixed : 0;
  }
  const std::uint32_t fixed = headers + kSha1 + kAesBlock;
  if (line_mtu < fixed + 2 * kAesBlock) return 0;
  const std::uint32_t plain = (line_mtu - fixed) / kAesBlock * kAesBlock - 1;
  const std::uint32_t inside = kLongPacketId + kEthernetHeader;
  return plain > inside ? plain - inside : 0;
}

}  // namespace bondd::openvpn

#include "bondd/config/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "bondd/base/units.h"

namespace bondd::config {
namespace {

constexpr std::array kTables{
    Table{"", false, Side::kBoth, Side::kBoth, "Before the first table."},
    Table{"server", false, Side::kBoth, Side::kClient, "The VPS."},
    Table{"bond", false, Side::kBoth, Side::kBoth, "The interface that the office uses."},
    Table{"wan", true, Side::kBoth, Side::kBoth,
          "One Internet line, in both files under the same name and port; 1 to 15 of them."},
    Table{"routes", false, Side::kBoth, Side::kBoth, "What goes into the bond."},
    Table{"failover", false, Side::kClient, Side::kNone,
          "What the office does while no WAN reaches the server."},
    Table{"marks", false, Side::kBoth, Side::kNone,
          "What keeps bondd and other programs on this machine apart."},
    Table{"hooks", false, Side::kBoth, Side::kNone, "A program that is run when a WAN or the bond changes."},
    Table{"web", false, Side::kBoth, Side::kNone,
          "A page that shows the site to a browser, and its figures to programs."},
    Table{"openvpn", false, Side::kBoth, Side::kNone, "Looked at with backend = \"openvpn-bond\"."},
    Table{"mlvpn", false, Side::kBoth, Side::kNone, "Looked at with backend = \"mlvpn\"."},
    Table{"policy", true, Side::kClient, Side::kNone,
          "Traffic that leaves by one gateway, outside the bond."},
    Table{"policy.match", true, Side::kClient, Side::kNone,
          "What a policy is for: a packet that fits every key of one entry."},
    Table{"nat", false, Side::kServer, Side::kNone, "Address translation for traffic of the bond."},
    Table{"forward", true, Side::kServer, Side::kNone,
          "A service in the office, reachable at the VPS's address."},
};

// clang-format off
constexpr std::array kKeys{
    Key{"", "role", Type::kChoice, Side::kBoth, Side::kBoth, "\"client\"",
        "Which end this machine is: the office is the client, the VPS the server.", "client|server"},
    Key{"", "backend", Type::kChoice, Side::kBoth, Side::kBoth, "\"openvpn-bond\"",
        "How the bond is built; the same on both ends.", "openvpn-bond|mlvpn"},

    Key{"server", "address", Type::kHost, Side::kBoth, Side::kClient, "\"203.0.113.10\"",
        "Client: the VPS, as address or host name. Server: the address to listen on; without it all addresses."},

    Key{"bond", "interface", Type::kDevice, Side::kBoth, Side::kNone, "\"bond0\"",
        "Name of the interface that bondd makes. Default: bond0."},
    Key{"bond", "address", Type::kPrefix, Side::kBoth, Side::kBoth, "\"172.16.16.2/30\"",
        "This end's address in the bond, with the length of a network that holds both ends.",
        {}, 0, 0, "\"172.16.16.1/30\""},
    Key{"bond", "peer", Type::kAddress, Side::kBoth, Side::kBoth, "\"172.16.16.1\"",
        "The other end's address in the bond.",
        {}, 0, 0, "\"172.16.16.2\""},
    Key{"bond", "mode", Type::kChoice, Side::kBoth, Side::kNone, "\"balance-rr\"",
        "openvpn-bond: how packets are spread. balance-rr takes the WANs in turn, so that one connection uses all; balance-xor keeps each flow on one WAN. Default: balance-rr.",
        "balance-rr|balance-xor"},
    Key{"bond", "xmit_hash_policy", Type::kChoice, Side::kBoth, Side::kNone, "\"layer3+4\"",
        "openvpn-bond with balance-xor: what makes up a flow. Default: layer2.", "layer2|layer2+3|layer3+4"},
    Key{"bond", "arp_interval", Type::kDuration, Side::kBoth, Side::kNone, "\"300ms\"",
        "openvpn-bond: how often the kernel asks the peer on each WAN whether it is there; \"0s\" turns that off. Default: 300ms.",
        {}, 0, 60'000},
    Key{"bond", "mtu", Type::kInteger, Side::kBoth, Side::kNone, "1400",
        "Largest packet inside the bond, in bytes. Default: the largest that fits every line unfragmented.", {}, 576, 9000},

    Key{"bond", "from_bond", Type::kChoice, Side::kBoth, Side::kNone, "\"forwards\"",
        "What may come in through the bond. forwards: answers, pings of this end's address, and what the VPS forwards; replies: answers and pings only; all: everything, both ends are one trusted network. Default: forwards.",
        "forwards|replies|all"},

    Key{"wan", "name", Type::kName, Side::kBoth, Side::kBoth, "\"ovh\"",
        "Letters, digits, '-', '_' and '.', at most 32; what status and logs call the line."},
    Key{"wan", "device", Type::kDevice, Side::kClient, Side::kNone, "\"eth0\"",
        "The device that leads to the gateway. Default: that of the machine's default route."},
    Key{"wan", "gateway", Type::kAddress, Side::kClient, Side::kNone, "\"192.168.1.254\"",
        "The gateway. Without it the gateway is learned from the device (DHCP, PPP)."},
    Key{"wan", "port", Type::kPort, Side::kBoth, Side::kBoth, "1194",
        "UDP port at the VPS, one per WAN, the same in both files.", {}, 1, 65535},
    Key{"wan", "bind", Type::kAddress, Side::kBoth, Side::kNone, "\"192.168.1.252\"",
        "Local address of this WAN's tunnel packets. Default: the device's own, on a server server.address."},
    Key{"wan", "upload", Type::kRate, Side::kBoth, Side::kNone, "\"896kbit\"",
        "What the line carries from the office: kbit, mbit or gbit."},
    Key{"wan", "download", Type::kRate, Side::kBoth, Side::kNone, "\"7mbit\"",
        "What the line carries to the office."},
    Key{"wan", "weight", Type::kNumber, Side::kBoth, Side::kNone, "2",
        "The WAN's share of the packets against the other WANs' weights; goes before the rates.", {}, 0.01, 1000},
    Key{"wan", "mtu", Type::kInteger, Side::kBoth, Side::kNone, "1492",
        "Largest packet that the line carries, in bytes. Default: 1492 (PPPoE), or the device's if that is smaller.", {}, 576, 9000},
    Key{"wan", "fallback_only", Type::kBool, Side::kBoth, Side::kNone, "true",
        "mlvpn: used only while no other WAN is usable; costs less than 1 MB a day meanwhile. Default: false."},
    Key{"wan", "timeout", Type::kDuration, Side::kBoth, Side::kNone, "\"10s\"",
        "mlvpn: as in [mlvpn], for this WAN.", {}, 2'000, 3'600'000},
    Key{"wan", "loss_tolerance", Type::kNumber, Side::kBoth, Side::kNone, "10",
        "mlvpn: as in [mlvpn], for this WAN.", {}, 0.1, 100},
    Key{"wan", "latency_tolerance", Type::kDuration, Side::kBoth, Side::kNone, "\"300ms\"",
        "mlvpn: as in [mlvpn], for this WAN.", {}, 1, 60'000},

    Key{"routes", "through_bond", Type::kNetworks, Side::kBoth, Side::kBoth, "[\"0.0.0.0/0\"]",
        "Networks that are reached through the bond: on the client mostly everything, on the server the office's LAN.",
        {}, 0, 0, "[\"192.168.1.0/24\"]"},

    Key{"failover", "direct", Type::kBool, Side::kClient, Side::kNone, "true",
        "true: new connections leave by one WAN, past the bond and outside its encryption, with that WAN's address. false: what goes into the bond waits for it and leaves by no gateway. Default: false."},
    Key{"failover", "after", Type::kDuration, Side::kClient, Side::kNone, "\"10s\"",
        "With direct: how long the bond has to carry nothing before. Default: 10s.", {}, 2'000, 3'600'000},
    Key{"failover", "running", Type::kChoice, Side::kClient, Side::kNone, "\"finish\"",
        "With direct: what becomes of connections when the way changes. finish: they stay on the way on which they began; reset: TCP connections are ended, so that programs begin anew at once. Default: finish.",
        "finish|reset"},

    Key{"marks", "mask", Type::kMask, Side::kBoth, Side::kNone, "0x7f000000",
        "The bits of packets' and connections' marks (fwmark) that are bondd's: 5 in a row for one office on this machine; each further bit doubles their number, up to 8. Default: 0x7f000000.",
        {}, 1, 0x7fffffff},

    Key{"hooks", "run", Type::kFile, Side::kBoth, Side::kBoth, "\"office-hook\"",
        "The program, which only root can change. Its arguments are those of MLVPN's statuscommand: the bond's interface, what happened, the WAN."},
    Key{"hooks", "timeout", Type::kDuration, Side::kBoth, Side::kNone, "\"30s\"",
        "How long it may run; then it is killed. Default: 30s.", {}, 1'000, 3'600'000},
    Key{"hooks", "loss_above", Type::kNumber, Side::kBoth, Side::kNone, "5",
        "Run it, too, when the packet loss of a WAN is above so many percent for 10 s, and when that is over.",
        {}, 0.1, 100},
    Key{"hooks", "latency_above", Type::kDuration, Side::kBoth, Side::kNone, "\"300ms\"",
        "Run it, too, when the latency of a WAN is above this for 10 s, and when that is over.", {}, 1, 60'000},

    Key{"web", "listen", Type::kListen, Side::kBoth, Side::kBoth, "\"127.0.0.1:8080\"",
        "Where the page is: an address of this machine and a TCP port. On a loopback address only this machine's own users see it; any other needs token_file. It is plain HTTP: over the Internet take an SSH tunnel."},
    Key{"web", "token_file", Type::kFile, Side::kBoth, Side::kNone, "\"web.token\"",
        "File whose first line is the token that a browser or a program has to show, 16 characters or more."},

    Key{"openvpn", "auth", Type::kChoice, Side::kBoth, Side::kNone, "\"tls\"",
        "tls: TLS 1.3, each end pins the other's certificate. static-key: one shared key, as in old guides; OpenVPN 2.8 drops it. Default: tls.",
        "tls|static-key"},
    Key{"openvpn", "key", Type::kFile, Side::kBoth, Side::kNone, "\"bond.key\"",
        "static-key: the shared key. tls: this end's private key. Default with tls: SITE.key."},
    Key{"openvpn", "certificate", Type::kFile, Side::kBoth, Side::kNone, "\"office.crt\"",
        "tls: this end's certificate. Default: SITE.crt; `bondd key FILE` makes key and certificate."},
    Key{"openvpn", "fingerprint", Type::kFingerprint, Side::kBoth, Side::kNone, "\"AB:CD:…\"",
        "tls: SHA-256 of the other end's certificate; `bondd key FILE` prints it there."},
    Key{"openvpn", "tls_crypt", Type::kFile, Side::kBoth, Side::kNone, "\"off\"",
        "tls: a key without which openvpn answers nobody, the same on both ends: a file of `openvpn --genkey secret FILE`, or \"off\" while the other end's bondd is older than this key. Default: made from both fingerprints."},

    Key{"mlvpn", "password_file", Type::kFile, Side::kBoth, Side::kNone, "\"bond.password\"",
        "File whose first line is the password, the same on both ends."},
    Key{"mlvpn", "cleartext_data", Type::kBool, Side::kBoth, Side::kNone, "false",
        "Sends packets unencrypted. Between two bondd of this version where both files have it, and nobody can change them on the way; an original program must have the same. Default: false."},
    Key{"mlvpn", "tuntap", Type::kChoice, Side::kBoth, Side::kNone, "\"tun\"",
        "tun carries IP packets, tap Ethernet frames; the same on both ends. Default: tun.", "tun|tap"},
    Key{"mlvpn", "timeout", Type::kDuration, Side::kBoth, Side::kNone, "\"30s\"",
        "A WAN with nothing heard for so long is down, at the latest. Default: 30s.", {}, 2'000, 3'600'000},
    Key{"mlvpn", "reorder", Type::kCount, Side::kBoth, Side::kNone, "\"auto\"",
        "Packets held back at most to restore their order; 0 turns that off. Default: \"auto\".", {}, 0, 65536},
    Key{"mlvpn", "loss_tolerance", Type::kNumber, Side::kBoth, Side::kNone, "25",
        "A WAN with more packet loss than this, in per cent, is left out until it is better. Default: never.", {}, 0.1, 100},
    Key{"mlvpn", "latency_tolerance", Type::kDuration, Side::kBoth, Side::kNone, "\"800ms\"",
        "A WAN with a higher latency is left out until it is better. Default: never.", {}, 1, 60'000},
    Key{"mlvpn", "repair", Type::kChoice, Side::kBoth, Side::kNone, "\"auto\"",
        "auto: losses of a line are repaired while that helps; off: never. Default: auto.", "auto|off"},
    Key{"mlvpn", "peer", Type::kChoice, Side::kBoth, Side::kNone, "\"auto\"",
        "bondd: only another bondd, with session keys. mlvpn: the original program. auto: either; what had session keys once is refused without them. Default: auto.",
        "auto|bondd|mlvpn"},
    Key{"mlvpn", "key_file", Type::kFile, Side::kBoth, Side::kNone, "\"office.keys\"",
        "File with this end's private key and the other end's public key, as `bondd init` and `join` write it: then the password alone makes nobody an end of the bond. Both ends have one, and peer is \"bondd\". Default: none."},

    Key{"policy", "name", Type::kName, Side::kClient, Side::kClient, "\"games\"", "What status and plan call it."},
    Key{"policy", "wan", Type::kName, Side::kClient, Side::kClient, "\"orange\"", "The WAN whose gateway the traffic leaves by."},
    Key{"policy", "match", Type::kTables, Side::kClient, Side::kClient, "[{ proto = \"tcp\", dport = \"6112\" }]",
        "What the policy is for; any of the entries."},

    Key{"policy.match", "proto", Type::kChoice, Side::kClient, Side::kClient, "\"udp\"", "Transport protocol.", "tcp|udp"},
    Key{"policy.match", "dport", Type::kPorts, Side::kClient, Side::kNone, "\"27000-30000\"", "Destination port or ports."},
    Key{"policy.match", "sport", Type::kPorts, Side::kClient, Side::kNone, "\"5060\"", "Source port or ports."},
    Key{"policy.match", "source", Type::kPrefix, Side::kClient, Side::kNone, "\"192.168.1.10\"", "Source address or network."},
    Key{"policy.match", "destination", Type::kPrefix, Side::kClient, Side::kNone, "\"198.51.100.0/24\"", "Destination address or network."},

    Key{"nat", "masquerade", Type::kDevices, Side::kServer, Side::kServer, "[\"eth0\"]",
        "Traffic of the bond that leaves by one of these devices takes that device's address."},

    Key{"forward", "proto", Type::kChoice, Side::kServer, Side::kServer, "\"tcp\"", "Transport protocol.", "tcp|udp"},
    Key{"forward", "port", Type::kPorts, Side::kServer, Side::kServer, "\"80\"", "Port or ports at the VPS."},
    Key{"forward", "to", Type::kTarget, Side::kServer, Side::kServer, "\"172.16.16.2:80\"",
        "Where it goes: an address behind the bond, and the port there if it is another."},
};
// clang-format on

constexpr bool every_key_has_its_table() {
  return std::all_of(kKeys.begin(), kKeys.end(), [](const Key& key) {
    return std::any_of(kTables.begin(), kTables.end(), [&](const Table& t) { return t.name == key.table; });
  });
}
static_assert(every_key_has_its_table());

std::string in_words(double milliseconds) {
  return format_duration(std::chrono::milliseconds(static_cast<std::int64_t>(milliseconds)));
}

// "a|b|c" -> `"a", "b" or "c"`.
std::string choices_in_words(std::string_view choices) {
  std::string out;
  while (!choices.empty()) {
    const std::size_t bar = choices.find('|');
    const bool last = bar == std::string_view::npos;
    if (!out.empty()) out += last ? " or " : ", ";
    out += fmt::format("\"{}\"", choices.substr(0, bar));
    choices = last ? std::string_view{} : choices.substr(bar + 1);
  }
  return out;
}

}  // namespace

std::span<const Table> tables() {
  return kTables;
}

std::span<const Key> keys() {
  return kKeys;
}

const Table* find_table(std::string_view name) {
  const auto* const found =
      std::find_if(kTables.begin(), kTables.end(), [&](const Table& table) { return table.name == name; });
  return found == kTables.end() ? nullptr : found;
}

const Key* find_key(std::string_view table, std::string_view name) {
  const auto* const found = std::find_if(
      kKeys.begin(), kKeys.end(), [&](const Key& key) { return key.table == table && key.name == name; });
  return found == kKeys.end() ? nullptr : found;
}

std::string header(const Table& table) {
  return table.array ? fmt::format("[[{}]]", table.name) : fmt::format("[{}]", table.name);
}

std::string_view example(const Key& key, Side side) {
  return side == Side::kServer && !key.server_example.empty() ? key.server_example : key.example;
}

std::string expected(const Key& key) {
  switch (key.type) {
    case Type::kChoice:
      return choices_in_words(key.choices);
    case Type::kName:
      return "a name of letters, digits, '-', '_' and '.', at most 32";
    case Type::kDevice:
      return "a device's name, at most 15 characters";
    case Type::kDevices:
      return "an array of devices' names";
    case Type::kHost:
      return "an address or a host name";
    case Type::kAddress:
      return "an address";
    case Type::kPrefix:
      return "an address with the length of its network";
    case Type::kNetworks:
      return "an array of networks";
    case Type::kTarget:
      return "an address, or address:port";
    case Type::kListen:
      return "an address with a port";
    case Type::kPort:
      return "a port, a whole number from 1 to 65535";
    case Type::kPorts:
      return "a port or a range of ports";
    case Type::kDuration:
      return fmt::format("a time from {} to {}", in_words(key.min), in_words(key.max));
    case Type::kRate:
      return "a rate in kbit, mbit or gbit";
    case Type::kNumber:
      return fmt::format("a number from {} to {}", key.min, key.max);
    case Type::kInteger:
      return fmt::format("a whole number from {} to {}", key.min, key.max);
    case Type::kMask:
      return "at least 5 bits in a row below bit 31, for example 0x7f000000";
    case Type::kCount:
      return fmt::format("a whole number from {} to {}, or \"auto\"", key.min, key.max);
    case Type::kBool:
      return "true or false";
    case Type::kFile:
      return "a file's path";
    case Type::kFingerprint:
      return "a SHA-256 fingerprint, 64 hexadecimal digits";
    case Type::kTables:
      return "an array of tables";
  }
  return {};
}

}  // namespace bondd::config

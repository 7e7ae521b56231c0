// The firewall that a site wants, as values: own chains, written whole, and the
// jumps to them from the built-in chains. Nothing here runs a program.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

namespace bondd::rules {

// Of one family's iptables; the mission is IPv4, IPv6 has its own program.
enum class Family : std::uint8_t { kIpv4, kIpv6 };

// One own chain with its rules in the words of iptables(8), after "-A CHAIN":
// {"-p", "udp", "--dport", "1194", "-j", "ACCEPT"}. Every word is one argument;
// render() quotes.
struct Chain {
  std::string name;  // BONDD-*, at most 28 bytes
  std::vector<std::vector<std::string>> rules;

  auto operator<=>(const Chain&) const = default;
};

// `builtin` jumps to `chain` from its first place (-I) or its last (-A).
struct Jump {
  std::string builtin;  // INPUT, FORWARD, OUTPUT, PREROUTING, POSTROUTING
  std::string chain;
  bool first = true;

  auto operator<=>(const Jump&) const = default;
};

struct Table {
  std::string name;  // filter, nat, mangle
  std::vector<Chain> chains;
  std::vector<Jump> jumps;

  auto operator<=>(const Table&) const = default;
};

// All tables of a site, sorted by name; empty tables are left out.
struct Firewall {
  std::vector<Table> tables;

  [[nodiscard]] bool empty() const { return tables.empty(); }
  auto operator<=>(const Firewall&) const = default;
};

// A rule that is not bondd's and looks at or writes marks of packets or connections.
struct MarkUse {
  std::string rule;        // "iptables -t mangle -A PREROUTING -j MARK --set-xmark 0x1/0xffffffff"
  std::uint32_t bits = 0;  // those that it looks for or writes
  std::uint32_t writes = 0, value = 0;  // the bits that it gives a packet's mark, and what it writes there
  // The same of a connection's mark.
  std::uint32_t connection_writes = 0, connection_value = 0;
  bool any_value = false;      // what it writes there is not known
  std::uint32_t restores = 0;  // bits that it copies from the connection's mark into the packet's
  // Where the packets are that it sees; a chain that is jumped to may be anywhere.
  enum class Hook : std::uint8_t { kAnywhere, kPrerouting, kOutput, kAfterRouting };
  Hook hook = Hook::kAnywhere;
  // Which of those: empty or 0 is any.
  std::string iif, oif;
  int iif_index = 0, oif_index = 0;  // where the rule has the device's number, not its name
  std::uint8_t protocol = 0;
  bool narrow = false;  // it looks at more: a packet that fits these may not fit the rule

  auto operator<=>(const MarkUse&) const = default;
};

}  // namespace bondd::rules

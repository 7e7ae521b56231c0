// What nf_tables would do with a packet, found out by running its rules over what is known of the packet.
// Only certain answers count: what depends on something unknown (a mark, a time, a counter) refuses nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bondd/base/ip.h"
#include "rules/nft_ruleset.h"

namespace bondd::rules {

// An IPv4 packet on its way through one of the kernel's hooks, and so through those before and after it
// (prerouting, postrouting). What is empty is unknown.
struct NftPacket {
  enum class Hook : std::uint8_t { kInput, kForward, kOutput };
  Hook hook = Hook::kForward;
  std::string in, out;                   // devices
  int in_index = 0, out_index = 0;       // their numbers
  std::optional<std::uint8_t> protocol;  // IPPROTO_UDP
  std::optional<IpAddress> source, destination;
  std::optional<IpPrefix> source_network, destination_network;  // where only these are known
  std::optional<std::uint16_t> source_port, destination_port;
  std::uint32_t zero_bits = 0;  // of the packet's and its connection's mark: those that nobody sets
  bool no_way_back = false;     // the route to its source leaves by another device than it came in by
  bool translated = false;      // its destination was (DNAT): a forwarded service
  bool answer = false;          // of a connection that both directions have seen; else its first packet
};

// The bits of packets' and connections' marks that rules of others in nf_tables may set; all where that is
// not known.
std::uint32_t written_mark_bits(const NftRuleset& ruleset);

// The place that drops or rejects it.
struct NftRefusal {
  std::string table;     // "inet firewalld", as nft names it
  std::string chain;     // the base chain
  std::string deciding;  // the chain with the rule, or `chain` when its policy is it
  bool policy = false;
  // Where the base chain stands on the way: "prerouting" knows no outgoing device, "postrouting" is told none
  // of the incoming one.
  enum class Stage : std::uint8_t { kPrerouting, kMain, kPostrouting };
  Stage stage = Stage::kMain;
};

// One for each base chain that surely refuses the packet; every base chain sees it, whatever another accepts.
std::vector<NftRefusal> refusals(const NftRuleset& ruleset, const NftPacket& packet);

}  // namespace bondd::rules

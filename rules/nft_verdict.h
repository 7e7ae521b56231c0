// What the kernel's firewall would do with a packet, found out by running its rules over what is known of the
// packet. What depends on something unknown (a time, a limit, an address) refuses nothing for certain.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bondd/base/ip.h"
#include "rules/nft_ruleset.h"

namespace bondd::rules {

// An IPv4 packet on its way through one of the kernel's hooks, and so through those before and after it
// (ingress, prerouting, postrouting, egress). What is empty is unknown.
struct NftPacket {
  enum class Hook : std::uint8_t { kInput, kForward, kOutput };
  Hook hook = Hook::kForward;
  std::string in, out;                   // devices
  int in_index = 0, out_index = 0;       // their numbers
  std::optional<std::uint8_t> protocol;  // IPPROTO_UDP
  std::optional<IpAddress> source, destination;
  std::optional<IpPrefix> source_network, destination_network;  // where only these are known
  std::optional<std::uint16_t> source_port, destination_port;
  // Where it goes before NAT has changed that; nothing: NAT leaves its destination alone.
  struct Arriving {
    std::optional<IpAddress> destination;
    std::optional<std::uint16_t> port;
  };
  std::optional<Arriving> arriving;
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
  std::string table;     // "inet firewalld", as nft names it; "filter of iptables-legacy"
  std::string chain;     // the base chain
  std::string deciding;  // the chain with the rule, or `chain` when its policy is it
  bool policy = false;
  bool sure = true;  // else something unknown may let it through before
  // Where the base chain stands on the way: up to "prerouting" no outgoing device is known, from
  // "postrouting" on no incoming one.
  enum class Stage : std::uint8_t { kIngress, kPrerouting, kMain, kPostrouting, kEgress };
  Stage stage = Stage::kMain;
  bool before_nat = false;  // it sees what NftPacket::arriving has
  bool tracked = true;      // it can ask for the connection's state
  std::string iptables;     // the program for rules of that chain, with its table; empty: nft
  // Of NftJudge::translations(): what that rule does, and its place in its chain, from 1.
  std::optional<NftNat> nat = std::nullopt;
  std::size_t rule = 0;
};

class NftJudge {
 public:
  // Borrowed.
  explicit NftJudge(const NftRuleset& ruleset);

  // One for each base chain that refuses the packet; every base chain sees it, whatever another accepts.
  [[nodiscard]] std::vector<NftRefusal> refusals(const NftPacket& packet) const;
  // The places that surely take the packet out of connection tracking (NOTRACK): no NAT happens to it then.
  [[nodiscard]] std::vector<NftRefusal> untracking(const NftPacket& packet) const;
  // The rules that surely change a first packet's destination, or its source: of several the first that the
  // kernel comes to.
  [[nodiscard]] std::vector<NftRefusal> translations(const NftPacket& packet) const;

 private:
  const NftRuleset& ruleset_;
  std::uint32_t written_;  // bits of marks
  bool untracks_ = false;  // some rule does
};

}  // namespace bondd::rules

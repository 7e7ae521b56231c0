// nf_tables' ruleset as values: what `nft list ruleset` shows, read from the kernel itself. The
// program iptables-nft-save shows nothing of a table as soon as one rule of it is written in nft's own
// syntax.
//
// A rule is a list of expressions that run from left to right over registers, see nft(8) --debug=netlink:
//   [ meta load iifname => reg 1 ] [ cmp eq reg 1 "lo" ] [ counter ] [ immediate reg 0 accept ]
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/ip.h"

namespace bondd::rules {

using Bytes = std::vector<std::uint8_t>;

// What a rule for NAT does with a connection's first packet, and so with all of them.
struct NftNat {
  enum class Changes : std::uint8_t { kSource, kDestination };
  Changes changes = Changes::kSource;
  std::string target;               // "SNAT", "MASQUERADE", "DNAT", "REDIRECT"
  std::optional<IpAddress> to;      // the one address; nothing: of a device, of several, or not known
  std::uint32_t from_register = 0;  // that holds the address; 0: none
};

struct NftVerdict {
  enum class Kind : std::uint8_t { kAccept, kDrop, kReject, kContinue, kReturn, kJump, kGoto, kOther };
  Kind kind = Kind::kOther;
  std::string chain;                         // of kJump and kGoto
  std::optional<NftNat> nat = std::nullopt;  // of kAccept
};

// `size` bytes of the packet, or of what the kernel knows of it, into a register.
struct NftLoad {
  enum class What : std::uint8_t {
    kInputName,
    kOutputName,
    kInputIndex,
    kOutputIndex,
    kNetworkProtocol,    // NFPROTO_IPV4
    kTransportProtocol,  // IPPROTO_UDP
    kEtherType,
    kMark,
    kConnectionMark,
    kConnectionState,      // NF_CT_STATE_BIT
    kConnectionStatus,     // IPS_DST_NAT
    kConnectionDirection,  // IP_CT_DIR_ORIGINAL, IP_CT_DIR_REPLY
    kNetworkHeader,        // `size` bytes from `offset`
    kTransportHeader,
    kReversePath,      // the device that leads back to the source, if it is the one it came in by; else 0
    kDestinationType,  // RTN_LOCAL, in the machine's byte order
    kUnread,           // something of the packet that bondd does not read: its length, its devices' groups
    kOther
  };
  What what = What::kOther;
  std::uint32_t to = 0, offset = 0, size = 0;
};
struct NftCompare {
  enum class Is : std::uint8_t { kEqual, kOther, kLess, kLessOrEqual, kGreater, kGreaterOrEqual };
  Is is = Is::kEqual;
  std::uint32_t from = 0;
  Bytes with;
};
struct NftRange {
  bool inside = true;
  std::uint32_t from = 0;
  Bytes first, last;
};
struct NftBitwise {  // to = (from & mask) ^ toggle
  std::uint32_t from = 0, to = 0;
  Bytes mask, toggle;
};
struct NftLookup {  // in a set, or in a map of verdicts
  std::uint32_t from = 0;
  bool inside = true, verdict = false;
  std::string set;
};
// Nothing that a packet's fate depends on: a counter, a log line, a change of its mark.
struct NftHarmless {
  std::uint32_t to = 0;  // a register that it writes to; 0: none
  bool counter = false;
  Bytes value;                                  // what it writes there, where that is known
  std::uint32_t mark = 0, connection_mark = 0;  // registers that it writes into these marks; 0: none
  bool marks = false;                           // iptables' MARK or CONNMARK: it writes what is not read here
};
// iptables' own "-m conntrack --ctstate", and nothing else of that match.
struct NftStates {
  std::uint32_t states = 0;  // NF_CT_STATE_BIT
  bool inside = true;
  bool translated = false;  // "DNAT": also all whose destination was changed
};
// iptables' own "--dport", "-m multiport": one of these, TCP's or UDP's.
struct NftPorts {
  enum class Of : std::uint8_t { kSource, kDestination, kEither };
  struct Range {
    std::uint16_t first = 0, last = 0;
  };
  Of of = Of::kDestination;
  bool inside = true;
  std::vector<Range> ranges;
};
// iptables' own "-m addrtype" for one of the two addresses.
struct NftAddressType {
  bool source = false, inside = true;
  std::uint32_t types = 0;  // bits 1 << RTN_LOCAL
};
// From here on the packet has no connection: its state is "untracked", and NAT leaves it alone.
struct NftNoTrack {};
// iptables' own "-m rpfilter": fits what has a way back by the device it came in by.
struct NftReversePath {
  bool inverted = false;
};
// May match or not: bondd does not know.
struct NftUnknown {
  std::string name;
  bool unread = false;  // it is for packets of some kind; else for some hosts, users or times, or for a rate
};
using NftExpression =
    std::variant<NftVerdict, NftLoad, NftCompare, NftRange, NftBitwise, NftLookup, NftHarmless, NftStates,
                 NftPorts, NftAddressType, NftNoTrack, NftReversePath, NftUnknown>;

struct NftRule {
  std::uint64_t handle = 0;  // its name within the table
  std::vector<NftExpression> expressions;
};

// Where a base chain sees packets: NF_INET_FORWARD with its priority.
struct NftHook {
  std::uint32_t number = 0;
  std::int32_t priority = 0;
  std::string type;    // "filter", "nat", "route"
  bool drops = false;  // what no rule decides
  std::vector<std::string>
      devices;  // of ingress and egress; with '*' at its end one is the beginning of names
};

struct NftChain {
  std::string name;
  std::optional<NftHook> hook;  // of a base chain
  std::vector<NftRule> rules;
};

// The elements of a set or map that a rule looks up.
struct NftSet {
  struct Element {
    Bytes key;
    Bytes last;        // of a concatenated key with ranges: the greatest; empty: one value
    bool end = false;  // of an interval: the first value behind it
    std::optional<NftVerdict> verdict;
  };
  std::string name;
  bool interval = false;
  bool known = false;  // false: too large, or of a kind that bondd does not read
  std::vector<Element> elements;
  std::vector<std::uint8_t> fields;  // the sizes of a concatenated key's parts; each fills whole words of 4
  std::optional<NftVerdict> catch_all;  // of a map's "*"
  bool catches_all = false;
};

struct NftTable {
  std::uint8_t family = 0;  // NFPROTO_IPV4, NFPROTO_INET …
  std::string name;
  bool dormant = false;
  std::vector<NftChain> chains;
  std::vector<NftSet> sets;  // of read_nft_sets()
  std::string legacy;        // of the older x_tables: the program that changes it; else empty

  [[nodiscard]] const NftChain* chain(std::string_view wanted) const;
  [[nodiscard]] const NftSet* set(std::string_view wanted) const;
};

struct NftRuleset {
  std::vector<NftTable> tables;
  std::vector<std::string> unseen;  // what may be there, too, but could not be read, and why
  [[nodiscard]] const NftTable* table(std::uint8_t family, std::string_view name) const;
};

// All tables of all families. Takes the ruleset of one moment: reads again when it changes meanwhile. Fails
// where the kernel has no nf_tables, and with EPERM without CAP_NET_ADMIN. Blocks for some kernel round
// trips.
Result<NftRuleset> read_nft_ruleset();

// Adds the sets that rules look up. What cannot be read, or has more than 1000 elements, stays unknown.
void read_nft_sets(NftRuleset& ruleset);

// The chain that a rule does nothing but jump to (a counter does not count), as iptables' "-j CHAIN"; else
// empty.
std::string_view plain_jump(const NftRule& rule);
// The chain that a rule jumps or goes to, under whatever conditions; else empty.
std::string_view jump_of(const NftRule& rule);

}  // namespace bondd::rules

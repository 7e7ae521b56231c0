// What a rule of the kernel's does to certain packets, as far as that can be told without them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bondd/base/ip.h"
#include "netlink/values.h"

namespace bondd::plan {

// A route or rule that is for more than any network that somebody owns is for the Internet, or a part of it.
constexpr int kInternet = 7;

// Packets that bondd looks after, as rules see them.
struct Flow {
  std::string iif;  // "lo": this machine's own
  std::uint32_t mark = 0;
  std::uint8_t protocol = 0;  // IPPROTO_UDP
  IpPrefix from;              // where they are from: one address, a network or all
  // Where they go: each for itself. A rule for much smaller networks than these is meant for something else.
  std::vector<IpPrefix> to;
  std::vector<std::uint32_t> uids{0};             // whose they may be; forwarded packets are root's
  std::optional<std::uint16_t> destination_port;  // none: any
};

// How many of a flow's packets a rule fits.
enum class Share : std::uint8_t { kNone, kSome, kAll };
// A part that must be somebody's own wish (a host's port 25, one small network) counts as none.
Share share_of(const netlink::Rule& rule, const Flow& flow);

// As ip(8) shows it: "rule 100 (not fwmark 0xe1f1 lookup 300)".
std::string words(const netlink::Rule& rule);

}  // namespace bondd::plan

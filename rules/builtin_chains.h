// Where iptables has its built-in chains, in both variants: xtables_ipv4 in iptables/nft.c. Only for this
// directory's .cc files.
#pragma once

#include <linux/netfilter.h>

#include <array>
#include <cstdint>
#include <string_view>

namespace bondd::rules {

struct Builtin {
  std::string_view table, chain, type;
  std::uint32_t hook;
  std::int32_t priority;
};
inline constexpr std::array kBuiltins{Builtin{"filter", "INPUT", "filter", NF_INET_LOCAL_IN, 0},
                                      Builtin{"filter", "FORWARD", "filter", NF_INET_FORWARD, 0},
                                      Builtin{"filter", "OUTPUT", "filter", NF_INET_LOCAL_OUT, 0},
                                      Builtin{"mangle", "PREROUTING", "filter", NF_INET_PRE_ROUTING, -150},
                                      Builtin{"mangle", "INPUT", "filter", NF_INET_LOCAL_IN, -150},
                                      Builtin{"mangle", "FORWARD", "filter", NF_INET_FORWARD, -150},
                                      Builtin{"mangle", "OUTPUT", "route", NF_INET_LOCAL_OUT, -150},
                                      Builtin{"mangle", "POSTROUTING", "filter", NF_INET_POST_ROUTING, -150},
                                      Builtin{"nat", "PREROUTING", "nat", NF_INET_PRE_ROUTING, -100},
                                      Builtin{"nat", "INPUT", "nat", NF_INET_LOCAL_IN, 100},
                                      Builtin{"nat", "OUTPUT", "nat", NF_INET_LOCAL_OUT, -100},
                                      Builtin{"nat", "POSTROUTING", "nat", NF_INET_POST_ROUTING, 100},
                                      Builtin{"raw", "PREROUTING", "filter", NF_INET_PRE_ROUTING, -300},
                                      Builtin{"raw", "OUTPUT", "filter", NF_INET_LOCAL_OUT, -300},
                                      Builtin{"security", "INPUT", "filter", NF_INET_LOCAL_IN, 50},
                                      Builtin{"security", "FORWARD", "filter", NF_INET_FORWARD, 50},
                                      Builtin{"security", "OUTPUT", "filter", NF_INET_LOCAL_OUT, 50}};

}  // namespace bondd::rules

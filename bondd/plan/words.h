// The words of iptables rules that several chains of a plan share. Rules are in the words in which
// iptables-save gives them back, so that what is there can be compared with what is wanted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bondd/base/ip.h"
#include "bondd/model/config.h"

namespace bondd::plan {

using Words = std::vector<std::string>;

Words operator+(Words left, const Words& right);

std::string ports(const model::PortRange& range);  // "80" or "8000:8010"
Words proto(model::Protocol protocol);             // -p tcp -m tcp
// iptables-save leaves out what matches every address.
Words source(const IpPrefix& prefix);
Words destination(const IpPrefix& prefix);
IpPrefix host(const IpAddress& address);

std::string masked(std::uint32_t mark);  // "0x10000/0xff0000"
Words with_mark(std::uint32_t mark);
// A packet whose way has been chosen: a tunnel's own, or an answer.
Words with_any_mark();
// Of a connection that came in by a WAN or the bond.
Words with_any_connmark();

}  // namespace bondd::plan

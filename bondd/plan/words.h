// The words of iptables rules that several chains of a plan share. Rules are in the words in which
// iptables-save gives them back, so that what is there can be compared with what is wanted.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bondd/base/ip.h"
#include "bondd/model/config.h"
#include "rules/firewall.h"

namespace bondd::plan {

using Words = std::vector<std::string>;

Words operator+(Words left, const Words& right);

std::string ports(const model::PortRange& range);  // "80" or "8000:8010"
Words proto(model::Protocol protocol);             // -p tcp -m tcp
// iptables-save leaves out what matches every address.
Words source(const IpPrefix& prefix);
Words destination(const IpPrefix& prefix);
IpPrefix host(const IpAddress& address);

// Before or after the admin's own rules of a built-in chain.
enum class Place : std::uint8_t { kFirst, kLast };

// A chain BONDD-PART-SITE of `rules` and a jump to it in `builtin`; nothing for no rules.
void add_chain(rules::Table& table, const model::Config& config, std::string_view part,
               std::string_view builtin, std::vector<Words> rules, Place place = Place::kFirst);

// The number, from 1, of the WAN with that name; it must be in the file.
unsigned wan_number(const model::Config& config, const std::string& wan);

// Words about marks, in the bits of one mask.
struct MarkWords {
  std::uint32_t mask = 0;

  [[nodiscard]] std::string masked(std::uint32_t mark) const;  // "0x1000000/0x7f000000"
  [[nodiscard]] Words with(std::uint32_t mark) const;
  [[nodiscard]] Words set(std::uint32_t mark) const;             // of the packet
  [[nodiscard]] Words set_connection(std::uint32_t mark) const;  // of its connection
  [[nodiscard]] Words restore() const;                           // the connection's to the packet
  // A packet whose way has been chosen: a tunnel's own, or an answer.
  [[nodiscard]] Words with_any() const;
  [[nodiscard]] Words with_connection(std::uint32_t mark) const;
  // Of a connection that came in by a WAN or the bond, or that began past the bond.
  [[nodiscard]] Words with_any_connection() const;
};

}  // namespace bondd::plan

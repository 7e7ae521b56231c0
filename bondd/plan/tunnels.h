// The tunnels of a site: one per WAN, or several for a WAN with a larger share,
// in the order in which the bond shall use them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bondd/model/config.h"

namespace bondd::plan {

struct Tunnel {
  unsigned wan = 1;        // number n of the WAN, from 1
  unsigned instance = 0;   // k, from 0
  std::uint16_t port = 0;  // the server's UDP port
  std::string id;          // "ovh", "ovh~2"
  auto operator<=>(const Tunnel&) const = default;
};

// How many instances each WAN gets: the smallest numbers that use the lines nearly as well
// as any with at most kMaxTunnels in total. All 1 unless every WAN has a weight, or every WAN
// a download, or every WAN an upload rate.
std::vector<unsigned> instance_counts(const std::vector<model::Wan>& wans);

// Both ends compute the same list from files that name the same WANs, ports and rates. The
// first instance of a WAN has its port; further ones take ports after the highest: the second instances the
// first as many as there are WANs, in the order of the WANs' ports, the third ones those after them. So files
// that differ in weights or in the order of WANs lack tunnels, but none leads from one WAN to another.
std::vector<Tunnel> tunnels(const model::Config& config);
// How many ports after the highest the further instances need.
unsigned ports_after_highest(const std::vector<model::Wan>& wans, const std::vector<unsigned>& counts);

constexpr unsigned kMaxTunnels = 8;

}  // namespace bondd::plan

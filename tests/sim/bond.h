// A bond of two simulated lines with a whole engine, wire and crypto included, at each
// end: what runs between the two tuns of a real bond.
#pragma once

#include <cstdio>

#include "bondd/mlvpn/core/engine.h"
#include "tests/sim/world.h"

namespace bondd::sim {

// Who is at the ends: bondd at both, or the original program at one.
enum class Peer : std::uint8_t { kBondd, kUpstreamOffice, kUpstreamServer };

struct BondOptions {
  bool repair = true;
  bool sessions = true;     // both ends have session keys
  Rate rate_a{}, rate_b{};  // given in the configuration; 0: not given
  Peer peer = Peer::kBondd;
  std::size_t reorder = 64;  // reorder_buffer_size of an upstream program
  bool trace = false;        // prints the brain's view on stderr, ten times a second
  // Each sample and each departure of the brains is written here, a line each; not owned.
  std::FILE* brain_trace = nullptr;
  mlvpn::Tuning tuning;
};

// What an experiment may do to a bond under way.
class Bond : public Path {
 public:
  virtual void set_line(std::size_t index, const LineSpec& spec) = 0;  // both directions
  virtual void cut_line(std::size_t index, bool cut) = 0;
  // The client's packets of this line come from another port from now on (a NAT that
  // forgot its entry).
  virtual void change_address(std::size_t index) = 0;
  // The engine of this end (0: the office's) gets no processor time for so long. What
  // comes meanwhile waits in its sockets and its tun, as far as these hold it.
  virtual void freeze(std::size_t end, Duration duration) = 0;
  // Changes of links' states that this end's engine told so far.
  virtual unsigned state_changes(std::size_t end) const = 0;
  // One direction of a line; the engine's datagrams pass it.
  virtual Line& line(std::size_t index, bool up) = 0;
  // Of IP packets that the bond gave to this end's host, each with what a datagram adds.
  virtual std::uint64_t delivered_bytes(std::size_t end) const = 0;
  // 0: the office's engine, 1: the server's. Must not be an upstream program's end.
  virtual mlvpn::Engine& engine(std::size_t end) = 0;
};

PathFactory bond(const LineSpecs& a, const LineSpecs& b, std::uint64_t seed, const BondOptions& options);

}  // namespace bondd::sim

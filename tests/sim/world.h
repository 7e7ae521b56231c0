// One experiment: an office and a server, a path between them, and flows over it.
//
//   office host -> path -> server host
//   office host <- path <- server host
//
// The path is a single line or a bond; both look like two PacketSinks.
#pragma once

#include <functional>
#include <memory>

#include "tests/sim/line.h"
#include "tests/sim/quic.h"
#include "tests/sim/tcp.h"
#include "tests/sim/traffic.h"

namespace bondd::sim {

// A host hands each packet to the flow of its port.
class Host final : public PacketSink {
 public:
  using Handler = std::function<void(TimePoint, const Packet&)>;
  void receive(TimePoint now, Packet packet) override;
  void on_flow(std::uint16_t flow, Handler handler);

 private:
  std::vector<std::pair<std::uint16_t, Handler>> handlers_;
};

// What connects the two hosts. Made by a factory, since it needs both ends.
class Path {
 public:
  Path() = default;
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;
  virtual ~Path() = default;
  virtual PacketSink& from_office() = 0;
  virtual PacketSink& from_server() = 0;
  virtual std::uint32_t mtu() const = 0;  // of IP packets
  // The recordings of its lines begin anew.
  virtual void begin_recordings(TimePoint now) = 0;
};
using PathFactory = std::function<std::unique_ptr<Path>(EventQueue&, PacketSink& office, PacketSink& server)>;

// A line used directly, without a tunnel.
PathFactory single_line(const LineSpecs& specs, std::uint64_t seed);
// Two lines, packets in turn, no tunnel: what a bond without a brain does.
PathFactory round_robin(const LineSpecs& a, const LineSpecs& b, std::uint64_t seed);

enum class Bulk { kTcp, kQuic };

struct Experiment {
  Bulk bulk = Bulk::kTcp;
  bool download = true;  // towards the office
  int flows = 1;
  Duration idle = std::chrono::seconds(2);   // before all traffic: the links come up
  Duration light = std::chrono::seconds(0);  // then only the ping and the game
  Duration warm_up = std::chrono::seconds(2);
  Duration measured = std::chrono::seconds(10);
  std::uint64_t tcp_window = 3 << 20;
  bool with_ping = true;
  bool with_game = true;
  Duration ping_interval = std::chrono::milliseconds(50);
  // The recordings of lines begin anew with the flows.
  // Called once when the flows have started; may post events that cut lines.
  std::function<void(EventQueue&, Path&)> plan{};
  // Called at the end of each half second since the start of the flows.
  std::function<void(TimePoint, Path&)> each_half_second{};
};

struct Outcome {
  double mbit = 0;  // goodput of the bulk flows
  std::uint64_t retransmissions = 0;
  std::uint64_t timeouts = 0;
  Delays ping, game;                    // game: from the server to the office
  double longest_gap_ms = 0;            // of the first flow's in-order progress
  std::vector<double> per_second;       // Mbit/s, from the start of the flows
  std::vector<double> per_half_second;  // the same
  std::uint64_t events = 0;
};

// Runs one experiment in simulated time. The idle ping is the caller's affair: an
// experiment with no flows.
Outcome run(const Experiment& experiment, const PathFactory& factory);

}  // namespace bondd::sim

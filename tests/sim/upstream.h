// A peer that is the original program and no bondd: its session, its turns by packet,
// its timestamp echoes and its reordering, faults included, at one end of a simulated
// bond. From the protocol's text; it shares no line with the engine.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <list>
#include <vector>

#include "bondd/mlvpn/core/types.h"
#include "tests/sim/bond_end.h"
#include "tests/sim/event_queue.h"
#include "tests/support/mlvpn_peer.h"

namespace bondd::sim {

// Upstream's reordering of DATA: a window of N numbers and a timer that every arrival
// sets anew. What comes after its hole was skipped is delivered at once, but keeps its
// place in a pool of 512 until the timer fires, and is then delivered again.
class UpstreamReorder {
 public:
  // `size` must be a power of two.
  UpstreamReorder(std::size_t size, std::function<void(Packet)> deliver);
  void insert(std::uint64_t seq, Packet packet);
  // The timer fired, a link came up first or went down: all that is held is delivered
  // in the order in which it came.
  void flush();
  // Whether the timer has to run after an insert.
  [[nodiscard]] bool holding() const { return !pool_.empty(); }

 private:
  struct Held {
    Packet packet;
    bool delivered = false;  // late: it was delivered when it came
  };
  using Entry = std::list<Held>::iterator;

  void release(Entry entry);
  void skip(std::uint64_t numbers);

  std::size_t size_;
  std::function<void(Packet)> deliver_;
  std::list<Held> pool_;  // in order of arrival
  std::vector<Entry> ring_;
  bool started_ = false;
  std::uint64_t min_ = 0;
};

class UpstreamEnd final : public BondEnd, public Actor {
 public:
  // `reorder`: reorder_buffer_size of its configuration, 0 for none.
  UpstreamEnd(EventQueue& events, bool server, std::size_t reorder, std::uint64_t seed, PacketSink& host);

  void connect(PacketSink& a, PacketSink& b) override;
  void receive(TimePoint now, Packet packet) override;  // from the host
  void receive_datagram(TimePoint now, mlvpn::LinkId line, Packet& datagram,
                        const mlvpn::Endpoint& from) override;
  void on_event(TimePoint now, std::uint64_t token) override;

 private:
  enum class State : std::uint8_t { kDisconnected, kAuthSent, kUp };
  struct Link {
    State state = State::kDisconnected;
    std::uint32_t flow = 0;
    std::uint64_t seq = 0;
    std::deque<int> control;  // types that wait for the writer
    std::uint16_t stored = 0xffff;
    TimePoint stored_at, next_keepalive, last_keepalive_rx, last_reply;
    double srtt = 1000, rttvar = 500;
    bool has_rtt = false;
    double turn = 0;
    PacketSink* out = nullptr;
  };

  void tick(TimePoint now, Link& link);
  void up(TimePoint now, Link& link);
  void down(Link& link);
  void send(TimePoint now, Link& link, int type, mlvpn::test::Bytes text);
  void write_control(TimePoint now, Link& link);
  void on_timestamps(TimePoint now, Link& link, const mlvpn::test::PeerPacket& packet);
  [[nodiscard]] Duration drain_interval() const;

  EventQueue& events_;
  bool server_;
  PacketSink& host_;
  std::array<Link, 2> links_;
  std::uint64_t data_seq_ = 0;
  std::size_t reorder_size_;
  UpstreamReorder reorder_;
  Timer drain_;
  Duration drain_after_ = std::chrono::milliseconds(800);  // computed each second
  std::vector<Packet> delivered_;
};

}  // namespace bondd::sim

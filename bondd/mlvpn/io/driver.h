// The loop between epoll and the engine: one thread, one turn per wake.
//
//   sockets --receive--> Engine --poll_deliver--> coalesce --writev--> tun
//   tun --read, cut--> Engine --poll_transmit--> sockets
//
// A turn takes what is there, at most one batch per socket and 16 super-packets
// of the tun, and never waits to fill a batch. When the engine has no room the
// tun is left unread: its queue is the back-pressure that TCP feels.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/unique_fd.h"
#include "bondd/mlvpn/core/engine.h"
#include "bondd/mlvpn/io/coalesce.h"
#include "bondd/mlvpn/io/tun_device.h"
#include "bondd/mlvpn/io/tun_reader.h"
#include "bondd/mlvpn/io/udp_socket.h"

namespace bondd::mlvpn {

// Sums over all sockets, the closed ones too, and the tun's own counts.
struct DriverCounters {
  UdpCounters udp;
  TunReadCounters tun_read;
  std::uint64_t tun_writes = 0;                        // calls
  std::uint64_t tun_refused = 0;                       // writes that the kernel refused
  std::uint64_t tun_tx_packets = 0, tun_tx_bytes = 0;  // to tun, before joining
};

class Driver {
 public:
  static constexpr std::size_t kSuperPacketsPerTurn = 16;

  // `engine` is to be made for tun.kind(). `offloads` false: no GSO, GRO.
  static Result<std::unique_ptr<Driver>> make(std::unique_ptr<Engine> engine, TunDevice tun, bool offloads);

  [[nodiscard]] Engine& engine() { return *engine_; }
  [[nodiscard]] const TunDevice& tun() const { return tun_; }
  [[nodiscard]] DriverCounters counters() const;

  // The socket of link `link`, for add_link; or in place of its old one, whose
  // unsent packets are dropped.
  Result<> set_path(LinkId link, UniqueFd socket);
  // After the link's removal: sends what the engine still has to say, closes.
  void remove_path(LinkId link);

  // Calls `readable` in a turn in which `fd` (borrowed) can be read.
  Result<> watch(int fd, std::function<void()> readable);
  // Called for every event of the engine.
  void on_event(std::function<void(const LinkEvent&)> handler) { on_event_ = std::move(handler); }

  // One turn; sleeps until there is something to do. False when the tun is gone.
  bool turn();
  // Sends what the engine has queued, now.
  void flush();

 private:
  struct Path {
    UdpSocket socket;
    bool readable = false;
    bool blocked = false;
    bool dirty = false;  // something was queued in this turn
  };

  Driver(std::unique_ptr<Engine> engine, TunDevice tun, bool offloads);
  Result<> add_to_epoll(int fd, std::uint32_t events, std::uint64_t tag);
  [[nodiscard]] std::optional<Duration> sleep_time(TimePoint now) const;
  void wait();
  void receive(TimePoint now);
  void deliver();
  void write_batch();
  void read_tun(TimePoint now);
  void transmit(TimePoint now);
  void settle(TimePoint now, LinkId link, UdpSocket::SendStatus status);
  void block(TimePoint now, LinkId link, std::uint32_t events);
  void set_events(LinkId link, std::uint32_t events);
  void drop_path(LinkId link);
  void retry_blocked(TimePoint now);
  void report_events();

  std::unique_ptr<Engine> engine_;
  TunDevice tun_;
  bool offloads_;
  UniqueFd epoll_;
  std::array<std::unique_ptr<Path>, 256> paths_;
  std::vector<LinkId> path_ids_;
  UdpCounters closed_;
  DriverCounters counters_;

  ReceiveArena arena_;
  std::size_t turns_ = 0;
  TunReader reader_;
  bool tun_gone_ = false;

  Coalescer coalescer_;
  std::vector<PacketRef> held_;        // packets in coalescer_
  std::optional<TimePoint> retry_at_;  // of a path that gives no event

  struct Watch {
    int fd = -1;
    std::function<void()> readable;
  };
  std::vector<Watch> watches_;
  std::function<void(const LinkEvent&)> on_event_;
};

}  // namespace bondd::mlvpn

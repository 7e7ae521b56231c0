// Joining packets of one flow into super-packets for the tun: the counterpart
// of segment.h, run after reordering, so that the kernel's stack sees one packet
// where 48 came. Nothing is merged in memory: a write is a list of slices for
// writev(2).
//
// Joined are whole TCP (and UDP, where the kernel has USO) packets that follow
// each other in their flow: equal addresses, ports, TOS and ECN, TTL, DF, ack,
// window and TCP options; flags only ACK, PSH and FIN; contiguous sequence
// numbers (UDP: equal sizes). PSH, FIN or a short packet ends a run. Checksums
// are verified first, because the kernel is told to make new ones
// (NEEDS_CSUM) and would hide a corrupt packet. Each flow keeps its order;
// flows may overtake each other.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "bondd/mlvpn/io/ip_view.h"
#include "bondd/mlvpn/io/vnet_header.h"

namespace bondd::mlvpn {

// What may be joined; see TunOffloads.
struct CoalesceOptions {
  bool tcp4 = true;
  bool tcp6 = true;
  bool udp = false;
};

class Coalescer {
 public:
  static constexpr std::size_t kMaxPackets = 1024;  // of one batch
  static constexpr std::size_t kMaxPerRun = 128;

  Coalescer(DeviceKind kind, CoalesceOptions options);

  // Adds the next packet, borrowed until clear(); its headers are changed when it
  // becomes the first of a run. False when the batch is full: finish it first.
  [[nodiscard]] bool add(std::span<std::uint8_t> packet);

  // Completes the headers. After it writes() and slices() hold the batch; no add()
  // until clear().
  void finish();

  [[nodiscard]] std::size_t writes() const { return runs_.size(); }
  // The slices of write `index`, virtio header first.
  [[nodiscard]] std::span<const iovec> slices(std::size_t index) const;
  // Packets joined in write `index`, for tests and counters.
  [[nodiscard]] std::size_t packets(std::size_t index) const { return runs_[index].packets; }

  [[nodiscard]] bool empty() const { return packets_.empty(); }
  void clear();

 private:
  struct Packet {
    std::span<std::uint8_t> bytes;
    std::size_t skip = 0;  // headers that a follower leaves out
    int next = -1;
  };
  struct Run {
    VnetHeader vnet;
    IpView view;  // of the first packet
    int first = -1;
    int last = -1;
    std::size_t packets = 0;
    std::size_t bytes = 0;  // as one packet with its headers
    std::uint32_t next_sequence = 0;
    bool open = false;      // takes followers
    bool verified = false;  // the first packet's checksums
    std::size_t first_slice = 0;
    std::size_t slice_count = 0;
  };

  static constexpr std::size_t kMaxOpen = 16;

  std::uint8_t* head(const Run& run) { return packets_[static_cast<std::size_t>(run.first)].bytes.data(); }
  bool may_open(std::span<const std::uint8_t> packet, const IpView& view) const;
  Run* find_open(std::span<const std::uint8_t> packet, const IpView& view);
  bool may_follow(const Run& run, std::span<const std::uint8_t> packet, const IpView& view);
  void append(Run& run, int packet, const IpView& view);
  void start(int packet, const IpView* view, bool open);
  void close_all();
  void complete_header(Run& run);

  DeviceKind kind_;
  CoalesceOptions options_;
  std::vector<Packet> packets_;
  std::vector<Run> runs_;
  std::vector<iovec> slices_;
  std::array<std::size_t, kMaxOpen> open_{};  // indices of runs, a ring
  std::size_t open_count_ = 0;
  std::size_t open_next_ = 0;
};

}  // namespace bondd::mlvpn

// Reading the tun straight into the engine's buffers.
//
// Most super-packets look like the one before: equal headers and segment size.
// So the next read is laid out for that, and the kernel's copy is the only one:
//
//   buffer 0   | headers | gso_size |
//   buffer 1   | (made)  | gso_size |
//   buffer 2   | (made)  | rest |
//   overflow   what is longer than foreseen
//
// A packet that came otherwise is gathered into one piece and cut from there.
// While only single packets come, one buffer is laid out.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <vector>

#include "bondd/mlvpn/core/packet.h"
#include "bondd/mlvpn/io/segment.h"
#include "bondd/mlvpn/io/tun_device.h"

namespace bondd::mlvpn {

struct TunReadCounters {
  std::uint64_t reads = 0;               // calls, the empty ones too
  std::uint64_t packets = 0, bytes = 0;  // after cutting
  std::uint64_t gathered = 0;            // super-packets that came otherwise than foreseen
  std::uint64_t malformed = 0;           // could not be cut
  std::uint64_t oversize = 0;            // longer than a link carries
};

class TunReader {
 public:
  // Both outlive the reader.
  TunReader(TunDevice& tun, BufferPool& pool);

  // Fills `out` with packets of at most kMaxPayload bytes in pool buffers that are
  // the caller's from now on; reads from the device at most `reads` times and counts
  // that down. What does not fit `out` is kept for the next call. 0: nothing now.
  std::size_t read(std::span<PacketRef> out, std::size_t& reads);

  // Whether read() could yield something: epoll said so, or packets are kept.
  [[nodiscard]] bool ready() const { return readable_ || next_ < plan_.count(); }
  void set_readable() { readable_ = true; }
  [[nodiscard]] bool gone() const { return gone_; }
  [[nodiscard]] const TunReadCounters& counters() const { return counters_; }

 private:
  static constexpr std::size_t kMaxSlots = 64;
  static constexpr unsigned kSinglesInARow = 16;  // until one slot is laid out

  bool read_packet();
  void lay_out();
  void gather(std::size_t size);
  void take_scattered(const VnetHeader& header, std::size_t size);
  bool fill_slots(std::size_t count);
  std::size_t hand_out(std::span<PacketRef> out);

  TunDevice& tun_;
  BufferPool& pool_;
  std::vector<std::uint8_t> buffer_;  // a gathered packet, or the overflow
  std::vector<PacketRef> slots_;      // pool buffers at hand
  std::vector<iovec> slices_;
  VnetHeader vnet_;

  // What the last super-packet was like. No GSO: one slot, as large as a payload.
  std::size_t header_size_ = 0;
  std::size_t gso_size_ = kMaxPayload;
  unsigned singles_ = 0;      // since the last super-packet
  std::size_t laid_out_ = 0;  // slots of the current layout

  SegmentPlan plan_;
  bool in_slots_ = false;  // the plan's payloads stand in slots_
  std::size_t next_ = 0;   // segment of the plan
  bool readable_ = true;
  bool gone_ = false;
  TunReadCounters counters_;
};

}  // namespace bondd::mlvpn

// One UDP socket of a link: batches in and out, with segmentation and
// aggregation offload where the kernel and the NIC have them.
//
// A socket bound to no address notes which of ours each datagram came to
// (Endpoint::local), and sends from that one.
//
// Sending keeps the order under every failure: what the kernel did not take
// stays in a backlog that is sent first. Receiving goes to slabs of 64 KiB that
// the caller may change in place until it receives into them again.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "bondd/base/unique_fd.h"
#include "bondd/mlvpn/core/engine.h"
#include "bondd/mlvpn/io/endpoint.h"

namespace bondd::mlvpn {

// Memory for received messages, shared by all sockets of a loop: slabs are
// handed out during a round and taken back by reset(). A slab is 64 KiB because
// a UDP_GRO message may be; untouched pages cost nothing.
class ReceiveArena {
 public:
  static constexpr std::size_t kSlabSize = 65536;
  static constexpr std::size_t kSlabs = 80;
  // Slabs do not start at multiples of a power of two, so that the beginnings of
  // many of them, where single datagrams stand, fit the caches and TLBs together.
  static constexpr std::size_t kStride = kSlabSize + 4096 + 1536;

  ReceiveArena();
  [[nodiscard]] std::size_t free_slabs() const { return kSlabs - used_; }
  [[nodiscard]] std::uint8_t* slab(std::size_t ahead) { return memory_.get() + (used_ + ahead) * kStride; }
  void use(std::size_t slabs) { used_ += slabs; }
  void reset() { used_ = 0; }

 private:
  std::unique_ptr<std::uint8_t[]> memory_;
  std::size_t used_ = 0;
};

struct UdpCounters {
  std::uint64_t receive_calls = 0, receive_messages = 0;
  std::uint64_t send_calls = 0, send_messages = 0;
  std::uint64_t truncated = 0;  // longer than a slab: dropped
  std::uint64_t blocked = 0;    // times the kernel took no more
  std::uint64_t oversize = 0;   // refused as longer than the path's MTU: dropped
  std::uint64_t failed = 0;     // refused for another reason: dropped
};

class UdpSocket {
 public:
  // Largest batch of recvmmsg: few while GRO fills the slabs, so that they stay
  // in the cache, many while it does not.
  static constexpr std::size_t kReceiveWithGro = 16;
  static constexpr std::size_t kReceiveSingle = 64;
  static constexpr std::size_t kMaxMessages = 64;  // of one sendmmsg
  static constexpr std::size_t kMaxSlices = 1024;
  // Queued bytes that send() hands over at once: enough to make the call cheap,
  // few enough that the wire starts while the next packets are sealed.
  static constexpr std::size_t kEagerBytes = 128 << 10;

  enum class SendStatus : std::uint8_t {
    kOk,       // all is sent
    kBlocked,  // the rest is in the backlog; wait for EPOLLOUT, then flush()
    kBusy,     // the same, but no event will come (ENOBUFS): flush() in a millisecond
    kFailed,   // something was refused and dropped: see last_error(); the rest is sent
  };

  // Takes over a bound socket and turns on UDP_GRO. `offloads` false leaves
  // segmentation and aggregation off.
  explicit UdpSocket(UniqueFd fd, bool offloads = true);

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] bool gso() const { return gso_; }
  [[nodiscard]] bool gro() const { return gro_; }
  [[nodiscard]] const UdpCounters& counters() const { return counters_; }
  [[nodiscard]] int last_error() const { return last_error_; }

  // Receives what is there, at most one batch, into `arena`. The result is valid
  // until the next call; `more` says that the batch was full.
  std::span<const ReceivedRun> receive(ReceiveArena& arena, bool& more);

  // Queues the datagrams of one Transmit; sent at the latest by flush(). The
  // packets are the socket's until sent() shows them.
  SendStatus send(const Endpoint& to, std::span<const PacketRef> packets);
  SendStatus flush();
  [[nodiscard]] bool has_backlog() const { return first_message_ < messages_.size(); }

  // Packets that are sent or dropped, to be recycled. Valid until the next send().
  [[nodiscard]] std::span<const PacketRef> sent() const { return std::span{packets_}.first(sent_packets_); }

  // All that it holds, the unsent too: to be recycled when the socket goes.
  [[nodiscard]] std::span<const PacketRef> all_packets() const { return packets_; }
  // Forgets them; to be called after recycling, before the next send().
  void clear_sent();

 private:
  struct Message {
    SocketAddress to;
    IpAddress from;         // unspecified: the kernel's choice
    std::size_t first = 0;  // into packets_ and slices_
    std::size_t count = 0;  // datagrams
    std::uint32_t segment = 0;
    bool single = false;   // one message per datagram, no GSO
    std::size_t done = 0;  // of a single one: datagrams sent
  };
  enum class Outcome : std::uint8_t { kProgress, kBlocked, kBusy };

  struct Batch;

  [[nodiscard]] bool may_segment(const Message& message) const;
  Outcome send_some();
  void build(Batch& batch);
  void advance(std::size_t kernel_messages);
  Outcome after_error(int error);
  void next_message();

  UniqueFd fd_;
  bool gso_ = true;
  bool gro_ = false;
  bool last_was_single_ = false;     // the last batch came without aggregation
  std::uint32_t gso_limit_ = 65535;  // longer segments met EMSGSIZE
  std::uint32_t gso_retry_ = 0;      // messages until gso_limit_ is tried again
  int last_error_ = 0;
  bool failed_ = false;
  UdpCounters counters_;

  std::vector<ReceivedRun> runs_;
  std::vector<Message> messages_;
  std::size_t first_message_ = 0;  // before it: sent
  std::vector<PacketRef> packets_;
  std::vector<iovec> slices_;
  std::size_t queued_bytes_ = 0;  // since the last flush
  std::size_t sent_packets_ = 0;
};

}  // namespace bondd::mlvpn

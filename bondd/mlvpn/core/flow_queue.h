// What came from the tun and has no link yet. Every computer of the office gets its turn, and every flow of
// it (deficit round robin, twice): a computer with a hundred downloads gets no more than one with a single
// download. A flow that sends little never waits behind one that sends much, so that pings, games and voice
// stay quick beside a download.
//
//   packet -> hash -> bucket's queue -> new flows | hosts -> old flows of a host -> front()
//
// Packets wait here, not on a line: a line gets a packet when its pacer can take it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "bondd/base/units.h"
#include "bondd/mlvpn/core/packet.h"
#include "bondd/mlvpn/core/types.h"

namespace bondd::mlvpn {

inline constexpr std::size_t kFlowBuckets = 1024;
using FlowBucket = std::uint16_t;

// Bucket of the flow that `packet` belongs to: addresses, protocol and, where there are
// any, ports. Fragments and unknown protocols go by addresses. `seed` keeps outsiders
// from choosing collisions. Any bytes are allowed.
FlowBucket flow_bucket(std::span<const std::uint8_t> packet, DeviceKind device, std::uint64_t seed);

// Which address of a packet is that of a computer of the office.
enum class OfficeSide : std::uint8_t { kNone, kSource, kDestination };

inline constexpr std::size_t kHostBuckets = 256;
using HostBucket = std::uint8_t;

// Bucket of the office's computer that `packet` is from or for; 0 for what is no IP packet.
HostBucket host_bucket(std::span<const std::uint8_t> packet, DeviceKind device, OfficeSide side,
                       std::uint64_t seed);

class FlowQueue {
 public:
  struct Config {
    DeviceKind device = DeviceKind::kTun;
    OfficeSide office = OfficeSide::kNone;
    std::uint64_t hash_seed = 0;
  };

  struct Item {
    PacketRef packet;
    FlowBucket bucket = 0;
    bool sparse = false;    // its flow keeps no queue
    bool delicate = false;  // its flow is of small packets: rather out of order than late
  };

  FlowQueue() : FlowQueue(Config{}) {}
  explicit FlowQueue(const Config& config);

  // Takes `packet`. When more than the limit waits, packets at the head of the longest
  // queue of the computer for which most waits are dropped: their senders learn of it soonest. One whose
  // sender understands it is marked instead (RFC 3168), unless far more waits: then nobody slows down at a
  // mark. A flow whose first packet has waited for too long (the lines became slower) is cut down to what the
  // lines carry in a moment (set_rate), from behind, so that what its sender sends again comes soon. `drop`
  // gets them.
  void push(TimePoint now, const PacketRef& packet, FlowBucket bucket,
            const std::function<void(const PacketRef&)>& drop);

  // The next packet by turns; nothing when empty.
  std::optional<Item> pop();

  // The size of the packet that pop() gives; 0 when empty.
  [[nodiscard]] std::size_t next_size();

  // True when a flow that keeps no queue has a packet, which is then the next one.
  [[nodiscard]] bool sparse_next();

  // Bytes that wait before packets are dropped. Above it, one packet is dropped, or marked, and its
  // sender given `reaction` to slow down; far above it, each further one costs one.
  void set_limit(std::size_t bytes, Duration reaction = Duration::zero()) {
    limit_ = bytes;
    reaction_ = reaction;
  }
  // What all lines together carry now, in bytes a second: how much is left of a flow's queue that is cut.
  void set_rate(double bytes_per_second);
  [[nodiscard]] std::size_t limit() const { return limit_; }
  [[nodiscard]] bool empty() const { return packets_ == 0; }
  [[nodiscard]] std::size_t packets() const { return packets_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }
  [[nodiscard]] std::uint64_t marked() const { return marked_; }

 private:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  enum class Turn : std::uint8_t { kIdle, kNew, kOld };

  struct Node {
    PacketRef packet;
    std::uint32_t next = kNone;
    TimePoint queued{};
  };
  struct Flow {
    std::uint32_t head = kNone, tail = kNone;
    std::uint32_t bytes = 0;
    std::int32_t deficit = 0;
    std::uint16_t mean_size = 1400;
    Turn turn = Turn::kIdle;
    TimePoint refreshed{};
    TimePoint cut{};
    FlowBucket next = 0;  // in its list
    HostBucket host = 0;
  };
  // A list of flows, linked through Flow::next.
  struct List {
    FlowBucket head = 0, tail = 0;
    std::size_t size = 0;
  };
  // A computer of the office, and its flows that are not new. Hosts with any are a ring, linked through
  // `next`.
  struct Host {
    List old;
    std::int32_t deficit = 0;
    std::uint32_t bytes = 0;  // that wait, of all its flows
    bool listed = false;
    HostBucket next = 0;
  };

  static bool little(const Flow& flow);
  void append(List& list, FlowBucket bucket, Turn turn);
  void append_old(FlowBucket bucket);
  FlowBucket take_head(List& list);
  void rotate_hosts(bool keep);
  bool settle_new();
  bool settle_host(Host& host);
  Flow& longest();
  bool settle();  // brings a flow with packets and a positive deficit to a list's head
  void free_node(Flow& flow, std::uint32_t index);
  Node unlink_head(Flow& flow);
  void cut(TimePoint now, Flow& flow, const std::function<void(const PacketRef&)>& drop);

  Config config_;
  std::vector<Flow> flows_;
  std::vector<Host> hosts_;
  std::vector<Node> nodes_;
  std::uint32_t free_ = kNone;
  List new_;
  HostBucket first_host_ = 0, last_host_ = 0;
  std::size_t listed_hosts_ = 0;
  std::size_t packets_ = 0, bytes_ = 0, limit_ = 1 << 20, kept_ = ~std::size_t{0};
  Duration reaction_{0};
  TimePoint last_drop_{};
  std::uint64_t dropped_ = 0, marked_ = 0;
};

}  // namespace bondd::mlvpn

#include "bondd/mlvpn/core/flow_queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "bondd/mlvpn/core/ecn.h"
#include "bondd/mlvpn/core/inner_ip.h"

namespace bondd::mlvpn {
namespace {

constexpr std::int32_t kQuantum = 1514;
constexpr auto kSparseTime = std::chrono::milliseconds(20);
constexpr std::uint32_t kSparseBytes = 600;              // a few small packets at once are no bulk yet
constexpr auto kStale = std::chrono::milliseconds(800);  // no limit allows more on lines that keep their rate
constexpr double kKeptSeconds = 0.3;   // of the lines' rate: they are busy until the flow's sender reacts
constexpr double kLeastKept = 15'000;  // bytes, ten packets: enough to tell the sender of those that are lost
constexpr std::uint16_t kSmallPacket = 300;  // mean size below which a flow counts as delicate

std::uint64_t mix(std::uint64_t h, std::uint64_t v) {
  h ^= v;
  h *= 0x9e3779b97f4a7c15U;
  return h ^ (h >> 29);
}

std::uint64_t mix_bytes(std::uint64_t h, std::span<const std::uint8_t> bytes) {
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data(), 8);
    h = mix(h, word);
  }
  std::uint64_t rest = 0;
  if (!bytes.empty()) std::memcpy(&rest, bytes.data(), bytes.size());
  return mix(h, rest);
}

bool has_ports(std::uint8_t protocol) {
  return protocol == 6 || protocol == 17 || protocol == 132 || protocol == 33 || protocol == 136;
}

std::uint64_t hash_ip4(std::uint64_t h, std::span<const std::uint8_t> p) {
  const std::size_t header = static_cast<std::size_t>(p[0] & 15) * 4;
  h = mix(mix_bytes(h, p.subspan(12, 8)), p[9]);
  const bool fragment = ((p[6] & 0x3f) | p[7]) != 0;  // an offset, or more to come
  if (!fragment && has_ports(p[9]) && header >= 20 && p.size() >= header + 4)
    h = mix_bytes(h, p.subspan(header, 4));
  return h;
}

std::uint64_t hash_ip6(std::uint64_t h, std::span<const std::uint8_t> p) {
  h = mix(mix_bytes(h, p.subspan(8, 32)), p[6]);
  if (has_ports(p[6]) && p.size() >= 44) h = mix_bytes(h, p.subspan(40, 4));
  return h;
}

}  // namespace

FlowBucket flow_bucket(std::span<const std::uint8_t> packet, DeviceKind device, std::uint64_t seed) {
  std::uint64_t h = mix(0x2545f4914f6cdd1dU, seed);
  const std::span<const std::uint8_t> ip = inner_ip(packet, device);
  if (!ip.empty()) {
    h = ip[0] >> 4 == 4 ? hash_ip4(h, ip) : hash_ip6(h, ip);
  } else if (device == DeviceKind::kTap && packet.size() >= kEthernetHeader) {
    h = mix_bytes(h, packet.first(kEthernetHeader));
  }
  return static_cast<FlowBucket>((h >> 20) % kFlowBuckets);
}

HostBucket host_bucket(std::span<const std::uint8_t> packet, DeviceKind device, OfficeSide side,
                       std::uint64_t seed) {
  const std::span<const std::uint8_t> ip = inner_ip(packet, device);
  if (ip.empty() || side == OfficeSide::kNone) return 0;
  const bool four = ip[0] >> 4 == 4;
  const std::size_t first = four ? 12 : 8, length = four ? 4 : 16;
  const auto address = ip.subspan(side == OfficeSide::kSource ? first : first + length, length);
  return static_cast<HostBucket>((mix_bytes(mix(0x2545f4914f6cdd1dU, seed), address) >> 20) % kHostBuckets);
}

FlowQueue::FlowQueue(const Config& config) : config_(config), flows_(kFlowBuckets), hosts_(kHostBuckets) {}

void FlowQueue::append(List& list, FlowBucket bucket, Turn turn) {
  flows_[bucket].turn = turn;
  if (list.size == 0) {
    list.head = bucket;
  } else {
    flows_[list.tail].next = bucket;
  }
  list.tail = bucket;
  ++list.size;
}

void FlowQueue::append_old(FlowBucket bucket) {
  const HostBucket id = flows_[bucket].host;
  Host& host = hosts_[id];
  append(host.old, bucket, Turn::kOld);
  if (host.listed) return;
  host.listed = true;
  if (listed_hosts_++ == 0) {
    first_host_ = id;
  } else {
    hosts_[last_host_].next = id;
  }
  last_host_ = id;
}

// The first host's turn is over: it comes again as the last one, or (not `keep`) has nothing that waits.
void FlowQueue::rotate_hosts(bool keep) {
  const HostBucket id = first_host_;
  first_host_ = hosts_[id].next;
  if (keep) {
    if (listed_hosts_ == 1) first_host_ = id;
    hosts_[last_host_].next = id;
    last_host_ = id;
  } else {
    hosts_[id].listed = false;
    --listed_hosts_;
  }
}

FlowBucket FlowQueue::take_head(List& list) {
  const FlowBucket bucket = list.head;
  list.head = flows_[bucket].next;
  --list.size;
  return bucket;
}

void FlowQueue::push(TimePoint now, const PacketRef& packet, FlowBucket bucket,
                     const std::function<void(const PacketRef&)>& drop) {
  std::uint32_t index = free_;
  if (index != kNone) {
    free_ = nodes_[index].next;
    nodes_[index] = {packet, kNone, now};
  } else {
    index = static_cast<std::uint32_t>(nodes_.size());
    nodes_.push_back({packet, kNone, now});
  }
  Flow& flow = flows_[bucket];
  if (flow.head == kNone) {
    flow.head = index;
    // One that is still in a list stays where it is.
    if (flow.turn == Turn::kIdle)
      flow.host = host_bucket(packet.bytes(), config_.device, config_.office, config_.hash_seed);
  } else {
    nodes_[flow.tail].next = index;
  }
  flow.tail = index;
  flow.bytes += packet.size;
  hosts_[flow.host].bytes += packet.size;
  flow.mean_size = static_cast<std::uint16_t>((flow.mean_size * 15 + packet.size) / 16);
  ++packets_;
  bytes_ += packet.size;
  if (flow.turn == Turn::kIdle) {
    // A flow that sends no more than a packet's worth in this time passes all others; what
    // it sends beyond takes its turn.
    if (now - flow.refreshed >= kSparseTime) {
      flow.deficit = kQuantum;
      flow.refreshed = now;
    }
    if (flow.deficit > 0) {
      append(new_, bucket, Turn::kNew);
    } else {
      append_old(bucket);
    }
  }
  if (flow.bytes > kept_) cut(now, flow, drop);
  while (bytes_ > limit_ && packets_ > 1) {
    const bool far_above = bytes_ >= limit_ + limit_ / 2;
    if (!far_above && now < last_drop_ + reaction_) break;
    last_drop_ = now;
    Flow& most = longest();
    if (!far_above && mark_congestion(nodes_[most.head].packet.bytes(), config_.device)) {
      ++marked_;
      break;
    }
    drop(unlink_head(most).packet);
    ++dropped_;
  }
}

void FlowQueue::set_rate(double bytes_per_second) {
  kept_ = static_cast<std::size_t>(std::max(kKeptSeconds * bytes_per_second, kLeastKept));
}

// What was kept at the last cut has its time to leave.
void FlowQueue::cut(TimePoint now, Flow& flow, const std::function<void(const PacketRef&)>& drop) {
  const TimePoint oldest = nodes_[flow.head].queued;
  if (now - oldest <= kStale || oldest < flow.cut) return;
  flow.cut = now;
  std::size_t kept = nodes_[flow.head].packet.size;
  std::uint32_t last = flow.head;
  for (; kept < kept_; last = nodes_[last].next) kept += nodes_[nodes_[last].next].packet.size;
  std::uint32_t index = std::exchange(nodes_[last].next, kNone);
  flow.tail = last;
  while (index != kNone) {
    drop(nodes_[index].packet);
    ++dropped_;
    const std::uint32_t next = nodes_[index].next;
    free_node(flow, index);
    index = next;
  }
}

// Of the host for which most waits.
FlowQueue::Flow& FlowQueue::longest() {
  const auto host = std::ranges::max_element(hosts_, {}, &Host::bytes) - hosts_.begin();
  return *std::ranges::max_element(
      flows_, {}, [&](const Flow& flow) { return flow.host == host ? flow.bytes : std::uint32_t{0}; });
}

void FlowQueue::free_node(Flow& flow, std::uint32_t index) {
  const std::uint32_t size = nodes_[index].packet.size;
  flow.bytes -= size;
  hosts_[flow.host].bytes -= size;
  nodes_[index].next = free_;
  free_ = index;
  --packets_;
  bytes_ -= size;
}

FlowQueue::Node FlowQueue::unlink_head(Flow& flow) {
  const Node node = nodes_[flow.head];
  free_node(flow, std::exchange(flow.head, node.next));
  return node;
}

bool FlowQueue::settle() {
  if (settle_new()) return true;
  while (listed_hosts_ != 0) {
    Host& host = hosts_[first_host_];
    if (host.old.size == 0) {
      rotate_hosts(false);
    } else if (host.deficit <= 0) {
      host.deficit += kQuantum;
      rotate_hosts(true);
    } else if (settle_host(host)) {
      return true;
    }
  }
  return false;
}

bool FlowQueue::settle_new() {
  while (new_.size != 0) {
    Flow& flow = flows_[new_.head];
    if (flow.deficit <= 0) {  // its turn is over
      flow.deficit += kQuantum;
      append_old(take_head(new_));
    } else if (flow.head == kNone) {
      (void)take_head(new_);
      flow.turn = Turn::kIdle;
    } else {
      return true;
    }
  }
  return false;
}

bool FlowQueue::settle_host(Host& host) {
  while (host.old.size != 0) {
    Flow& flow = flows_[host.old.head];
    if (flow.deficit <= 0) {  // its turn is over
      flow.deficit += kQuantum;
      append(host.old, take_head(host.old), Turn::kOld);
    } else if (flow.head == kNone) {
      (void)take_head(host.old);
      flow.turn = Turn::kIdle;
    } else {
      return true;
    }
  }
  return false;
}

bool FlowQueue::little(const Flow& flow) {
  return flow.head == flow.tail || flow.bytes <= kSparseBytes;
}

// A flow with more than that is not new any longer: it may be long until a link has room
// for bulk, and small packets would wait behind it.
bool FlowQueue::sparse_next() {
  while (settle() && new_.size != 0) {
    if (little(flows_[new_.head])) return true;
    append_old(take_head(new_));
  }
  return false;
}

std::size_t FlowQueue::next_size() {
  if (!settle()) return 0;
  const FlowBucket bucket = new_.size != 0 ? new_.head : hosts_[first_host_].old.head;
  return nodes_[flows_[bucket].head].packet.size;
}

std::optional<FlowQueue::Item> FlowQueue::pop() {
  if (!settle()) return std::nullopt;
  const bool sparse = new_.size != 0;
  Host& host = hosts_[first_host_];
  const FlowBucket bucket = (sparse ? new_ : host.old).head;
  Flow& flow = flows_[bucket];
  const bool lone = little(flow);
  const Node node = unlink_head(flow);
  const auto size = static_cast<std::int32_t>(node.packet.size);
  flow.deficit -= size;
  if (!sparse) host.deficit -= size;
  return Item{node.packet, bucket, sparse && lone, flow.mean_size < kSmallPacket};
}

}  // namespace bondd::mlvpn

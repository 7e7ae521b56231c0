#include "bondd/mlvpn/io/coalesce.h"

#include <cstring>

#include "bondd/mlvpn/io/checksum.h"

namespace bondd::mlvpn {
namespace {

constexpr std::size_t kMaxIpLength = 65535;

// Bytes that the IP header's length field counts, for a packet of `size`.
std::size_t counted_length(const IpView& view, std::size_t size) {
  return size - view.l3 - (view.ipv6 ? 40 : 0);
}

bool equal(const std::uint8_t* a, const std::uint8_t* b, std::size_t from, std::size_t to) {
  return std::memcmp(a + from, b + from, to - from) == 0;
}

bool same_flow(const std::uint8_t* a, const std::uint8_t* b, const IpView& view) {
  const std::size_t addresses = view.l3 + (view.ipv6 ? 8 : 12);
  return equal(a, b, view.l4, view.l4 + 4) && equal(a, b, addresses, view.l4);
}

// All of the Ethernet and IP headers but lengths, ids and checksums.
bool same_network_header(const std::uint8_t* a, const std::uint8_t* b, const IpView& view) {
  if (!equal(a, b, 0, view.l3)) return false;
  const std::size_t l3 = view.l3;
  if (view.ipv6) return equal(a, b, l3, l3 + 4) && equal(a, b, l3 + 6, l3 + 8);
  return equal(a, b, l3, l3 + 2) && equal(a, b, l3 + 6, l3 + 10);
}

// Ack, data offset, window, urgent pointer and options.
bool same_tcp_header(const std::uint8_t* a, const std::uint8_t* b) {
  const std::size_t size = tcp_header_size(a);
  return equal(a, b, 8, 13) && equal(a, b, 14, 16) && equal(a, b, 18, size);
}

bool ends_run(const std::uint8_t* packet, const IpView& view) {
  return view.protocol == kProtocolTcp && (packet[view.l4 + 13] & (kTcpFin | kTcpPsh)) != 0;
}

// Without DF the id means something: the kernel will count up from the first.
bool id_follows(const std::uint8_t* first, const std::uint8_t* packet, const IpView& view,
                std::size_t position) {
  if (view.ipv6 || (first[view.l3 + 6] & 0x40) != 0) return true;
  const auto expected = static_cast<std::uint16_t>(load_be16(first + view.l3 + 4) + position);
  return load_be16(packet + view.l3 + 4) == expected;
}

}  // namespace

Coalescer::Coalescer(DeviceKind kind, CoalesceOptions options) : kind_(kind), options_(options) {
  packets_.reserve(kMaxPackets);
  runs_.reserve(kMaxPackets);
  slices_.reserve(2 * kMaxPackets);
}

bool Coalescer::add(std::span<std::uint8_t> packet) {
  if (packets_.size() == kMaxPackets) return false;
  packets_.push_back({.bytes = packet});
  const int index = static_cast<int>(packets_.size()) - 1;
  const auto view = parse_plain_packet(kind_, packet);
  if (!view) {
    close_all();  // it might belong to any flow: a fragment, say
    start(index, nullptr, false);
    return true;
  }
  const bool wanted = may_open(packet, *view);
  Run* run = find_open(packet, *view);
  if (run != nullptr && wanted && may_follow(*run, packet, *view)) {
    append(*run, index, *view);
    return true;
  }
  if (run != nullptr) run->open = false;
  start(index, &*view, wanted && !ends_run(packet.data(), *view));
  return true;
}

bool Coalescer::may_open(std::span<const std::uint8_t> packet, const IpView& view) const {
  const bool untagged = view.l3 == (kind_ == DeviceKind::kTap ? 14U : 0U);
  if (!untagged || view.end != packet.size() || view.payload == view.end) return false;
  if (view.protocol == kProtocolUdp) return options_.udp && load_be16(packet.data() + view.l4 + 6) != 0;
  const std::uint8_t flags = packet[view.l4 + 13];
  const bool plain = (flags & ~(kTcpPsh | kTcpFin)) == kTcpAck;
  return plain && (view.ipv6 ? options_.tcp6 : options_.tcp4);
}

Coalescer::Run* Coalescer::find_open(std::span<const std::uint8_t> packet, const IpView& view) {
  for (std::size_t back = 1; back <= open_count_; ++back) {
    Run& run = runs_[open_[(open_next_ + kMaxOpen - back) % kMaxOpen]];
    if (!run.open || run.view.protocol != view.protocol || run.view.ipv6 != view.ipv6) continue;
    if (run.view.l3 == view.l3 && same_flow(head(run), packet.data(), view)) return &run;
  }
  return nullptr;
}

bool Coalescer::may_follow(const Run& run, std::span<const std::uint8_t> packet, const IpView& view) {
  const std::uint8_t* first = head(run);
  const std::size_t payload = view.end - view.payload;
  if (run.packets == kMaxPerRun || view.payload != run.view.payload || payload > run.vnet.gso_size)
    return false;
  if (counted_length(run.view, run.bytes + payload) > kMaxIpLength) return false;
  if (!same_network_header(first, packet.data(), view)) return false;
  if (!id_follows(first, packet.data(), view, run.packets)) return false;
  if (view.protocol == kProtocolTcp) {
    const std::uint8_t* tcp = packet.data() + view.l4;
    if (load_be32(tcp + 4) != run.next_sequence || !same_tcp_header(first + view.l4, tcp)) return false;
  }
  if (!run.verified) {
    const auto& bytes = packets_[static_cast<std::size_t>(run.first)].bytes;
    if (!checksums_valid(bytes, run.view)) return false;
  }
  return checksums_valid(packet, view);
}

void Coalescer::append(Run& run, int packet, const IpView& view) {
  Packet& added = packets_[static_cast<std::size_t>(packet)];
  added.skip = view.payload;
  packets_[static_cast<std::size_t>(run.last)].next = packet;
  run.last = packet;
  run.verified = true;
  ++run.packets;
  const std::size_t payload = view.end - view.payload;
  run.bytes += payload;
  run.next_sequence += static_cast<std::uint32_t>(payload);
  if (view.protocol == kProtocolTcp) head(run)[view.l4 + 13] |= added.bytes[view.l4 + 13];
  if (payload < run.vnet.gso_size || ends_run(added.bytes.data(), view)) run.open = false;
}

void Coalescer::start(int packet, const IpView* view, bool open) {
  const auto& bytes = packets_[static_cast<std::size_t>(packet)].bytes;
  Run run{.first = packet, .last = packet, .packets = 1, .bytes = bytes.size(), .open = open};
  if (view != nullptr) run.view = *view;
  if (open) {
    run.vnet.gso_size = static_cast<std::uint16_t>(view->end - view->payload);
    if (view->protocol == kProtocolTcp) {
      run.next_sequence = load_be32(bytes.data() + view->l4 + 4) + run.vnet.gso_size;
    }
    if (open_count_ == kMaxOpen) runs_[open_[open_next_]].open = false;  // the oldest makes room
    open_[open_next_] = runs_.size();
    open_next_ = (open_next_ + 1) % kMaxOpen;
    if (open_count_ < kMaxOpen) ++open_count_;
  }
  runs_.push_back(run);
}

void Coalescer::close_all() {
  for (std::size_t i = 0; i < open_count_; ++i)
    runs_[open_[(open_next_ + kMaxOpen - 1 - i) % kMaxOpen]].open = false;
  open_count_ = 0;
}

void Coalescer::finish() {
  for (Run& run : runs_) {
    complete_header(run);
    run.first_slice = slices_.size();
    slices_.push_back({&run.vnet, sizeof(run.vnet)});
    for (int i = run.first; i >= 0; i = packets_[static_cast<std::size_t>(i)].next) {
      const Packet& packet = packets_[static_cast<std::size_t>(i)];
      slices_.push_back({packet.bytes.data() + packet.skip, packet.bytes.size() - packet.skip});
    }
    run.slice_count = slices_.size() - run.first_slice;
  }
}

// A joined run says what the kernel needs to cut it again, with the
// pseudo-header's sum where the checksum goes.
void Coalescer::complete_header(Run& run) {
  if (run.packets == 1) {
    run.vnet = {};
    return;
  }
  const IpView& view = run.view;
  std::uint8_t* packet = head(run);
  const bool tcp = view.protocol == kProtocolTcp;
  const std::size_t l4_length = run.bytes - view.l4;
  if (view.ipv6) {
    store_be16(packet + view.l3 + 4, run.bytes - view.l3 - 40);
  } else {
    std::uint8_t* ip = packet + view.l3;
    store_be16(ip + 2, run.bytes - view.l3);
    std::memset(ip + 10, 0, 2);
    const auto sum = static_cast<std::uint16_t>(~checksum_fold(checksum_add({ip, 20})));
    std::memcpy(ip + 10, &sum, sizeof(sum));
  }
  if (!tcp) store_be16(packet + view.l4 + 4, l4_length);
  run.vnet.flags = kVnetNeedsCsum;
  run.vnet.gso_type = tcp ? (view.ipv6 ? kGsoTcpV6 : kGsoTcpV4) : kGsoUdpL4;
  run.vnet.hdr_len = static_cast<std::uint16_t>(view.payload);
  run.vnet.csum_start = static_cast<std::uint16_t>(view.l4);
  run.vnet.csum_offset = tcp ? 16 : 6;
  const std::uint16_t pseudo =
      checksum_fold(pseudo_header_sum(view.addresses(packet), view.protocol, l4_length));
  std::memcpy(packet + view.l4 + run.vnet.csum_offset, &pseudo, sizeof(pseudo));
}

std::span<const iovec> Coalescer::slices(std::size_t index) const {
  const Run& run = runs_[index];
  return std::span{slices_}.subspan(run.first_slice, run.slice_count);
}

void Coalescer::clear() {
  packets_.clear();
  runs_.clear();
  slices_.clear();
  open_count_ = 0;
  open_next_ = 0;
}

}  // namespace bondd::mlvpn

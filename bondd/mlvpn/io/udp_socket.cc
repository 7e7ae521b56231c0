#include "bondd/mlvpn/io/udp_socket.h"

#include <netinet/in.h>
#include <netinet/udp.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

namespace bondd::mlvpn {
namespace {

constexpr int kUdpSegment = 103;  // UDP_SEGMENT and UDP_GRO of linux/udp.h, which
constexpr int kUdpGro = 104;      // clashes with netinet/udp.h

// Messages until a segment size that met EMSGSIZE is tried with GSO again: the
// path's MTU may have grown.
constexpr std::uint32_t kGsoRetryMessages = 20'000;

// Room for the control messages of one message: a segment's size, and an address of ours. The
// kernel wants it aligned as cmsghdr.
struct alignas(cmsghdr) Control {
  static constexpr std::size_t kRoom = CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(in6_pktinfo));
  std::array<std::uint8_t, kRoom> bytes;
};

template <typename Value>
Value value_of(cmsghdr* control) {
  Value value{};
  std::memcpy(&value, CMSG_DATA(control), sizeof(value));
  return value;
}

// What the kernel says about a received message.
struct About {
  std::uint32_t segment = 0;
  IpAddress local;
};

About read_control(msghdr& message, std::uint32_t size) {
  About about{size, {}};
  for (cmsghdr* control = CMSG_FIRSTHDR(&message); control != nullptr;
       control = CMSG_NXTHDR(&message, control)) {
    if (control->cmsg_level == IPPROTO_UDP && control->cmsg_type == kUdpGro) {
      if (const int segment = value_of<int>(control); segment > 0)
        about.segment = static_cast<std::uint32_t>(segment);
    } else if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
      about.local = IpAddress::v4(ntohl(value_of<in_pktinfo>(control).ipi_spec_dst.s_addr));
    } else if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_PKTINFO) {
      about.local = IpAddress::v6(
          std::bit_cast<std::array<std::uint8_t, 16>>(value_of<in6_pktinfo>(control).ipi6_addr));
    }
  }
  return about;
}

// Adds a control message to `message`, whose msg_control has room for it.
template <typename Value>
void add_control(msghdr& message, int level, int type, const Value& value) {
  auto* const part =
      reinterpret_cast<cmsghdr*>(static_cast<std::uint8_t*>(message.msg_control) + message.msg_controllen);
  part->cmsg_level = level;
  part->cmsg_type = type;
  part->cmsg_len = CMSG_LEN(sizeof(Value));
  std::memcpy(CMSG_DATA(part), &value, sizeof(value));
  message.msg_controllen += CMSG_SPACE(sizeof(Value));
}

// The interface stays the routing's choice, as it is without this.
void add_source(msghdr& message, const IpAddress& from) {
  if (from.is_v4()) {
    in_pktinfo info{};
    std::memcpy(&info.ipi_spec_dst, from.data(), sizeof(info.ipi_spec_dst));
    add_control(message, IPPROTO_IP, IP_PKTINFO, info);
  } else {
    in6_pktinfo info{};
    std::memcpy(&info.ipi6_addr, from.data(), sizeof(info.ipi6_addr));
    add_control(message, IPPROTO_IPV6, IPV6_PKTINFO, info);
  }
}

}  // namespace

ReceiveArena::ReceiveArena() : memory_(new std::uint8_t[kSlabs * kStride]) {}

UdpSocket::UdpSocket(UniqueFd fd, bool offloads) : fd_(std::move(fd)), gso_(offloads) {
  const int on = offloads ? 1 : 0;
  gro_ = setsockopt(fd_.get(), IPPROTO_UDP, kUdpGro, &on, sizeof(on)) == 0 && offloads;
  const int none = 0;  // known to the kernel at all? 0 changes nothing
  gso_ = gso_ && setsockopt(fd_.get(), IPPROTO_UDP, kUdpSegment, &none, sizeof(none)) == 0;
  runs_.reserve(kReceiveSingle);
  messages_.reserve(2 * kMaxMessages);
  packets_.reserve(2 * kMaxSlices);
  slices_.reserve(2 * kMaxSlices);
}

std::span<const ReceivedRun> UdpSocket::receive(ReceiveArena& arena, bool& more) {
  const std::size_t wanted = gro_ && !last_was_single_ ? kReceiveWithGro : kReceiveSingle;
  const std::size_t slots = std::min(wanted, arena.free_slabs());
  std::array<mmsghdr, kReceiveSingle> headers;
  std::array<iovec, kReceiveSingle> slices;
  std::array<SocketAddress, kReceiveSingle> senders;
  std::array<Control, kReceiveSingle> controls;
  for (std::size_t i = 0; i < slots; ++i) {
    slices[i] = {arena.slab(i), ReceiveArena::kSlabSize};
    headers[i].msg_hdr = {senders[i].get(),         SocketAddress::capacity(), &slices[i], 1,
                          controls[i].bytes.data(), controls[i].bytes.size(),  0};
  }
  runs_.clear();
  more = false;
  const int got = recvmmsg(fd_.get(), headers.data(), static_cast<unsigned>(slots), MSG_DONTWAIT, nullptr);
  ++counters_.receive_calls;
  if (got <= 0) return {};
  const auto count = static_cast<std::size_t>(got);
  bool aggregated = false;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t size = headers[i].msg_len;
    if ((headers[i].msg_hdr.msg_flags & MSG_TRUNC) != 0) ++counters_.truncated;
    if ((headers[i].msg_hdr.msg_flags & MSG_TRUNC) != 0 || size == 0) continue;
    const About about = read_control(headers[i].msg_hdr, size);
    aggregated = aggregated || about.segment < size;
    Endpoint from = senders[i].endpoint();
    from.local = about.local;
    runs_.push_back({from, {arena.slab(i), size}, about.segment});
  }
  arena.use(count);
  counters_.receive_messages += count;
  last_was_single_ = !aggregated;
  more = count == slots;
  return runs_;
}

// What one sendmmsg(2) gets.
struct UdpSocket::Batch {
  std::array<mmsghdr, kMaxMessages> headers{};
  std::array<Control, kMaxMessages> controls;
  std::size_t count = 0;
};

UdpSocket::SendStatus UdpSocket::send(const Endpoint& to, std::span<const PacketRef> packets) {
  if (packets.empty()) return SendStatus::kOk;
  messages_.push_back(
      {SocketAddress(to), to.local, packets_.size(), packets.size(), packets.front().size, false, 0});
  for (const PacketRef& packet : packets) {
    packets_.push_back(packet);
    slices_.push_back({packet.data, packet.size});
    queued_bytes_ += packet.size;
  }
  const bool room = messages_.size() < kMaxMessages && slices_.size() < kMaxSlices;
  if (room && queued_bytes_ < kEagerBytes) return SendStatus::kOk;
  return flush();
}

UdpSocket::SendStatus UdpSocket::flush() {
  failed_ = false;
  queued_bytes_ = 0;
  Outcome outcome = Outcome::kProgress;
  while (has_backlog() && outcome == Outcome::kProgress) outcome = send_some();
  if (outcome != Outcome::kProgress) {
    ++counters_.blocked;
    return outcome == Outcome::kBlocked ? SendStatus::kBlocked : SendStatus::kBusy;
  }
  return failed_ ? SendStatus::kFailed : SendStatus::kOk;
}

bool UdpSocket::may_segment(const Message& message) const {
  return gso_ && message.count > 1 && !message.single && message.segment <= gso_limit_;
}

void UdpSocket::build(Batch& batch) {
  for (std::size_t m = first_message_; m < messages_.size() && batch.count < kMaxMessages; ++m) {
    Message& message = messages_[m];
    const bool segmented = may_segment(message);
    message.single = !segmented;
    std::size_t next = message.done;
    while (next < message.count && batch.count < kMaxMessages) {
      const std::size_t datagrams = segmented ? message.count : 1;
      msghdr& header = batch.headers[batch.count].msg_hdr;
      header.msg_name = message.to.get();
      header.msg_namelen = message.to.size();
      header.msg_iov = &slices_[message.first + next];
      header.msg_iovlen = datagrams;
      header.msg_control = batch.controls[batch.count].bytes.data();
      if (segmented)
        add_control(header, IPPROTO_UDP, kUdpSegment, static_cast<std::uint16_t>(message.segment));
      if (!message.from.is_unspecified()) add_source(header, message.from);
      if (header.msg_controllen == 0) header.msg_control = nullptr;
      ++batch.count;
      next += datagrams;
    }
  }
}

UdpSocket::Outcome UdpSocket::send_some() {
  if (gso_retry_ != 0 && --gso_retry_ == 0) gso_limit_ = 65535;
  Batch batch;
  build(batch);
  const int taken =
      sendmmsg(fd_.get(), batch.headers.data(), static_cast<unsigned>(batch.count), MSG_DONTWAIT);
  ++counters_.send_calls;
  if (taken < 0) return after_error(errno);
  counters_.send_messages += static_cast<std::uint64_t>(taken);
  advance(static_cast<std::size_t>(taken));
  return Outcome::kProgress;
}

void UdpSocket::advance(std::size_t kernel_messages) {
  while (kernel_messages > 0) {
    Message& message = messages_[first_message_];
    if (message.single) {
      const std::size_t step = std::min(kernel_messages, message.count - message.done);
      message.done += step;
      kernel_messages -= step;
      if (message.done < message.count) return;
    } else {
      --kernel_messages;
    }
    next_message();
  }
}

UdpSocket::Outcome UdpSocket::after_error(int error) {
  Message& message = messages_[first_message_];
  if (error == EAGAIN) return Outcome::kBlocked;
  if (error == ENOBUFS || error == ENOMEM) return Outcome::kBusy;
  if (error == EINTR) return Outcome::kProgress;
  if (!message.single) {
    // EMSGSIZE: a segment is longer than the path's MTU; the kernel fragments
    // single datagrams, but no segmented ones. EIO: the NIC cannot checksum.
    if (error == EMSGSIZE) {
      gso_limit_ = message.segment - 1;
      gso_retry_ = kGsoRetryMessages;
      return Outcome::kProgress;
    }
    if (error == EIO || error == EINVAL || error == EOPNOTSUPP) {
      gso_ = false;
      return Outcome::kProgress;
    }
  }
  if (error == EMSGSIZE) {
    ++counters_.oversize;
    if (++message.done >= message.count) next_message();
    return Outcome::kProgress;
  }
  counters_.failed += message.count - message.done;
  last_error_ = error;
  failed_ = true;
  next_message();
  return Outcome::kProgress;
}

void UdpSocket::next_message() {
  const Message& message = messages_[first_message_++];
  sent_packets_ = message.first + message.count;
}

void UdpSocket::clear_sent() {
  if (sent_packets_ == 0) return;
  if (sent_packets_ == packets_.size()) {
    packets_.clear();
    slices_.clear();
    messages_.clear();
  } else {
    const auto gone = static_cast<std::ptrdiff_t>(sent_packets_);
    packets_.erase(packets_.begin(), packets_.begin() + gone);
    slices_.erase(slices_.begin(), slices_.begin() + gone);
    messages_.erase(messages_.begin(), messages_.begin() + static_cast<std::ptrdiff_t>(first_message_));
    for (Message& message : messages_) message.first -= sent_packets_;
  }
  first_message_ = 0;
  sent_packets_ = 0;
}

}  // namespace bondd::mlvpn

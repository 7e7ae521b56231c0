#include "bondd/mlvpn/core/ack_filter.h"

#include <algorithm>
#include <cstring>

#include "bondd/mlvpn/core/bytes.h"

namespace bondd::mlvpn {
namespace {

constexpr std::uint8_t kAckFlag = 0x10;

// Where the TCP header of a plain acknowledgement starts: no payload, no flag but ACK, no
// option but padding and timestamps. Nothing for any other packet.
std::optional<std::size_t> plain_ack(std::span<const std::uint8_t> p) {
  std::size_t tcp = 0, end = 0;
  if (p.size() >= 40 && p[0] == 0x45 && p[9] == 6 && ((p[6] & 0x3f) | p[7]) == 0) {
    tcp = 20;
    end = load_be<std::uint16_t>(&p[2]);
  } else if (p.size() >= 60 && p[0] >> 4 == 6 && p[6] == 6) {
    tcp = 40;
    end = 40U + load_be<std::uint16_t>(&p[4]);
  } else {
    return std::nullopt;
  }
  const std::size_t header = static_cast<std::size_t>(p[tcp + 12] >> 4) * 4;
  if (header < 20 || end != p.size() || tcp + header != end || p[tcp + 13] != kAckFlag) return std::nullopt;
  for (std::size_t at = tcp + 20; at < end;) {
    if (p[at] == 1) {
      ++at;
    } else if (p[at] == 8 && at + 10 <= end && p[at + 1] == 10) {
      at += 10;
    } else {
      return std::nullopt;
    }
  }
  return tcp;
}

bool same_flow(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b, std::size_t tcp) {
  const std::size_t addresses = tcp == 20 ? 12 : 8;
  return a.size() == b.size() && a[0] == b[0] &&
         std::memcmp(&a[addresses], &b[addresses], tcp - addresses + 4) == 0;
}

// The newer one must say more: an equal number is a duplicate, which has a meaning.
bool says_more(std::span<const std::uint8_t> newer, std::span<const std::uint8_t> older, std::size_t tcp) {
  const auto difference = static_cast<std::int32_t>(load_be<std::uint32_t>(&newer[tcp + 8]) -
                                                    load_be<std::uint32_t>(&older[tcp + 8]));
  return difference > 0;
}

}  // namespace

AckFilter::AckFilter() : flows_(kFlowBuckets) {}

TimePoint AckFilter::due(const Flow& flow, std::span<const std::uint8_t> packet, std::size_t tcp) const {
  const std::uint32_t advance = load_be<std::uint32_t>(&packet[tcp + 8]) - flow.number;
  return flow.last + (advance < flow.usual / 4 ? 3 * interval_ : interval_);
}

void AckFilter::note_sent(TimePoint now, Flow& flow, std::span<const std::uint8_t> packet, std::size_t tcp) {
  const auto number = load_be<std::uint32_t>(&packet[tcp + 8]);
  const std::uint32_t advance = number - flow.number;
  flow.usual = advance < 1U << 30 ? flow.usual + (advance - flow.usual) / 4 : 0;
  flow.number = number;
  flow.last = now;
}

AckFilter::Verdict AckFilter::handle(TimePoint now, const PacketRef& packet, FlowBucket bucket) {
  Verdict verdict;
  Flow& flow = flows_[bucket];
  const auto tcp = interval_.count() > 0 ? plain_ack(packet.bytes()) : std::nullopt;
  if (flow.held) {
    if (tcp && same_flow(packet.bytes(), flow.held->bytes(), *tcp) &&
        says_more(packet.bytes(), flow.held->bytes(), *tcp)) {
      verdict.dropped = flow.held;
      flow.held = packet;
      flow.due = due(flow, packet.bytes(), *tcp);
      ++thinned_;
      return verdict;
    }
    verdict.first = flow.held;
    verdict.second = packet;
    flow.held.reset();
    std::erase(holding_, bucket);
    return verdict;
  }
  if (tcp && now < due(flow, packet.bytes(), *tcp)) {
    flow.held = packet;
    flow.due = due(flow, packet.bytes(), *tcp);
    holding_.push_back(bucket);
    return verdict;
  }
  if (tcp) note_sent(now, flow, packet.bytes(), *tcp);
  verdict.first = packet;
  return verdict;
}

std::optional<AckFilter::Due> AckFilter::take_due(TimePoint now) {
  for (std::size_t i = 0; i < holding_.size(); ++i) {
    const FlowBucket bucket = holding_[i];
    Flow& flow = flows_[bucket];
    if (flow.due > now) continue;
    const Due due{*flow.held, bucket};
    note_sent(now, flow, due.packet.bytes(), due.packet.data[0] >> 4 == 6 ? 40 : 20);
    flow.held.reset();
    holding_.erase(holding_.begin() + static_cast<std::ptrdiff_t>(i));
    return due;
  }
  return std::nullopt;
}

std::optional<TimePoint> AckFilter::next_timeout() const {
  std::optional<TimePoint> first;
  for (const FlowBucket bucket : holding_) {
    if (!first || flows_[bucket].due < *first) first = flows_[bucket].due;
  }
  return first;
}

}  // namespace bondd::mlvpn

#include "bondd/mlvpn/core/bare_ack.h"

#include "bondd/mlvpn/core/bytes.h"

namespace bondd::mlvpn {
namespace {

constexpr std::uint8_t kAckFlag = 0x10, kPushFlag = 0x08;
constexpr std::uint8_t kEnd = 0, kPad = 1, kSelective = 5;  // TCP options

// Where the TCP header starts and the packet ends.
struct Span {
  std::size_t tcp = 0, end = 0, addresses = 0;
};

std::optional<Span> find_tcp(std::span<const std::uint8_t> p) {
  if (p.size() >= 40 && p[0] == 0x45 && p[9] == 6 && ((p[6] & 0x3f) | p[7]) == 0)
    return Span{20, load_be<std::uint16_t>(&p[2]), 12};
  if (p.size() >= 60 && p[0] >> 4 == 6 && p[6] == 6) return Span{40, 40U + load_be<std::uint16_t>(&p[4]), 8};
  return std::nullopt;
}

std::optional<bool> has_ranges(std::span<const std::uint8_t> options) {
  bool selective = false;
  while (!options.empty() && options[0] != kEnd) {
    if (options[0] == kPad) {
      options = options.subspan(1);
      continue;
    }
    if (options.size() < 2 || options[1] < 2 || options[1] > options.size()) return std::nullopt;
    selective = selective || options[0] == kSelective;
    options = options.subspan(options[1]);
  }
  return selective;
}

}  // namespace

std::optional<BareAck> bare_ack(std::span<const std::uint8_t> packet) {
  const auto at = find_tcp(packet);
  if (!at || at->end != packet.size()) return std::nullopt;
  const std::uint8_t* const tcp = &packet[at->tcp];
  const std::size_t header = static_cast<std::size_t>(tcp[12] >> 4) * 4;
  if (header < 20 || at->tcp + header != at->end || (tcp[13] & ~kPushFlag) != kAckFlag) return std::nullopt;
  const auto selective = has_ranges(packet.subspan(at->tcp + 20, header - 20));
  if (!selective) return std::nullopt;
  BareAck ack;
  for (std::size_t i = at->addresses; i < at->tcp + 4; i += 4) {
    ack.flow = (ack.flow ^ load_be<std::uint32_t>(&packet[i])) * 0x9e3779b97f4a7c15U;
    ack.flow ^= ack.flow >> 29;
  }
  ack.number = load_be<std::uint32_t>(tcp + 8);
  ack.selective = *selective;
  return ack;
}

bool NewestAcks::outdated(const BareAck& ack) {
  Flow& flow = flows_[ack.flow % kFlowBuckets];
  if (flow.flow == ack.flow && static_cast<std::int32_t>(ack.number - flow.number) < 0) return !ack.selective;
  flow = {ack.flow, ack.number};
  return false;
}

}  // namespace bondd::mlvpn

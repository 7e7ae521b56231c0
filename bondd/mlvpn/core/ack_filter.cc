#include "bondd/mlvpn/core/ack_filter.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "bondd/mlvpn/core/bytes.h"

namespace bondd::mlvpn {
namespace {

constexpr std::uint8_t kAckFlag = 0x10;

// A packet that only acknowledges: no payload, no flag but ACK, no options but padding,
// timestamps and selective acknowledgements.
struct Ack {
  std::size_t tcp = 0;  // where its TCP header starts
  std::uint32_t number = 0;
  std::size_t blocks = 0;
  std::array<std::pair<std::uint32_t, std::uint32_t>, 4> sacks{};  // [begin, end)
};

bool at_or_before(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::int32_t>(b - a) >= 0;
}

// Reads the options of `p` from `at` to `end`; false when one has a meaning of its own. A block
// at or below the acknowledged number tells of a duplicate.
bool read_options(std::span<const std::uint8_t> p, std::size_t at, std::size_t end, Ack& ack) {
  while (at < end) {
    if (p[at] == 1) {
      ++at;
      continue;
    }
    if (at + 2 > end || p[at + 1] < 2 || at + p[at + 1] > end) return false;
    const std::size_t length = p[at + 1];
    if (p[at] == 5 && length % 8 == 2 && length <= 34) {
      for (std::size_t b = at + 2; b < at + length; b += 8) {
        const auto begin = load_be<std::uint32_t>(&p[b]), limit = load_be<std::uint32_t>(&p[b + 4]);
        if (at_or_before(begin, ack.number)) return false;
        ack.sacks[ack.blocks++] = {begin, limit};
      }
    } else if (p[at] != 8 || length != 10) {
      return false;
    }
    at += length;
  }
  return true;
}

std::optional<Ack> bare(std::span<const std::uint8_t> p) {
  Ack ack;
  std::size_t end = 0;
  if (p.size() >= 40 && p[0] == 0x45 && p[9] == 6 && ((p[6] & 0x3f) | p[7]) == 0) {
    ack.tcp = 20;
    end = load_be<std::uint16_t>(&p[2]);
  } else if (p.size() >= 60 && p[0] >> 4 == 6 && p[6] == 6) {
    ack.tcp = 40;
    end = 40U + load_be<std::uint16_t>(&p[4]);
  } else {
    return std::nullopt;
  }
  const std::size_t header = static_cast<std::size_t>(p[ack.tcp + 12] >> 4) * 4;
  if (header < 20 || end != p.size() || ack.tcp + header != end || p[ack.tcp + 13] != kAckFlag)
    return std::nullopt;
  ack.number = load_be<std::uint32_t>(&p[ack.tcp + 8]);
  if (!read_options(p, ack.tcp + 20, end, ack)) return std::nullopt;
  return ack;
}

bool same_flow(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b, std::size_t tcp) {
  const std::size_t addresses = tcp == 20 ? 12 : 8;
  return a[0] >> 4 == b[0] >> 4 && std::memcmp(&a[addresses], &b[addresses], tcp - addresses + 4) == 0;
}

// True when `newer` makes `older` needless: it acknowledges more, and all that the older one
// did. An equal one is a duplicate, which has a meaning.
bool says_more(const Ack& newer, const Ack& older) {
  if (!at_or_before(older.number, newer.number)) return false;
  if (newer.number == older.number && newer.blocks == 0) return false;
  bool same = newer.number == older.number && newer.blocks == older.blocks;
  for (std::size_t i = 0; i < older.blocks; ++i) {
    const auto [begin, end] = older.sacks[i];
    bool covered = at_or_before(end, newer.number);
    for (std::size_t k = 0; k < newer.blocks; ++k) {
      covered =
          covered || (at_or_before(newer.sacks[k].first, begin) && at_or_before(end, newer.sacks[k].second));
    }
    if (!covered) return false;
    same = same && newer.sacks[i] == older.sacks[i];
  }
  return !same;
}

}  // namespace

AckFilter::AckFilter() : flows_(kFlowBuckets) {}

TimePoint AckFilter::due(const Flow& flow, std::uint32_t number) const {
  const std::uint32_t advance = number - flow.number;
  return flow.last + (advance < flow.usual / 4 ? 3 * interval_ : interval_);
}

void AckFilter::note_sent(TimePoint now, Flow& flow, std::uint32_t number) {
  const std::uint32_t advance = number - flow.number;
  flow.usual = advance < 1U << 30 ? flow.usual + (advance - flow.usual) / 4 : 0;
  flow.number = number;
  flow.last = now;
}

AckFilter::Verdict AckFilter::handle(TimePoint now, const PacketRef& packet, FlowBucket bucket,
                                     bool line_is_full) {
  Verdict verdict;
  Flow& flow = flows_[bucket];
  auto ack = interval_.count() > 0 ? bare(packet.bytes()) : std::nullopt;
  if (ack && ack->blocks != 0 && !line_is_full && !flow.held) ack.reset();
  if (flow.held) {
    const auto held = bare(flow.held->bytes());
    if (ack && held && ack->tcp == held->tcp && same_flow(packet.bytes(), flow.held->bytes(), ack->tcp) &&
        says_more(*ack, *held) && (ack->blocks == 0 || line_is_full)) {
      verdict.dropped = flow.held;
      flow.held = packet;
      flow.due = due(flow, ack->number);
      ++thinned_;
      return verdict;
    }
    verdict.first = flow.held;
    verdict.second = packet;
    flow.held.reset();
    std::erase(holding_, bucket);
    return verdict;
  }
  if (ack && now < due(flow, ack->number)) {
    flow.held = packet;
    flow.due = due(flow, ack->number);
    holding_.push_back(bucket);
    return verdict;
  }
  if (ack) note_sent(now, flow, ack->number);
  verdict.first = packet;
  return verdict;
}

std::optional<AckFilter::Due> AckFilter::take_due(TimePoint now) {
  for (std::size_t i = 0; i < holding_.size(); ++i) {
    const FlowBucket bucket = holding_[i];
    Flow& flow = flows_[bucket];
    if (flow.due > now) continue;
    const Due due{*flow.held, bucket};
    note_sent(now, flow,
              load_be<std::uint32_t>(due.packet.data + (due.packet.data[0] >> 4 == 6 ? 40 : 20) + 8));
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

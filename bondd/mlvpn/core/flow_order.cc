#include "bondd/mlvpn/core/flow_order.h"

#include <algorithm>
#include <utility>

namespace bondd::mlvpn {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t kPortion = 16;
constexpr auto kPortionEvery = 1ms;
constexpr auto kSoon = 1ms;                // what is to go by then goes now: one wake-up for many packets
constexpr std::uint64_t kHorizon = 16384;  // numbers ahead that can wait
constexpr std::size_t kMostPlaces = 4 * 16384;  // of all flows: 2.6 MB
constexpr std::size_t kUsualRing = 1024;        // a longer one is given back when nothing waits
constexpr unsigned kAgree = 16;                 // from far ahead, as in ReorderBuffer
// From far behind. Packets of a line that was silent for long come late in such rows, too: only
// of a row that no line holds is it certain that the flow is there.
constexpr unsigned kAgreeBehind = 64;
constexpr std::uint64_t kFarBehind = 4096;
constexpr std::uint64_t kStep = 64;       // two numbers of one row are at most so far apart
constexpr std::size_t kMostGivenUp = 32;  // ranges; a loss is one

bool is_datagram(const PacketRef& packet) {
  constexpr std::uint8_t kUdp = 17;
  if (packet.size < 40) return false;
  return packet.data[0] >> 4 == 4 ? packet.data[9] == kUdp
                                  : packet.data[0] >> 4 == 6 && packet.data[6] == kUdp;
}

}  // namespace

FlowOrder::FlowOrder(std::size_t max_held, Hooks hooks)
    : max_held_(max_held), hooks_(std::move(hooks)), flows_(kFlowBuckets) {}

unsigned FlowOrder::Run::add(std::uint64_t number) {
  length = length != 0 && number > last && number - last <= kStep ? length + 1 : 1;
  last = number;
  return length;
}

// Grows the ring of slots so that `number` has a place of its own; false when all rings
// together would be too long.
bool FlowOrder::make_room(Flow& flow, std::uint64_t number) {
  if (number - flow.next < flow.slots.size()) return true;
  std::size_t size = std::max<std::size_t>(flow.slots.size(), 64);
  while (number - flow.next >= size) size *= 2;
  if (places_ - flow.slots.size() + size > kMostPlaces) return false;
  places_ += size - flow.slots.size();
  std::vector<Slot> bigger(size);
  for (std::uint64_t n = flow.next; n < flow.top; ++n) bigger[n & (size - 1)] = slot(flow, n);
  flow.slots = std::move(bigger);
  return true;
}

void FlowOrder::free_room(Flow& flow) {
  if (flow.slots.size() <= kUsualRing && places_ <= kMostPlaces / 2) return;
  places_ -= flow.slots.size();
  flow.slots = {};
}

// The number waited for has come (or not): on to the one after it.
void FlowOrder::advance(Flow& flow, bool arrived) {
  if (!arrived) give_up(flow, flow.next, flow.next + 1);
  ++flow.next;
  flow.top = std::max(flow.top, flow.next);
}

void FlowOrder::give_up(Flow& flow, std::uint64_t first, std::uint64_t end) {
  if (first >= end) return;
  if (!flow.given_up.empty() && flow.given_up.back().end == first) {
    flow.given_up.back().end = end;
    return;
  }
  if (flow.given_up.size() == kMostGivenUp) flow.given_up.erase(flow.given_up.begin());
  flow.given_up.push_back({first, end});
}

// Of a sender that began with us the first ones may have been overtaken.
void FlowOrder::begin(Flow& flow, std::uint64_t number) {
  flow.begun = true;
  if (number < kHorizon) return;
  give_up(flow, 0, number);
  flow.next = flow.top = number;
}

// The flow is elsewhere, and goes on above `number`.
void FlowOrder::begin_anew(Flow& flow, std::uint64_t number) {
  flush(flow);
  std::erase_if(flow.given_up, [&](const Range& range) { return range.first > number; });
  if (!flow.given_up.empty()) flow.given_up.back().end = std::min(flow.given_up.back().end, number);
  if (number > flow.next) give_up(flow, flow.next, number);
  flow.next = flow.top = number + 1;
  flow.ahead = flow.behind = {};
}

void FlowOrder::insert(TimePoint now, std::uint64_t data_seq, const PacketRef& packet, Duration hold) {
  const FlowSeq seq = unpack_flow_seq(data_seq);
  if (seq.bucket >= flows_.size()) return hooks_.drop(packet);
  Flow& flow = flows_[seq.bucket];
  if (!flow.begun) begin(flow, seq.number);
  if (seq.number < flow.next) return insert_late(flow, seq.number, packet);
  flow.behind.length = 0;
  if (seq.number - flow.next >= kHorizon) return insert_stray(flow, seq.number, packet);
  // With half of the room taken nothing is kept that could go.
  const bool early =
      hold > kSoon && !seq.delicate && seq.number >= flow.top && held_ < max_held_ / 2 && is_datagram(packet);
  if (seq.number == flow.next && flow.top > flow.next && (slot(flow, seq.number).done || flow.kept)) {
    ++counters_.duplicates;
    return hooks_.drop(packet);
  }
  if (seq.number == flow.next && !early) {
    hooks_.deliver(packet);
    flow.ahead.length = 0;
    advance(flow, true);
    if (flow.top > flow.next) release(now, flow);
    return;
  }
  if (!make_room(flow, seq.number)) return insert_stray(flow, seq.number, packet);
  flow.ahead.length = 0;
  while (flow.top <= seq.number) slot(flow, flow.top++) = Slot{};
  Slot& place = slot(flow, seq.number);
  if (place.full || place.done) {
    ++counters_.duplicates;
    return hooks_.drop(packet);
  }
  if (seq.delicate) {
    place.done = true;
    hooks_.deliver(packet);
  } else {
    const auto kept = held_ < max_held_ ? hooks_.keep(packet) : std::nullopt;
    if (!kept) {
      place.done = true;
      hooks_.deliver(packet);
    } else {
      place.packet = *kept;
      place.full = true;
      if (early) place.not_before = now + hold;
      ++held_;
    }
  }
  place.arrived = now;
  if (!flow.listed) {
    flow.listed = true;
    flow.hole_since = now;
    waiting_.push_back(seq.bucket);
  }
  if (seq.number == flow.next) release(now, flow);
}

void FlowOrder::insert_late(Flow& flow, std::uint64_t number, const PacketRef& packet) {
  flow.ahead.length = 0;
  const bool agreed = flow.behind.add(number) >= kAgreeBehind && flow.next - number > kFarBehind;
  const auto range = std::ranges::find_if(
      flow.given_up, [&](const Range& r) { return r.first <= number && number < r.end; });
  const bool seen = std::ranges::find(flow.strays, number) != flow.strays.end();
  if (range == flow.given_up.end() || seen) {
    ++counters_.duplicates;
    hooks_.drop(packet);
  } else {
    ++counters_.late;
    hooks_.deliver(packet);
    const Range above{number + 1, range->end};
    range->end = number;
    const auto at = range->first == range->end ? flow.given_up.erase(range) : range + 1;
    if (above.first != above.end) flow.given_up.insert(at, above);
    if (flow.given_up.size() > kMostGivenUp) flow.given_up.erase(flow.given_up.begin());
  }
  if (agreed) begin_anew(flow, number);
}

// From so far ahead that it cannot wait until what is missing has come.
void FlowOrder::insert_stray(Flow& flow, std::uint64_t number, const PacketRef& packet) {
  if (std::ranges::find(flow.strays, number) != flow.strays.end()) {
    ++counters_.duplicates;
    return hooks_.drop(packet);
  }
  if (flow.strays.size() == kAgree) flow.strays.erase(flow.strays.begin());
  flow.strays.push_back(number);
  if (flow.ahead.add(number) >= kAgree) begin_anew(flow, number);
  hooks_.deliver(packet);
}

// The next hole is as old as the first packet behind it, at most.
void FlowOrder::await_next(Flow& flow) {
  for (std::uint64_t n = flow.next; n < flow.top; ++n) {
    const Slot& behind = slot(flow, n);
    if (!behind.full && !behind.done) continue;
    flow.hole_since = std::max(flow.hole_since, behind.arrived);
    return;
  }
}

// Delivers what follows without a hole, or a portion of it: a sixteenth, so that a flow that
// comes faster than its portions go does not pile up.
void FlowOrder::release(TimePoint now, Flow& flow) {
  std::size_t portion = std::max<std::size_t>(kPortion, (flow.top - flow.next) / 16);
  flow.kept = false;
  while (flow.next < flow.top) {
    Slot& place = slot(flow, flow.next);
    if (!place.full && !place.done) return await_next(flow);
    if (place.full) {
      const bool early = place.not_before > now + kSoon;
      if (early || (is_datagram(place.packet) && portion-- == 0)) {
        flow.kept = true;
        flow.next_at = early ? place.not_before : now + kPortionEvery;
        return;
      }
      hooks_.deliver(place.packet);
      --held_;
    }
    place = Slot{};
    advance(flow, true);
  }
  flow.listed = false;
  std::erase(waiting_, static_cast<FlowBucket>(&flow - flows_.data()));
  free_room(flow);
}

void FlowOrder::skip_hole(TimePoint now, Flow& flow) {
  while (flow.next < flow.top) {
    const Slot& place = slot(flow, flow.next);
    if (place.full || place.done) break;
    ++counters_.holes_lost;
    advance(flow, false);
  }
  release(now, flow);
}

void FlowOrder::handle_timeout(TimePoint now) {
  for (std::size_t i = 0; i < waiting_.size();) {
    const FlowBucket bucket = waiting_[i];
    Flow& flow = flows_[bucket];
    if (flow.kept && flow.next_at <= now) release(now, flow);
    while (flow.listed && !flow.kept && flow.hole_since + patience_ <= now) skip_hole(now, flow);
    if (i < waiting_.size() && waiting_[i] == bucket) ++i;
  }
}

std::optional<TimePoint> FlowOrder::next_timeout() const {
  std::optional<TimePoint> first;
  for (const FlowBucket bucket : waiting_) {
    const Flow& flow = flows_[bucket];
    const TimePoint due = flow.kept ? flow.next_at : flow.hole_since + patience_;
    if (!first || due < *first) first = due;
  }
  return first;
}

void FlowOrder::flush(Flow& flow) {
  if (!flow.listed) return;
  for (; flow.next < flow.top; ++flow.next) {
    const Slot& place = slot(flow, flow.next);
    if (place.full) {
      hooks_.deliver(place.packet);
      --held_;
    } else if (!place.done) {
      ++counters_.holes_lost;
      give_up(flow, flow.next, flow.next + 1);
    }
  }
  flow.listed = flow.kept = false;
  std::erase(waiting_, static_cast<FlowBucket>(&flow - flows_.data()));
  free_room(flow);
}

void FlowOrder::reset() {
  for (Flow& flow : flows_) {
    flush(flow);
    flow = Flow{};
  }
  places_ = 0;
}

}  // namespace bondd::mlvpn

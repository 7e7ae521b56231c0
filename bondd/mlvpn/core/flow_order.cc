#include "bondd/mlvpn/core/flow_order.h"

#include <algorithm>
#include <utility>

namespace bondd::mlvpn {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t kPortion = 16;
constexpr auto kPortionEvery = 1ms;
constexpr auto kSoon = 1ms;  // what is to go by then goes now: one wake-up for many packets

bool is_datagram(const PacketRef& packet) {
  constexpr std::uint8_t kUdp = 17;
  if (packet.size < 40) return false;
  return packet.data[0] >> 4 == 4 ? packet.data[9] == kUdp
                                  : packet.data[0] >> 4 == 6 && packet.data[6] == kUdp;
}

}  // namespace

FlowOrder::FlowOrder(std::size_t max_held, Hooks hooks)
    : max_held_(max_held), hooks_(std::move(hooks)), flows_(kFlowBuckets) {}

// Grows the ring of slots so that `number` has a place of its own.
void FlowOrder::make_room(Flow& flow, std::uint64_t number) {
  if (number - flow.next < flow.slots.size()) return;
  std::size_t size = std::max<std::size_t>(flow.slots.size(), 64);
  while (number - flow.next >= size) size *= 2;
  std::vector<Slot> bigger(size);
  for (std::uint64_t n = flow.next; n < flow.top; ++n) bigger[n & (size - 1)] = slot(flow, n);
  flow.slots = std::move(bigger);
}

// The number waited for has come (or not): on to the one after it.
void FlowOrder::advance(Flow& flow, bool arrived) {
  flow.given_up = flow.given_up << 1 | (arrived ? 0 : 1);
  ++flow.next;
  flow.top = std::max(flow.top, flow.next);
}

void FlowOrder::insert(TimePoint now, std::uint64_t data_seq, const PacketRef& packet, Duration hold) {
  const FlowSeq seq = unpack_flow_seq(data_seq);
  if (seq.bucket >= flows_.size()) return hooks_.drop(packet);
  Flow& flow = flows_[seq.bucket];
  if (seq.number < flow.next) return insert_late(flow, seq.number, packet);
  // With half of the room taken nothing is kept that could go.
  const bool early =
      hold > kSoon && !seq.delicate && seq.number >= flow.top && held_ < max_held_ / 2 && is_datagram(packet);
  if (seq.number == flow.next && flow.top > flow.next && (slot(flow, seq.number).done || flow.kept)) {
    ++counters_.duplicates;
    return hooks_.drop(packet);
  }
  if (seq.number == flow.next && !early) {
    hooks_.deliver(packet);
    advance(flow, true);
    if (flow.top > flow.next) release(now, flow);
    return;
  }
  if (seq.number - flow.next >= kHorizon) {
    // More is missing than can be waited for: begin anew from here.
    counters_.holes_lost += seq.number - flow.top;
    flush(flow);
    flow.next = flow.top = seq.number;
    flow.given_up = ~std::uint64_t{0};
    hooks_.deliver(packet);
    return advance(flow, true);
  }
  make_room(flow, seq.number);
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
  const std::uint64_t back = flow.next - 1 - number;
  if (back >= 64 || (flow.given_up >> back & 1) == 0) {
    ++counters_.duplicates;
    return hooks_.drop(packet);
  }
  flow.given_up &= ~(std::uint64_t{1} << back);
  ++counters_.late;
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
  if (flow.slots.size() > 1024) flow.slots = {};
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
    }
  }
  flow.listed = flow.kept = false;
  std::erase(waiting_, static_cast<FlowBucket>(&flow - flows_.data()));
}

void FlowOrder::reset() {
  for (Flow& flow : flows_) {
    flush(flow);
    flow = Flow{};
  }
}

}  // namespace bondd::mlvpn

#include "bondd/mlvpn/core/flow_table.h"

#include <algorithm>

namespace bondd::mlvpn {
namespace {

using namespace std::chrono_literals;

// A living peer that is idle sends one packet a second; one that restarted
// needs longer than this to come back, and its old packets have arrived.
constexpr auto kAlive = 300ms;
// After this much silence the order of flows no longer protects anything, but
// would lock out a peer whose clock was set back before it restarted.
constexpr auto kGone = 10s;

}  // namespace

FlowTable::Place FlowTable::find(std::uint32_t flow_id, std::uint64_t seq) const {
  const auto in = [&](const std::optional<PeerFlow>& flow) { return flow && flow->id == flow_id; };
  if (in(current_)) return current_->window.fresh(seq) ? Place::kCurrent : Place::kReplay;
  if (in(previous_)) return previous_->window.fresh(seq) ? Place::kPrevious : Place::kReplay;
  if (in(candidate_)) return candidate_->window.fresh(seq) ? Place::kCandidate : Place::kReplay;
  const auto end = retired_.begin() + static_cast<std::ptrdiff_t>(std::min(retired_count_, retired_.size()));
  return std::find(retired_.begin(), end, flow_id) != end ? Place::kReplay : Place::kUnknown;
}

FlowTable::Accepted FlowTable::accept(TimePoint now, Place place, std::uint64_t seq, const Endpoint& from) {
  std::optional<PeerFlow>& flow = place == Place::kCurrent    ? current_
                                  : place == Place::kPrevious ? previous_
                                                              : candidate_;
  if (!flow) return {};
  Accepted result;
  result.newest = seq > flow->window.newest();
  result.fresh = flow->window.accept(seq);
  if (!result.fresh) return {};
  flow->heard = now;
  if (result.newest && flow->peer != from) {
    flow->peer = from;
    result.moved = true;
  }
  return result;
}

bool FlowTable::take_back(TimePoint now) {
  if (!previous_ || !current_ || now - current_->heard < kAlive || now - switched_at_ < kAlive) return false;
  std::swap(current_, previous_);
  switched_at_ = now;
  return true;
}

FlowTable::Verdict FlowTable::propose(TimePoint now, std::uint32_t flow_id, std::uint64_t seq,
                                      const Endpoint& from, bool link_up) {
  PeerFlow flow{flow_id, {}, from, now};
  flow.window.accept(seq);
  if (!current_) {
    current_ = flow;
    return Verdict::kSwitched;
  }
  const auto silent = now - current_->heard;
  if (time_based(seq) && time_based(current_->window.newest())) {
    if (seq < current_->window.newest() && silent < kGone) return Verdict::kRefused;
    replace_current(flow);
    switched_at_ = now;
    return Verdict::kSwitched;
  }
  if (!link_up || silent >= kAlive) {
    replace_current(flow);
    switched_at_ = now;
    return Verdict::kSwitched;
  }
  // A candidate that did not make it gives way; it may try again.
  if (candidate_ && now - candidate_since_ < kAlive) return Verdict::kRefused;
  candidate_ = flow;
  candidate_since_ = now;
  return Verdict::kWaits;
}

bool FlowTable::promote_candidate(TimePoint now) {
  if (!candidate_) return false;
  if (current_ && current_->heard > candidate_since_ + kAlive / 2) {
    candidate_.reset();  // the current one is alive: the AUTH was a recording
    return false;
  }
  if (now < candidate_since_ + kAlive) return false;
  const PeerFlow flow = *candidate_;
  candidate_.reset();
  replace_current(flow);
  switched_at_ = now;
  return true;
}

std::optional<TimePoint> FlowTable::candidate_deadline() const {
  if (!candidate_) return std::nullopt;
  return candidate_since_ + kAlive;
}

bool FlowTable::is_newer_run(std::uint64_t seq) const {
  return current_ && time_based(seq) && time_based(current_->window.newest()) &&
         seq > current_->window.newest();
}

void FlowTable::replace_current(const PeerFlow& with) {
  if (previous_) retire(previous_->id);
  previous_ = current_;
  // Two bondd runs are in order for good; only of upstream's flows may the
  // older turn out to be the living one.
  if (previous_ && time_based(with.window.newest()) && time_based(previous_->window.newest())) {
    retire(previous_->id);
    previous_.reset();
  }
  current_ = with;
  if (candidate_ && candidate_->id == with.id) candidate_.reset();
}

void FlowTable::retire(std::uint32_t id) {
  retired_[retired_count_++ % retired_.size()] = id;
}

}  // namespace bondd::mlvpn

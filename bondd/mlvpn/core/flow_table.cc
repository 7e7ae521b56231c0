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
// A packet with a MAC that is older than clear DATA which came so long before: that was forged.
constexpr auto kOvertaken = 200ms;

}  // namespace

bool FlowTable::is_retired(std::uint32_t id) const {
  const auto end = retired_.begin() + static_cast<std::ptrdiff_t>(std::min(retired_count_, retired_.size()));
  return std::find(retired_.begin(), end, id) != end;
}

FlowTable::Place FlowTable::find(std::uint32_t flow_id, std::uint64_t seq, bool in_session) const {
  if (in_session != (current_ && current_->rank == FlowRank::kSession))
    return !in_session && is_retired(flow_id) ? Place::kRetired : Place::kUnknown;
  const auto in = [&](const std::optional<PeerFlow>& flow) { return flow && flow->id == flow_id; };
  if (in(current_)) return current_->window.fresh(seq) ? Place::kCurrent : Place::kReplay;
  if (in(previous_)) return previous_->window.fresh(seq) ? Place::kPrevious : Place::kReplay;
  if (in(candidate_)) return candidate_->window.fresh(seq) ? Place::kCandidate : Place::kReplay;
  return is_retired(flow_id) ? Place::kRetired : Place::kUnknown;
}

bool FlowTable::knows(std::uint32_t flow_id) const {
  for (const auto* flow : {&current_, &previous_, &candidate_}) {
    if (*flow && (*flow)->id == flow_id) return true;
  }
  return is_retired(flow_id);
}

FlowTable::Accepted FlowTable::accept(TimePoint now, Place place, std::uint64_t seq, const Endpoint& from,
                                      bool is_auth) {
  std::optional<PeerFlow>& flow = place == Place::kCurrent    ? current_
                                  : place == Place::kPrevious ? previous_
                                                              : candidate_;
  if (!flow) return {};
  Accepted result;
  result.newest = seq > flow->window.newest();
  result.fresh = flow->window.accept(seq);
  if (!result.fresh) return {};
  flow->heard = now;
  if (place == Place::kCandidate && !is_auth) candidate_spoke_ = true;
  if (flow->clear.started() && flow->clear.newest() > seq && now - flow->clear_newest_at > kOvertaken) {
    flow->clear = {};
    result.forged = true;
  }
  if (result.newest && flow->peer != from) {
    flow->peer = from;
    result.moved = true;
  }
  return result;
}

FlowTable::Accepted FlowTable::accept_clear(TimePoint now, std::uint64_t seq) {
  Accepted result;
  result.newest = seq > current_->clear.newest();
  result.fresh = current_->clear.accept(seq);
  if (!result.fresh) return {};
  current_->heard = now;
  if (result.newest) current_->clear_newest_at = now;
  return result;
}

bool FlowTable::take_back(TimePoint now) {
  if (!previous_ || !current_) return false;
  const bool silent = now - current_->heard >= kAlive && now - switched_at_ >= kAlive;
  if (!silent && previous_->rank <= current_->rank) return false;
  std::swap(current_, previous_);
  switched_at_ = now;
  return true;
}

FlowTable::Verdict FlowTable::propose(TimePoint now, const Proposal& proposal) {
  PeerFlow flow{
      .id = proposal.flow_id, .peer = proposal.from, .heard = now, .announcement = proposal.announcement};
  flow.rank = proposal.proven            ? FlowRank::kProven
              : time_based(proposal.seq) ? FlowRank::kBondd
                                         : FlowRank::kOriginal;
  flow.window.begin(proposal.seq);
  if (!current_ || (flow.rank == FlowRank::kProven && current_->rank <= FlowRank::kProven)) {
    replace_current(now, flow);
    return Verdict::kSwitched;
  }
  const auto silent = now - current_->heard;
  if (flow.rank < current_->rank && proposal.link_up && silent < proposal.timeout) return Verdict::kRefused;
  const bool ordered = time_based(proposal.seq) && time_based(current_->window.newest());
  if (ordered && proposal.seq < current_->window.newest() && silent < kGone) return Verdict::kRefused;
  if (!proposal.link_up || silent >= kAlive) {
    replace_current(now, flow);
    return Verdict::kSwitched;
  }
  // A candidate that did not make it gives way; it may try again.
  if (candidate_ && now - candidate_since_ < kAlive) return Verdict::kRefused;
  candidate_ = flow;
  candidate_since_ = now;
  candidate_spoke_ = false;
  return Verdict::kWaits;
}

void FlowTable::begin_session(TimePoint now, std::uint32_t flow_id, const Endpoint& from,
                              const Announcement& announcement) {
  // Nothing of it was recorded before: numbers below the first that comes are late, not old.
  replace_current(
      now,
      {.id = flow_id, .rank = FlowRank::kSession, .peer = from, .heard = now, .announcement = announcement});
  candidate_.reset();
}

bool FlowTable::promote_candidate(TimePoint now) {
  if (!candidate_) return false;
  if (current_ && current_->heard > candidate_since_ + kAlive / 2) {
    candidate_.reset();  // the current one is alive: the AUTH was a recording
    return false;
  }
  if (!candidate_spoke_ || now < candidate_since_ + kAlive) return false;
  const PeerFlow flow = *candidate_;
  candidate_.reset();
  replace_current(now, flow);
  return true;
}

std::optional<TimePoint> FlowTable::candidate_deadline() const {
  if (!candidate_ || !candidate_spoke_) return std::nullopt;
  return candidate_since_ + kAlive;
}

void FlowTable::replace_current(TimePoint now, const PeerFlow& with) {
  const auto out = [&](std::optional<PeerFlow>& flow) {
    if (flow && flow->id != with.id) retire(flow->id);
    flow.reset();
  };
  out(previous_);
  // What proved itself has the link for good; else the older one may turn out to be alive.
  const bool proven = with.rank == FlowRank::kProven && current_ && current_->rank != FlowRank::kOriginal;
  if (proven || with.rank == FlowRank::kSession) out(current_);
  previous_ = current_;
  if (previous_ && previous_->id == with.id) previous_.reset();
  current_ = with;
  switched_at_ = now;
  if (candidate_ && candidate_->id == with.id) candidate_.reset();
  // It may have been retired, and said AUTH again.
  const auto end = retired_.begin() + static_cast<std::ptrdiff_t>(std::min(retired_count_, retired_.size()));
  std::replace(retired_.begin(), end, with.id, std::uint32_t{0});
}

void FlowTable::retire(std::uint32_t id) {
  retired_[retired_count_++ % retired_.size()] = id;
}

}  // namespace bondd::mlvpn

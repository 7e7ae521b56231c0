// How a link finds out that its line is dead, what becomes of its session meanwhile, and how it returns.
#include <algorithm>

#include "bondd/mlvpn/core/bytes.h"
#include "bondd/mlvpn/core/link.h"
#include "bondd/mlvpn/core/link_times.h"

namespace bondd::mlvpn {

// Something shows that our packets arrive.
void Link::on_answer(TimePoint now) {
  if (first_probe_ && is_asked_by_auth() && state_ != LinkState::kSilent) {
    ++asked_in_vain_;
    asked_in_vain_at_ = now;
  }
  answered_ = now;
  unanswered_since_.reset();
  first_probe_.reset();
  probes_ = 0;
  if (state_ == LinkState::kSilent) set_state(now, LinkState::kUp, "answers again");
}

Duration Link::quiet_server() const {
  const Duration least = (unanswered_since_ ? kQuietServerBusy : kQuietServer) + peer_rest_;
  return keys_.current() != nullptr ? std::max(least, 2 * estimator_.srtt()) : least;
}

Duration Link::probe_interval() const {
  if (!estimator_.has_rtt()) return kAskUnmeasured;
  return std::clamp<Duration>(estimator_.srtt() / 3, kAskSoonest, kAskLatest);
}

Duration Link::silence_limit() const {
  if (!estimator_.has_rtt()) return kSilentUnmeasured;
  return std::clamp<Duration>(estimator_.srtt() * 3 / 2 + 4 * estimator_.rttvar(), kSilentSoonest,
                              kSilentLatest);
}

// Finds out within a few round trips that a line is dead, as long as another one
// lives: with no other link there is nothing better to do than to wait.
void Link::check_silence(TimePoint now, const Surroundings& others) {
  if (others_mark_for_ != heard_) {
    others_mark_for_ = heard_;
    others_received_at_heard_ = others.others_received;
  }
  if (peer_can(kCapProbe)) {
    // Who still hears a peer that does not hear it must ask, too: its packets may all get lost.
    const bool keepalive_missing = now - std::min(heard_, answered_) > kProbeIdle + peer_rest_;
    if (!unanswered_since_ && keepalive_missing) unanswered_since_ = now - probe_interval();
    if (!unanswered_since_ || now - *unanswered_since_ < probe_interval()) return;
    const Duration interval = state_ == LinkState::kSilent ? kSilentProbe : probe_interval();
    if (now - last_probe_ >= interval) {
      if (!first_probe_) first_probe_ = now;
      ++probes_;
      send_probe(now);
    }
    if (state_ != LinkState::kSilent && probes_ >= 3 && now - *first_probe_ >= silence_limit() &&
        others.other && others.other_heard >= *first_probe_) {
      go_silent(now, "no answer for " + milliseconds(now - *unanswered_since_), others);
    }
    return;
  }
  // An upstream peer answers at most once a second. But while it sends DATA on
  // all links, one that goes quiet while others go on is dead; and so is one
  // that misses its keepalives.
  if (state_ == LinkState::kSilent || !others.other) return;
  const Duration quiet = now - heard_;
  const Duration gap = estimator_.heard_gap();
  const bool was_busy = gap < kBusyGap;
  if (now - false_alarm_at_ > kAlarmMemory) false_alarms_ = 0;
  const Duration least = kSilentOriginal * (1 << std::min(false_alarms_, kMostDoublings));
  const Duration limit =
      was_busy ? std::min(std::max<Duration>({silence_limit(), gap * 6, least}), kKeepaliveMissing)
               : kKeepaliveMissing;
  const std::uint64_t others_since = others.others_received - others_received_at_heard_;
  if (quiet > limit && others_since >= (was_busy ? 8U : 2U)) {
    go_silent(now, "no packet for " + milliseconds(quiet), others);
  } else if (is_asked_by_auth() && unanswered_since_) {
    ask_server(now, others);
  }
}

// All of our flow may be on the dead line, and the server then has nothing to send at all.
void Link::ask_server(TimePoint now, const Surroundings& others) {
  if (!first_probe_) {
    if (now - asked_in_vain_at_ > kAskMemory) asked_in_vain_ = 0;
    const Duration patience = kAskAfter * (1 << std::min(asked_in_vain_, 8U));
    if (now - *unanswered_since_ < std::max(silence_limit(), patience)) return;
    first_probe_ = now;
    probes_ = 1;
    send_auth(now);
  } else if (now - *first_probe_ >= silence_limit() && others.other_heard >= *first_probe_) {
    go_silent(now, "no answer for " + milliseconds(now - *unanswered_since_), others);
  }
}

void Link::send_probe(TimePoint now) {
  last_probe_ = now;
  std::uint8_t body[8];
  store_be(body, static_cast<std::uint64_t>(now.time_since_epoch().count()) ^ probe_mask_);
  if (const auto to = destination()) queue_control(PacketType::kProbe, *to, id_, body);
}

std::optional<TimePoint> Link::suspect_since(TimePoint now) const {
  if (!in_session() || state_ == LinkState::kSilent || !first_probe_) return std::nullopt;
  if (probes_ < 2 && !is_asked_by_auth()) return std::nullopt;
  const Duration overdue = estimator_.srtt() + 2 * estimator_.rttvar();
  return now - *first_probe_ > overdue ? first_probe_ : std::nullopt;
}

void Link::probe_idle(TimePoint now) {
  if (!in_session()) return;
  if (is_asked_by_auth() && now >= next_auth_) send_auth(now);
  if (!peer_can(kCapProbe) || now - last_probe_ < probe_interval()) return;
  // Also counts as a question of its own: a second dead line is found, too.
  if (!unanswered_since_) unanswered_since_ = now;
  send_probe(now);
  update_deadline(now);
}

// No data of ours goes there any more.
void Link::go_silent(TimePoint now, std::string reason, const Surroundings& others) {
  silent_since_ = now;
  if (others.other) reason += " while " + std::string(others.other_name) + " answers";
  set_state(now, LinkState::kSilent, std::move(reason));
  if (context_.role != Role::kClient || peer() || !others.other || !others.reachable || !destination())
    return;
  refuge_ = Refuge{.next = now + kTryHome, .interval = kTryHome};
  take_refuge(now, *others.other);
}

// An upstream server hears of a dead line only by its own timeout, and one that has ended
// the session may then find no line at all that it would use (its only other one is lossy).
void Link::take_refuge(TimePoint now, LinkId carrier) {
  refuge_->carrier = carrier;
  refuge_->trying = false;
  refuge_->repeats = kRefugeRepeats;
  next_keepalive_ = now;  // carries our address
  update_deadline(now);
}

void Link::try_home(TimePoint now, const Surroundings& others) {
  if (!others.carrier_lives && others.other && others.reachable) take_refuge(now, *others.other);
  if (now < refuge_->next) return;
  if (!refuge_->trying) {
    refuge_->trying = true;
    refuge_->tried = now;
    refuge_->next = now + std::clamp<Duration>(2 * estimator_.srtt() + kRefugeGap, kHomeSoonest, kHomeLatest);
    next_keepalive_ = refuge_->next;  // by the carrier's line; it would move the server again
    send_auth(now);
    return;
  }
  // No answer. If the AUTH arrived, what the server sends for this link is lost meanwhile:
  // such a line is tried less and less often.
  const bool moved = heard_ < refuge_->tried + (now - refuge_->tried) / 2;
  refuge_->interval = moved ? std::min(2 * refuge_->interval, kTryHomeMost) : kTryHome;
  refuge_->next = now + refuge_->interval;
  take_refuge(now, refuge_->carrier);
}

void Link::on_path_failed(TimePoint now, const std::string& why, const Surroundings& others) {
  if (!in_session()) {
    reason_ = why;
  } else if (state_ != LinkState::kSilent) {
    unanswered_since_ = unanswered_since_.value_or(now);
    go_silent(now, why, others);
  }
  update_deadline(now);
}

// A link that is back at once had not been dead: its peer had just chosen another
// one (upstream's fallback, a line that it finds lossy). Look less quickly then.
void Link::judge_silence(TimePoint now) {
  if (silent_since_ == TimePoint{}) return;
  if (now - silent_since_ < kFalseAlarm) {
    ++false_alarms_;
    false_alarm_at_ = now;
  }
  silent_since_ = TimePoint{};
}

}  // namespace bondd::mlvpn

// When a link says that it is there. One that only carries when the others fail, and whose line may cost
// money by the byte, rests: two ends that can say REST agree on a word each kRestGap instead of each second.
// What is sent by the link wakes it, and so does another link that is no longer heard.
//
// REST: one byte, the seconds until the next word at most; one byte, 1 when it is to be answered by a REST,
// else 0. It also says that the sender hears the link well: who does not asks, and does not rest.
#include <algorithm>

#include "bondd/mlvpn/core/link.h"
#include "bondd/mlvpn/core/link_times.h"

namespace bondd::mlvpn {

void Link::check_rest(TimePoint now, const Surroundings& others) {
  const bool needless = config_.fallback_only || peer_rest_ > Duration::zero();
  const bool others_carry = others.other && now - others.other_heard < kProbeIdle;
  may_rest_ = needless && others_carry && peer_can(kCapRest) && state_ == LinkState::kUp && !refuge_ &&
              !first_probe_ && !keys_.awaits_peer() && now - data_at_ >= kRestAfter;
  if (!rests_ || may_rest_) return;
  rests_ = false;
  next_keepalive_ = now;
}

void Link::say_alive(TimePoint now) {
  const bool repeat = refuge_ && refuge_->repeats > 0;
  if (repeat) --refuge_->repeats;
  rests_ = may_rest_;
  next_keepalive_ = now + (repeat                ? kRefugeGap
                           : keys_.awaits_peer() ? std::max<Duration>(kConfirmAgain, 2 * estimator_.srtt())
                           : rests_              ? rest_gap()
                                                 : kKeepalive);
  const auto to = destination();
  if (!to) return;
  if (rests_) {
    say_rest(now, *to, true);
  } else {
    queue_control(PacketType::kKeepalive, *to, carrier());
  }
}

// The client's word is the first: its router needs it, and the server's answer is then a word, too.
Duration Link::rest_gap() const {
  return context_.role == Role::kClient ? kRestGap : kRestGap + kProbeIdle;
}

void Link::say_rest(TimePoint now, const Endpoint& to, bool question) {
  const std::uint8_t body[kRestSize] = {
      static_cast<std::uint8_t>(std::chrono::ceil<std::chrono::seconds>(rest_gap()) / 1s),
      question ? std::uint8_t{1} : std::uint8_t{0}};
  queue_control(PacketType::kRest, to, carrier(), body);
  if (!question || unanswered_since_) return;
  const Duration usual = 2 * estimator_.srtt() + 4 * estimator_.rttvar();
  unanswered_since_ = now + std::clamp<Duration>(usual, kRestAnswerSoonest, kRestAnswerLatest);
}

void Link::on_rest(TimePoint now, const Endpoint& from, std::span<const std::uint8_t> text) {
  peer_rest_ = std::min<Duration>(std::chrono::seconds(text[0]), kRestGapMost);
  on_answer(now);
  if (text[1] == 0) return;
  if (!may_rest_) return queue_control(PacketType::kKeepalive, from, carrier());
  rests_ = true;
  say_rest(now, from, false);
  next_keepalive_ = now + rest_gap();
}

void Link::on_data(TimePoint now) {
  data_at_ = now;
  if (!rests_) return;
  rests_ = may_rest_ = false;
  next_keepalive_ = now;
  deadline_ = now;
}

}  // namespace bondd::mlvpn
